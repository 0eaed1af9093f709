from __future__ import annotations

import gc
import os
import sqlite3
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from missive import Capabilities, Delivery, HandlingContext, Processor, RawMessage
from missive.dlq.sqlite import SQLiteDLQ
from missive.errors import DeadLetterStoreBusy
from missive.polling import EndOfInput, PollingAdapter

DEADLINE = 120.0

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

PRELUDE = """
import sys
from missive import RawMessage
from missive.dlq.sqlite import SQLiteDLQ

def put(store, name, count):
    for number in range(count):
        store[b"%s %d" % (name.encode(), number)] = (RawMessage(b"body"), "reason")

path, name, count, synchronous = sys.argv[1:]
count = int(count)
store = SQLiteDLQ(path, synchronous=synchronous)
"""


def start(code: str, path: Path, name: str, count: int, synchronous: str = "FULL") -> Any:
    """Start a process that runs some code, with warnings as errors."""
    return subprocess.Popen(
        [
            *(sys.executable, "-W", "error", "-c", PRELUDE + code),
            *(str(path), name, str(count), synchronous),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: Any) -> str:
    """Wait for a process that is to succeed, and give what it said."""
    output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, output
    return str(output)


def check_whole(path: Path) -> None:
    """Make sure that SQLite finds nothing wrong with a file."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def run_threads(count: int, function: Callable[[int], object]) -> None:
    """Run a function in threads that start together; raise the first error."""
    errors: list[BaseException] = []
    together = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            together.wait(DEADLINE)
            function(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


class TestProcesses:
    @pytest.mark.parametrize(
        ("processes", "letters", "synchronous"),
        [(8, 500, "NORMAL"), pytest.param(8, 500, "FULL", marks=pytest.mark.soak)],
        ids=str,
    )
    def test_write_at_once(
        self, processes: int, letters: int, synchronous: str, tmp_path: Path
    ) -> None:
        """Many processes write at once, from a file that none of them found there."""
        path = tmp_path / "dlq.db"
        running = [
            start("put(store, name, count)", path, str(number), letters, synchronous)
            for number in range(processes)
        ]
        for process in running:
            finish(process)
        check_whole(path)
        with SQLiteDLQ(path) as store:
            assert set(store) == {
                b"%d %d" % (process, number)
                for process in range(processes)
                for number in range(letters)
            }
            assert len(store) == processes * letters

    def test_claims(self, tmp_path: Path) -> None:
        """Two processes that replay one store handle each letter once."""
        path = tmp_path / "dlq.db"
        code = """
import missive
from missive.adapters.replay import ReplayAdapter
processor = missive.Processor()
@processor.handle_for(lambda message: True)
def handle(message, ctx):
    print(message.message_id.decode())
    ctx.ack()
print("ready", flush=True)
sys.stdin.readline()
ReplayAdapter(RawMessage, processor, store).run()
"""
        with SQLiteDLQ(path, synchronous="OFF") as store:
            store.update({b"%d" % number: (RawMessage(b""), "") for number in range(100)})
            for id in list(store):
                store[id] = (_with_id(id), "")
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", PRELUDE + code, str(path), "", "0", "NORMAL"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        handled = []
        for process in processes:
            handled += process.communicate(timeout=DEADLINE)[0].split()
            assert process.returncode == 0
        assert sorted(handled, key=int) == [str(number) for number in range(100)]
        with SQLiteDLQ(path) as store:
            assert not store


def _with_id(id: bytes) -> RawMessage:
    message = RawMessage(b"")
    message.put_in(Delivery(b"", message_id=id))
    return message


class TestThreads:
    @pytest.mark.parametrize("where", ["file", "memory"])
    def test_write_at_once(self, where: str, tmp_path: Path) -> None:
        """Many threads write at once, each by a connection of its own; none sees it locked."""
        path = tmp_path / "dlq.db" if where == "file" else ":memory:"
        with SQLiteDLQ(path, synchronous="NORMAL") as store:

            def put(thread: int) -> None:
                for number in range(500):
                    store[b"%d %d" % (thread, number)] = (RawMessage(b""), "")

            run_threads(16, put)
            assert len(store) == len(set(store)) == 8000
        if where == "file":
            check_whole(tmp_path / "dlq.db")

    def test_read_while_written(self, tmp_path: Path) -> None:
        """Readers see whole batches, and no writer waits for them."""
        with SQLiteDLQ(tmp_path / "dlq.db", synchronous="OFF") as store:
            over = threading.Event()

            def work(thread: int) -> None:
                if thread:
                    while not over.is_set():
                        assert len(store) % 10 == 0
                        assert sum(1 for _ in store.letters()) <= 1000
                    return
                from missive import DeadLetter

                for batch in range(100):
                    store.put_many(
                        DeadLetter.from_failure(
                            _with_id(b"%d %d" % (batch, number)), stage="handling", reason="r"
                        )
                        for number in range(10)
                    )
                over.set()

            run_threads(3, work)
            assert len(store) == 1000

    def test_read_beside_a_writer(self, tmp_path: Path) -> None:
        """Who reads does not wait for a thread that is in the midst of writing."""
        with SQLiteDLQ(tmp_path / "dlq.db") as store:
            store[b"1"] = (RawMessage(b""), "")
            with store._database.writing() as connection:
                connection.execute("DELETE FROM letters")
                seen: list[int] = []
                run_threads(1, lambda number: seen.append(len(store)))
            assert (seen, len(store)) == ([1], 0)

    def test_connections_of_ended_threads(self, tmp_path: Path) -> None:
        """The connections of threads that ended are closed when another thread needs one."""
        with SQLiteDLQ(tmp_path / "dlq.db", synchronous="OFF") as store:
            connections = store._database.connections
            all_open = threading.Barrier(5)

            def open_one(number: int) -> None:
                assert len(store) == 0
                all_open.wait(DEADLINE)

            run_threads(5, open_one)
            assert len(connections._by_thread) == 6
            # For a thread whose ident none of those had: the system likes to give them again.
            connections._open(-1)
            assert set(connections._by_thread) == {threading.get_ident(), -1}
            gc.collect()  # one that was not closed warns here

    def test_another_thread_closes(self, tmp_path: Path) -> None:
        """A store can be closed in another thread than those that used it."""
        store = SQLiteDLQ(tmp_path / "dlq.db")
        run_threads(1, lambda number: store.close())
        assert list(tmp_path.iterdir()) == [tmp_path / "dlq.db"]


class TestBusy:
    def test_typed_error(self, tmp_path: Path) -> None:
        """Where others hold the store for too long, a typed error says so, and nothing is kept."""
        path = tmp_path / "dlq.db"
        with SQLiteDLQ(path, busy_timeout=0.05) as store:
            holder = sqlite3.connect(path, isolation_level=None)
            holder.execute("BEGIN IMMEDIATE")
            for write in (
                lambda: store.__setitem__(b"1", (RawMessage(b""), "")),
                store.check,
                lambda: store.pop(b"1", None),
            ):
                with pytest.raises(DeadLetterStoreBusy) as caught:
                    write()
                assert caught.value.seconds == 0.05
            assert len(store) == 0, "reading does not wait for who writes"
            holder.execute("ROLLBACK")
            holder.close()
            store[b"1"] = (RawMessage(b""), "")
            assert len(store) == 1

    def test_waits(self, tmp_path: Path) -> None:
        """A writer waits for another that ends in time."""
        path = tmp_path / "dlq.db"
        with SQLiteDLQ(path) as store:
            holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            holder.execute("BEGIN IMMEDIATE")
            timer = threading.Timer(0.2, holder.execute, ["COMMIT"])
            timer.start()
            store[b"1"] = (RawMessage(b""), "")
            timer.join()
            holder.close()
            assert len(store) == 1

    def test_own_threads(self, tmp_path: Path) -> None:
        """A thread that waits for another of this store's waits no longer than it may."""
        with SQLiteDLQ(tmp_path / "dlq.db", busy_timeout=0.05) as store, store._database.writing():
            errors: list[Exception] = []

            def put(number: int) -> None:
                try:
                    store.check()
                except DeadLetterStoreBusy as error:
                    errors.append(error)

            run_threads(1, put)
            assert len(errors) == 1


@needs_fork
class TestFork:
    def test_both_go_on(self, tmp_path: Path) -> None:
        """After a fork, parent and child write on, each by connections of its own."""
        code = """
import os
put(store, "before", 1)
child = os.fork()
put(store, "child" if child == 0 else "parent", count)
if child:
    _, status = os.waitpid(child, 0)
    assert status == 0, status
assert len(list(store)) > count
"""
        path = tmp_path / "dlq.db"
        assert finish(start(code, path, "", 50)) == ""
        check_whole(path)
        with SQLiteDLQ(path) as store:
            assert len(store) == 101

    def test_while_threads_write(self, tmp_path: Path) -> None:
        """A fork in the midst of other threads' writing loses and breaks nothing."""
        code = """
import os, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads: that is the point
over = threading.Event()
written = [0, 0]
def work(number):
    while not over.is_set():
        put(store, f"thread {number} {written[number]}", 1)
        written[number] += 1
threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
for thread in threads:
    thread.start()
children = []
for number in range(count):
    child = os.fork()
    if child == 0:
        put(store, f"child {number}", 3)
        store.close()
        os._exit(0)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
over.set()
for thread in threads:
    thread.join()
print(sum(written) + 3 * count)
"""
        path = tmp_path / "dlq.db"
        written = int(finish(start(code, path, "", 10, "NORMAL")))
        check_whole(path)
        with SQLiteDLQ(path) as store:
            assert len(store) == written

    def test_in_memory(self) -> None:
        """A store in memory is copied by a fork, and each copy goes on alone."""
        code = """
import os
put(store, "before", 1)
child = os.fork()
put(store, "after", count if child else 1)
assert len(store) == (count + 1 if child else 2)
if child:
    _, status = os.waitpid(child, 0)
    assert status == 0, status
"""
        finish(start(code, Path(":memory:"), "", 5))

    def test_by_other_means(self, tmp_path: Path) -> None:
        """In a process forked without Python's knowledge, an open store refuses to be used."""
        code = """
import ctypes, os, threading
put(store, "before", 1)
child = ctypes.CDLL(None).fork()
def try_to_put():
    try:
        put(store, "child", 1)
    except Exception as error:
        print(type(error).__name__, "os.fork" in str(error), flush=True)
if child == 0:
    try_to_put()
    thread = threading.Thread(target=try_to_put)  # one that has no connection yet
    thread.start()
    thread.join()
    os._exit(0)
os.waitpid(child, 0)
put(store, "parent", 1)
"""
        path = tmp_path / "dlq.db"
        assert finish(start(code, path, "", 0)) == "DeadLetterStoreError True\n" * 2
        with SQLiteDLQ(path) as store:
            assert len(store) == 2

    def test_stores_are_forgotten(self, tmp_path: Path) -> None:
        """What is done at a fork keeps no store alive."""
        store = SQLiteDLQ(tmp_path / "dlq.db")
        reference = weakref.ref(store._database.connections)
        store.close()
        del store
        gc.collect()
        assert reference() is None


class Burst(PollingAdapter[RawMessage]):
    """Delivers so many messages in batches, then ends; notes what was acked."""

    capabilities = Capabilities(delivery="at-least-once", stable_id=True)
    flush_interval = 0.05

    def __init__(self, processor: Processor[RawMessage], count: int, store: SQLiteDLQ) -> None:
        super().__init__(RawMessage, processor, workers=8, max_in_flight=64)
        self.left = [Delivery(b"bad", message_id=b"%d" % number) for number in range(count)]
        self.store = store
        self.acked: list[bytes] = []
        self.acked_too_soon: list[bytes] = []

    def open(self) -> None:
        """Connect to nothing."""

    def close(self) -> None:
        """Disconnect from nothing."""

    def receive(self, timeout: float) -> Sequence[Delivery]:
        """Return the next ten."""
        if not self.left:
            raise EndOfInput
        batch, self.left = self.left[:10], self.left[10:]
        return batch

    def ack(self, message: RawMessage) -> None:
        """Note the ack, and whether the letter was there before it."""
        self.acked.append(message.message_id)
        if message.message_id not in self.store:
            self.acked_too_soon.append(message.message_id)

    def nack(self, message: RawMessage) -> None:
        """Never be called."""
        raise AssertionError("nacked")


def test_storm_from_worker_threads(tmp_path: Path) -> None:
    """With eight workers and every message bad, each is in the store once, and acked after."""
    with SQLiteDLQ(tmp_path / "dlq.db") as store, SQLiteDLQ(tmp_path / "dlq.db") as other:
        processor: Processor[RawMessage] = Processor()
        processor.set_dlq(store)

        @processor.handle_for(lambda message: True)
        def fail(message: RawMessage, ctx: HandlingContext[RawMessage]) -> None:
            raise ValueError("bad")

        adapter = Burst(processor, 400, other)
        adapter.run()
        expected = sorted(b"%d" % number for number in range(400))
        assert adapter.acked_too_soon == []
        assert sorted(adapter.acked) == expected
        assert sorted(store) == expected
        assert all(letter.failures == 1 for letter in store.letters())
