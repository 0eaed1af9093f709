from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from missive import DeadLetter, RawMessage
from missive.dlq.sqlite import SQLiteDLQ
from missive.errors import DeadLetterStoreFull

DEADLINE = 120.0

WRITER = """
import sys
from missive import DeadLetter, RawMessage
from missive.dlq.sqlite import SQLiteDLQ

path, run, batch, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
store = SQLiteDLQ(path)
for number in range(0, count, batch):
    letters = [
        DeadLetter.from_failure(RawMessage(b"x" * 1000), stage="handling", reason="why")
            ._replace(id=b"%s-%d" % (run.encode(), number + item))
        for item in range(batch)
    ]
    store.put_many(letters)
    sys.stdout.write("".join(f"{letter.id.decode()}\\n" for letter in letters))
    sys.stdout.flush()
"""


def write_and_kill(path: Path, run: int, wait_for: int, batch: int) -> list[bytes]:
    """Start a writer, kill it when it said that so many letters are kept, and give those."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(run), str(batch), "1000000"],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(wait_for)]
    process.kill()
    said += rest_of(process)
    # The last line may have been cut off, and then its letter is not promised.
    return [line.strip() for line in said if line.endswith(b"\n")]


def rest_of(process: subprocess.Popen[bytes]) -> list[bytes]:
    """Yield the lines that a process prints until it ends."""
    # Not by communicate(), which would leave out what readline() has buffered.
    assert process.stdout is not None
    with process.stdout:
        lines = process.stdout.readlines()
    process.wait(DEADLINE)
    return lines


# In series, so that none of them takes longer than a test may.
@pytest.mark.parametrize(
    "series", [0, *(pytest.param(number, marks=pytest.mark.soak) for number in range(1, 20))]
)
@pytest.mark.parametrize("batch", [1, 7])
def test_killed_writers(series: int, batch: int, tmp_path: Path) -> None:
    """Whatever put returned from is there after kill -9, each batch whole, and the file is sound."""
    path = tmp_path / "dlq.db"
    chance = random.Random(f"{series} {batch}")
    promised: list[bytes] = []
    for run in range(10):
        promised += write_and_kill(path, run, chance.randrange(40), batch)
    with SQLiteDLQ(path) as store:
        kept = set(store)
        with store._database.reading() as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            for table in ("contents", "history"):
                letters = "(SELECT position FROM letters)"
                orphans = f"SELECT count(*) FROM {table} WHERE position NOT IN {letters}"
                assert connection.execute(orphans).fetchone() == (0,)
        assert len(kept) % batch == 0
    missing = [id for id in promised if id not in kept]
    assert missing == []
    assert promised, "no writer came so far as to promise anything"


REPLAYER = """
import sys
import missive
from missive.adapters.replay import ReplayAdapter
from missive.dlq.sqlite import SQLiteDLQ

processor = missive.Processor()

@processor.handle_for(lambda message: True)
def handle(message, ctx):
    print(message.message_id.decode(), flush=True)
    ctx.ack()

ReplayAdapter(missive.RawMessage, processor, SQLiteDLQ(sys.argv[1]), lease=0.3).run()
"""


@pytest.mark.parametrize(
    "series", [0, *(pytest.param(number, marks=pytest.mark.soak) for number in range(1, 10))]
)
def test_killed_replays(series: int, tmp_path: Path) -> None:
    """A replay killed at any moment loses no letter, and repeats at most the one in flight."""
    path = tmp_path / "dlq.db"
    kills, count = 5, 100
    with SQLiteDLQ(path, synchronous="OFF") as store:
        store.put_many(
            DeadLetter.from_failure(RawMessage(b""), stage="handling", reason="why")._replace(
                id=b"%d" % number, message_id=b"%d" % number
            )
            for number in range(count)
        )
    chance = random.Random(series)
    handled: list[bytes] = []
    killed = 0
    deadline = monotonic() + DEADLINE
    while True:
        process = subprocess.Popen(
            [sys.executable, "-c", REPLAYER, str(path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        if killed < kills:
            handled += [process.stdout.readline() for _ in range(chance.randrange(1, 20))]
            process.kill()
            killed += 1
        handled += rest_of(process)
        with SQLiteDLQ(path) as store:
            if not store:
                break
        # Only what the killed had in flight is left, until their claims expire.
        assert monotonic() < deadline
    ids = [line.strip() for line in handled if line]
    assert set(ids) == {b"%d" % number for number in range(count)}
    assert len(ids) - len(set(ids)) <= kills


def strace(*command: str) -> list[str]:
    """Return the command line that traces another; skip where that is not allowed."""
    if shutil.which("strace") is None and not os.environ.get("CI"):
        pytest.skip("strace is not installed")
    if subprocess.run(["strace", "-qq", "-e", "none", "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody trace a process")
    return ["strace", "-f", "-qq", "-e", "signal=none", *command]


def syncs_between(trace: str) -> list[int]:
    """Count how often the disk was waited for before, between and after the lines about letters."""
    syncs = [0]
    for line in trace.splitlines():
        if "sync(" in line and line.rstrip().endswith("= 0"):
            syncs[-1] += 1
        elif 'write(1, "r-' in line:
            syncs.append(0)
    return syncs


@pytest.mark.skipif(sys.platform != "linux", reason="strace is Linux's")
def test_every_commit_is_synced(tmp_path: Path) -> None:
    """Between the start of a put and its return, the system is told to write to the disk."""
    trace = tmp_path / "trace"
    subprocess.run(
        strace(
            *("-e", "trace=fsync,fdatasync,write", "-o", str(trace)),
            *(sys.executable, "-c", WRITER, str(tmp_path / "dlq.db"), "r", "1", "20"),
        ),
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=DEADLINE,
    )
    syncs = syncs_between(trace.read_text(errors="replace"))
    assert len(syncs) == 21
    assert min(syncs[:20]) >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="strace is Linux's")
def test_syncs_of_a_replay(tmp_path: Path) -> None:
    """What a replay removes is synced before the next is handled; its claims cost no sync."""
    trace, path = tmp_path / "trace", tmp_path / "dlq.db"
    with SQLiteDLQ(path) as store:
        store.put_many(
            DeadLetter.from_failure(RawMessage(b""), stage="handling", reason="why")._replace(
                id=b"r-%d" % number, message_id=b"r-%d" % number
            )
            for number in range(20)
        )
    subprocess.run(
        strace(
            *("-e", "trace=fsync,fdatasync,write", "-o", str(trace)),
            *(sys.executable, "-c", REPLAYER, str(path)),
        ),
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=DEADLINE,
    )
    syncs = syncs_between(trace.read_text(errors="replace"))
    assert len(syncs) == 21
    assert set(syncs[1:20]) == {1}


def fill(store: SQLiteDLQ, start: int = 0) -> int:
    """Put letters until there is no room; give how many were kept."""
    for number in range(start, start + 100_000):
        try:
            store[b"%d" % number] = (RawMessage(b"x" * 10_000), "reason")
        except DeadLetterStoreFull:
            return number
    raise AssertionError("it was never full")


def check_intact(store: SQLiteDLQ, count: int) -> None:
    """Make sure that so many letters are there, whole."""
    assert list(store) == [b"%d" % number for number in range(count)]
    assert all(letter.raw_data == b"x" * 10_000 for letter in store.letters())
    with store._database.reading() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_no_room_in_the_file(tmp_path: Path) -> None:
    """Where the file may not grow, a typed error says so, and it goes on when there is room."""
    with SQLiteDLQ(tmp_path / "dlq.db") as store:
        with store._database.reading() as connection:
            connection.execute("PRAGMA max_page_count = 100")
        count = fill(store)
        assert count > 10
        check_intact(store, count)
        with store._database.reading() as connection:
            connection.execute("PRAGMA max_page_count = 1000")
        store[b"%d" % count] = (RawMessage(b"x" * 10_000), "reason")
        check_intact(store, count + 1)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a disk of 2 MiB, where that is allowed."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this user may not mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_full_disk(tmp_path: Path) -> None:
    """On a full disk a typed error says so, earlier letters are intact, and it goes on later."""
    with small_disk(tmp_path / "disk") as disk:
        (disk / "filler").write_bytes(b"x" * 500_000)
        with SQLiteDLQ(disk / "dlq.db") as store:
            count = fill(store)
            assert count > 10
            check_intact(store, count)
            with pytest.raises(DeadLetterStoreFull):
                store.put_many(
                    DeadLetter.from_failure(RawMessage(b"x" * 10_000), stage="handling", reason="r")
                    for _ in range(100)
                )
            check_intact(store, count)
            (disk / "filler").unlink()
            store.check()
            more = fill(store, count)
            assert more > count
            check_intact(store, more)
        with SQLiteDLQ(disk / "dlq.db") as store:
            check_intact(store, more)


def test_check_on_a_full_disk(tmp_path: Path) -> None:
    """A check finds that nothing could be written before a message needs it."""
    with small_disk(tmp_path / "disk") as disk, SQLiteDLQ(disk / "dlq.db") as store:
        store.check()
        with (disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while filler.write(b"x" * 4096):
                pass
        for _ in range(10_000):  # the log may have pages to use up first
            try:
                store.check()
            except DeadLetterStoreFull:
                return
        raise AssertionError("the check goes on finding room")


def test_power_cut(tmp_path: Path) -> None:
    """What is on the disk while the store is open, log included, has all that was kept."""
    path = tmp_path / "dlq.db"
    with SQLiteDLQ(path) as store:
        for number in range(50):
            store[b"%d" % number] = (RawMessage(b""), "")
            if number % 10 == 0:
                copy = tmp_path / f"copy-{number}"
                copy.mkdir()
                for name in ("dlq.db", "dlq.db-wal"):
                    shutil.copy(tmp_path / name, copy / name)
    for number in range(0, 50, 10):
        with SQLiteDLQ(tmp_path / f"copy-{number}" / "dlq.db") as store:
            assert list(store) == [b"%d" % earlier for earlier in range(number + 1)]


def test_half_made_file(tmp_path: Path) -> None:
    """A file whose making was interrupted is made anew."""
    path = tmp_path / "dlq.db"
    code = (
        "import os, sys, sqlite3\n"
        "from missive.dlq.sqlite import SQLiteDLQ, schema\n"
        "create = schema.create\n"
        "def die(connection):\n"
        "    connection.execute('PRAGMA cache_size = 1')\n"
        "    create(connection)\n"
        "    connection.execute('INSERT INTO contents VALUES (1, zeroblob(1000000), 1, 1)')\n"
        "    os.kill(os.getpid(), 9)\n"
        "schema.create = die\n"
        "SQLiteDLQ(sys.argv[1])\n"
    )
    process = subprocess.run([sys.executable, "-c", code, str(path)], timeout=DEADLINE)
    assert process.returncode == -signal.SIGKILL
    assert path.stat().st_size > 0, "nothing was half made"
    assert (tmp_path / "dlq.db-journal").exists()
    with SQLiteDLQ(path) as store:
        store[b"1"] = (RawMessage(b""), "")
        assert len(store) == 1
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM contents").fetchone() == (1,)
    connection.close()
