"""PollingAdapter: the only receive loop, proved with a transport in memory."""

from __future__ import annotations

import itertools
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import missive
import pytest
from missive import Capabilities, Delivery, Outcome
from missive.polling import EndOfInput, PollingAdapter
from missive.polling.lanes import Lanes
from missive.polling.threads import ThreadExecutor

DEADLINE = 30.0


class Refused(ConnectionError):
    """What a wrong password would be: derived from the connection error, as clients do."""


class MemoryTransport(PollingAdapter[missive.RawMessage]):
    """A transport in memory that redelivers what is nacked, and can be made to fail."""

    capabilities = Capabilities(
        delivery="at-least-once", stable_id=True, delivery_count=True, crash_redelivery=True
    )
    connection_errors = (ConnectionError,)
    fatal_errors = (Refused,)

    def __init__(self, processor: missive.Processor[Any], count: int = 0, **options: Any) -> None:
        self.batch_size = options.pop("batch_size", 10)
        self.endless = options.pop("endless", False)
        super().__init__(options.pop("message_cls", missive.RawMessage), processor, **options)
        self.waiting: deque[tuple[bytes, int]] = deque((b"%d" % n, 1) for n in range(count))
        self.in_hand: dict[bytes, int] = {}
        self.acked: list[bytes] = []
        self.settling_threads: set[int] = set()
        self.failures: dict[str, list[Exception]] = {}
        self.calls: Counter[str] = Counter()
        self.opened = False

    def fail_on(self, call: str, *errors: Exception) -> None:
        """Have the next calls of a method raise."""
        self.failures.setdefault(call, []).extend(errors)

    def _step(self, call: str) -> None:
        self.calls[call] += 1
        self.settling_threads.add(threading.get_ident())
        if self.failures.get(call):
            raise self.failures[call].pop(0)

    def open(self) -> None:
        self._step("open")
        self.opened = True

    def close(self) -> None:
        self._step("close")
        self.opened = False
        for body, count in self.in_hand.items():  # what was not settled is redelivered
            self.waiting.append((body, count + 1))
        self.in_hand.clear()

    def receive(self, timeout: float) -> Sequence[Delivery]:
        self._step("receive")
        if not self.waiting:
            if not self.endless and not self.in_hand:
                raise EndOfInput
            self.wait(timeout)
            return ()
        batch = []
        for _ in range(min(self.batch_size, len(self.waiting))):
            body, count = self.waiting.popleft()
            self.in_hand[body] = count
            batch.append(Delivery(body, message_id=body, delivery_count=count))
        return batch

    def ack(self, message: missive.RawMessage) -> None:
        self._step("ack")
        if self.in_hand.pop(message.raw_data, None):  # else lost with its connection
            self.acked.append(message.raw_data)

    def nack(self, message: missive.RawMessage) -> None:
        self._step("nack")
        count = self.in_hand.pop(message.raw_data, None)
        if count is not None:
            self.waiting.append((message.raw_data, count + 1))

    def flush(self) -> None:
        self._step("flush")

    def give_back(self, deliveries: Sequence[Delivery | bytes]) -> None:
        self._step("give_back")


Handle = Callable[[missive.RawMessage, Any], None]


def processor_of(handle: Handle) -> missive.Processor[missive.RawMessage]:
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(missive.otherwise)(handle)
    return processor


def ack(message: missive.RawMessage, ctx: Any) -> None:
    ctx.ack()


def bodies(count: int) -> set[bytes]:
    return {b"%d" % n for n in range(count)}


def run_in_thread(adapter: PollingAdapter[Any]) -> tuple[threading.Thread, list[BaseException]]:
    errors: list[BaseException] = []

    def target() -> None:
        try:
            adapter.run()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread, errors


def join(thread: threading.Thread) -> None:
    thread.join(DEADLINE)
    assert not thread.is_alive()


@pytest.fixture(params=[1, 4])
def workers(request: pytest.FixtureRequest) -> int:
    """Return both ways of running: inline, and with threads."""
    return int(request.param)


def test_eight_workers_lose_none_of_10000_and_settle_each_once_on_the_receiving_thread() -> None:
    """Every message is handled and settled exactly once, and workers never touch the transport."""
    handled: Counter[bytes] = Counter()
    lock = threading.Lock()
    handling_threads: set[int] = set()

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        with lock:
            handled[message.raw_data] += 1
            handling_threads.add(threading.get_ident())
        ctx.ack()

    adapter = MemoryTransport(processor_of(handle), 10_000, workers=8, batch_size=100)
    adapter.run()
    assert set(adapter.acked) == bodies(10_000)
    assert len(adapter.acked) == 10_000
    assert set(handled.values()) == {1}
    assert adapter.settling_threads == {threading.get_ident()}
    assert threading.get_ident() not in handling_threads
    status = adapter.status()
    assert (status.received, status.acked, status.in_flight) == (10_000, 10_000, 0)


def test_a_worker_that_is_done_ends_the_wait_for_the_transport(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its message is settled at once, not when the transport's wait is over."""
    monkeypatch.setattr("missive.polling.turn.BUSY_TIMEOUT", 3600.0)
    settled = threading.Event()
    processor = processor_of(ack)
    processor.on_settled(lambda ctx, s: settled.set() if s.message.raw_data == b"2" else None)
    adapter = MemoryTransport(processor, 3, workers=2, batch_size=1, endless=True)
    adapter.poll_timeout = 3600.0
    thread, errors = run_in_thread(adapter)
    assert settled.wait(DEADLINE)
    adapter.stop()
    join(thread)
    assert errors == []


def test_the_status_tells_what_waits_and_what_is_handled() -> None:
    """While a batch is handled in the receiving thread, a probe sees which message, and what waits."""
    seen: list[tuple[int, str | None]] = []

    def look(message: missive.RawMessage, ctx: Any) -> None:
        status = adapter.status()
        seen.append((status.waiting, status.handling))
        ctx.ack()

    adapter = MemoryTransport(processor_of(look), 3)
    adapter.run()
    assert seen == [(2, "0"), (1, "1"), (0, "2")]
    assert (adapter.status().waiting, adapter.status().handling) == (0, None)


def test_an_ordering_key_keeps_the_order_within_a_key() -> None:
    """Messages of one key are handled one after the other; of different keys, side by side."""
    seen: dict[int, list[int]] = {}
    busy: set[int] = set()
    lock = threading.Lock()
    meeting = threading.Barrier(2)
    together = threading.Event()

    def key(message: missive.RawMessage) -> int:
        return int(message.raw_data) % 7

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        mine = key(message)
        with lock:
            assert mine not in busy
            busy.add(mine)
        if not together.is_set() and int(message.raw_data) < 2:
            meeting.wait(DEADLINE)  # two keys are handled at the same time
            together.set()
        with lock:
            seen.setdefault(mine, []).append(int(message.raw_data))
            busy.discard(mine)
        ctx.ack()

    adapter = MemoryTransport(
        processor_of(handle), 700, workers=8, max_in_flight=64, ordering_key=key
    )
    adapter.run()
    assert together.is_set()
    assert {k: v for k, v in seen.items() if v != sorted(v)} == {}
    assert sum(map(len, seen.values())) == 700


def test_a_long_queue_of_one_key_is_queued_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each message joins its lane once, and is not moved or counted for each one before it."""
    moves: Counter[str] = Counter()

    def counted(name: str) -> None:
        original = getattr(Lanes, name)

        def method(self: Lanes[Any], *arguments: Any) -> Any:
            moves[name] += 1
            return original(self, *arguments)

        monkeypatch.setattr(Lanes, name, method)

    counted("park")
    counted("parked")
    recorder: list[bytes] = []

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        recorder.append(message.raw_data)
        ctx.ack()

    adapter = MemoryTransport(
        processor_of(handle), 500, workers=2, max_in_flight=1000, ordering_key=lambda message: "one"
    )
    adapter.run()
    assert recorder == [b"%d" % number for number in range(500)]
    assert moves["park"] <= 500
    assert moves["parked"] <= 5


def test_a_message_without_an_ordering_key_is_dead_lettered() -> None:
    """One that cannot be built, or whose key raises, is an error like any other."""

    def build(raw_data: bytes) -> missive.RawMessage:
        if raw_data == b"1":
            raise UnicodeError("not built")
        return missive.RawMessage(raw_data)

    def key(message: missive.RawMessage) -> Any:
        return {b"2": [], b"3": {}["key"] if message.raw_data == b"3" else 0}.get(
            message.raw_data, 0
        )

    processor = processor_of(ack)
    processor.set_dlq(dlq := {})
    MemoryTransport(processor, 5, workers=2, ordering_key=key, message_cls=build).run()
    assert {k: reason for k, (_, reason) in dlq.items()} == {
        b"1": "not built",
        b"2": "unhashable type: 'list'",
        b"3": "'key'",
    }


@pytest.mark.parametrize("ordering_key", [None, lambda m: m.raw_data[-1:]], ids=["free", "ordered"])
def test_in_flight_never_passes_the_bound(ordering_key: Any) -> None:
    """However much the transport gives at once."""
    seen: list[int] = []

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        deadline = time.monotonic() + DEADLINE
        while not seen and adapter.status().in_flight < 5 and time.monotonic() < deadline:
            os.sched_yield()  # until as many are in flight as may be
        seen.append(adapter.status().in_flight)
        ctx.ack()

    adapter = MemoryTransport(
        processor_of(handle), 500, workers=3, max_in_flight=5, ordering_key=ordering_key
    )
    adapter.run()
    assert max(seen) == 5
    assert len(adapter.acked) == 500


def test_stop_from_a_handler_finishes_what_is_in_hand(workers: int) -> None:
    """The message in flight is settled; what was only received is left to the transport."""

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        adapter.stop()
        adapter.stop()
        ctx.ack()

    adapter = MemoryTransport(processor_of(handle), 1000, workers=workers, batch_size=1000)
    adapter.run()
    assert 1 <= len(adapter.acked) <= workers
    assert len(adapter.acked) + len(adapter.waiting) == 1000
    assert not adapter.ready.is_set()


def test_stop_from_another_thread_ends_an_idle_run_at_once(workers: int) -> None:
    """Nobody waits for a timeout to pass."""
    adapter = MemoryTransport(processor_of(ack), workers=workers, endless=True)
    adapter.poll_timeout = 3600.0
    thread, errors = run_in_thread(adapter)
    assert adapter.ready.wait(DEADLINE)
    assert adapter.status().connected
    adapter.stop()
    join(thread)
    assert errors == []


def test_stop_before_run_makes_the_next_run_return_unopened_once(workers: int) -> None:
    """And the run after that works."""
    adapter = MemoryTransport(processor_of(ack), 3, workers=workers)
    adapter.stop()
    adapter.stop()
    adapter.run()
    assert adapter.calls["open"] == 0
    adapter.run()
    assert len(adapter.acked) == 3


def test_an_adapter_runs_once_at_a_time_and_again_after_stop(workers: int) -> None:
    """A second run at the same time is refused, a later one is not."""
    adapter = MemoryTransport(processor_of(ack), 5, workers=workers, endless=True)
    for _ in range(3):
        thread, errors = run_in_thread(adapter)
        assert adapter.ready.wait(DEADLINE)
        with pytest.raises(missive.ConfigurationError, match="is running already"):
            adapter.run()
        adapter.stop()
        join(thread)
        assert errors == []
    assert adapter.calls["open"] == 3


SIGTERM_PROGRAM = """
import os, sys
import missive

class Transport(missive.polling.PollingAdapter):
    capabilities = missive.Capabilities()
    sent = False
    def open(self): pass
    def close(self): pass
    def receive(self, timeout):
        if self.sent:
            self.wait(timeout)
            return []
        self.sent = True
        return [missive.Delivery(b"x"), missive.Delivery(b"y")]
    def ack(self, message):
        os.write(1, b"acked %s\\n" % message.raw_data)
    def nack(self, message): pass

processor = missive.Processor()

@processor.handle_for(missive.otherwise)
def handle(message, ctx):
    os.write(1, b"handling %s\\n" % message.raw_data)
    sys.stdin.readline()
    ctx.ack()

Transport(missive.RawMessage, processor, workers=int(sys.argv[1])).run()
print("ended", flush=True)
"""


def test_sigterm_during_a_handler_lets_it_finish_and_settle(workers: int) -> None:
    """A supervisor's signal costs no message."""
    process = subprocess.Popen(
        [sys.executable, "-c", SIGTERM_PROGRAM, str(workers)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        begun = [process.stdout.readline() for _ in range(min(workers, 2))]
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate("go\ngo\n", timeout=DEADLINE)
    assert sorted(begun) == ["handling x\n", "handling y\n"][: len(begun)]
    acked = ["acked x", "acked y"][: len(begun)]
    assert sorted(out.split("\n")) == ["", *acked, "ended"]
    assert process.returncode == 0


def test_a_handler_past_the_drain_deadline_is_reported_by_id() -> None:
    """run() raises with the ids still in flight, and the others are settled."""
    release, stopped = threading.Event(), threading.Event()
    both = threading.Barrier(2)

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        both.wait(DEADLINE)
        if message.raw_data == b"0":
            adapter.stop()
            stopped.set()
            release.wait(DEADLINE)
        stopped.wait(DEADLINE)
        ctx.ack()

    adapter = MemoryTransport(processor_of(handle), 9, workers=2, drain_timeout=0.2)
    with pytest.raises(missive.DrainTimeout) as caught:
        adapter.run()
    release.set()
    assert caught.value.message_ids == ("0",)
    assert caught.value.seconds == 0.2
    assert adapter.acked == [b"1"]


def test_what_no_worker_began_by_the_drain_deadline_is_left_to_the_next_run() -> None:
    """Where the transport redelivers nothing, it is neither lost nor handled twice."""
    release, begun = threading.Event(), threading.Barrier(3)
    handled: list[bytes] = []

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        handled.append(message.raw_data)
        if not release.is_set():
            begun.wait(DEADLINE)
            release.wait(DEADLINE)
        ctx.ack()

    class Forgetful(MemoryTransport):
        capabilities = Capabilities()

        def close(self) -> None:
            self.in_hand.clear()
            super().close()

    adapter = Forgetful(
        processor_of(handle),
        8,
        workers=2,
        max_in_flight=5,
        drain_timeout=0.0,
        ordering_key=lambda m: int(m.raw_data) % 2,
    )
    stopper = threading.Thread(target=lambda: (begun.wait(DEADLINE), adapter.stop()))
    stopper.start()
    with pytest.raises(missive.DrainTimeout) as caught:
        adapter.run()
    stopper.join(DEADLINE)
    release.set()
    assert caught.value.message_ids == ("0", "1")
    left = [item.raw_data for item in adapter.leftover if isinstance(item, Delivery)]
    assert left == [b"2", b"3", b"4", b"5", b"6", b"7"]
    adapter.run()
    assert sorted(handled) == sorted(bodies(8))


def test_what_is_done_at_the_drain_deadline_is_settled() -> None:
    """A verdict that waits to be collected is no message in flight."""
    done = threading.Semaphore(0)

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        ctx.ack()

    class Late(MemoryTransport):
        def receive(self, timeout: float) -> Sequence[Delivery]:
            if self.in_hand:  # both are with the workers: stop once their verdicts are there
                assert done.acquire(timeout=DEADLINE)
                assert done.acquire(timeout=DEADLINE)
                self.stop()
                return ()
            return super().receive(timeout)

    adapter = Late(processor_of(handle), 2, workers=2, max_in_flight=4, drain_timeout=0.0)
    collect = ThreadExecutor.collect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(  # not where a thread of another test returns meanwhile
            "missive.polling.loop.Loop.wake",
            lambda loop: done.release() if loop is adapter._loop else None,
        )
        patch.setattr(  # as if stop came just before the loop would have collected them
            "missive.polling.threads.ThreadExecutor.collect",
            lambda pool, wait: collect(pool, wait) if adapter.stopping and pool._closed else [],
        )
        adapter.run()
    assert sorted(adapter.acked) == [b"0", b"1"]


def test_what_failed_in_a_lane_keeps_those_behind_it_from_beginning() -> None:
    """A message that stays unsettled is delivered again, and before those that came after it."""
    handled: list[bytes] = []

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        handled.append(message.raw_data)
        raise LookupError

    adapter = MemoryTransport(
        processor_of(handle), 2, workers=2, ordering_key=lambda message: "one lane"
    )
    with pytest.raises(LookupError):
        adapter.run()
    assert adapter.acked == []
    assert sorted(body for body, _ in adapter.waiting) == [b"0", b"1"]
    assert handled == [b"0"]


def test_each_crash_of_a_worker_is_noted_once(caplog: pytest.LogCaptureFixture) -> None:
    """The first is raised, and every other stands in its notes one time."""
    meeting = threading.Barrier(3)

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        meeting.wait(DEADLINE)
        if message.raw_data == b"0":
            ctx.ack()
        raise Worse

    adapter = MemoryTransport(processor_of(handle), 3, workers=3, max_in_flight=3)
    with pytest.raises(Worse) as caught:
        adapter.run()
    assert len(caught.value.__notes__) == 2  # type: ignore[attr-defined]
    assert len([r for r in caplog.records if r.getMessage().startswith("after Worse")]) == 2


def test_an_interrupt_in_an_ordering_key_ends_the_run_without_waiting_for_the_message() -> None:
    """Its message came to no worker, so there is nothing to drain."""

    def key(message: missive.RawMessage) -> str:
        raise Worse

    adapter = MemoryTransport(processor_of(ack), 1, workers=2, ordering_key=key, drain_timeout=0.0)
    with pytest.raises(Worse) as caught:
        adapter.run()
    assert not hasattr(caught.value, "__notes__")


def test_a_message_that_is_being_built_at_the_drain_deadline_is_reported_too() -> None:
    """By the id that its transport gave it."""
    building, release = threading.Event(), threading.Event()

    def build(raw_data: bytes) -> missive.RawMessage:
        building.set()
        release.wait(DEADLINE)
        return missive.RawMessage(raw_data)

    adapter = MemoryTransport(processor_of(ack), 1, workers=2, message_cls=build, drain_timeout=0.0)
    stopper = threading.Thread(target=lambda: (building.wait(DEADLINE), adapter.stop()))
    stopper.start()
    with pytest.raises(missive.DrainTimeout) as caught:
        adapter.run()
    release.set()
    stopper.join(DEADLINE)
    assert caught.value.message_ids == ("0",)


@pytest.mark.parametrize(
    ("message_id", "named"),
    [
        ("m-1", "m-1"),
        (b"\xff", "0xff"),
        ("\udcff", "0xff"),
        (None, "a message without an id of its transport"),
    ],
    ids=["text", "bytes", "surrogate", "none"],
)
def test_an_inline_handler_past_the_drain_deadline_is_reported_when_it_returns(
    message_id: Any, named: str
) -> None:
    """It cannot be interrupted; it is settled, and then reported."""

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        adapter.stop()
        ctx.ack()

    class One(MemoryTransport):
        def receive(self, timeout: float) -> Any:
            self.in_hand[b"x"] = 1
            return [b"x" if message_id is None else Delivery(b"x", message_id=message_id)]

    adapter = One(processor_of(handle), drain_timeout=0.0)
    with pytest.raises(missive.DrainTimeout) as caught:
        adapter.run()
    assert caught.value.message_ids == (named,)
    assert adapter.acked == [b"x"]


def test_a_stop_that_ends_after_the_run_leaves_nothing_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first signal of the next run is a first one, not the second that ends the process."""
    asked: list[bool] = []

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        asked.append(adapter.shutdown_handler.should_exit())
        ctx.ack()

    adapter = MemoryTransport(processor_of(handle), endless=True)
    ended = threading.Event()
    set_flag = adapter.shutdown_handler.set_flag
    monkeypatch.setattr(
        adapter.shutdown_handler, "set_flag", lambda: (ended.wait(DEADLINE), set_flag())
    )
    thread, errors = run_in_thread(adapter)
    assert adapter.ready.wait(DEADLINE)
    stopper = threading.Thread(target=adapter.stop)
    stopper.start()
    join(thread)
    ended.set()
    join(stopper)
    adapter.endless = False
    adapter.waiting.append((b"next", 1))
    adapter.run()
    assert (errors, asked, adapter.acked) == ([], [False], [b"next"])


def test_a_connection_that_fails_at_open_is_tried_again_and_reported_once(
    workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    """One line when it fails and one when it works, however many attempts lie between."""
    adapter = MemoryTransport(processor_of(ack), 3, workers=workers)
    adapter.fail_on("open", *(ConnectionError() for _ in range(4)))
    adapter.run()
    assert len(adapter.acked) == 3
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "cannot connect (ConnectionError at" in lines[0]
    assert "connected after 5 attempts" in lines[1]


def test_a_stop_while_connecting_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """A transport that gives up connecting since it is told to stop logs no attempt to come."""

    class Leaving(MemoryTransport):
        def open(self) -> None:
            self.stop()
            raise ConnectionError

    Leaving(processor_of(ack), 3).run()
    assert not caplog.records


@pytest.mark.parametrize("call", ["receive", "ack", "nack", "flush"])
def test_a_lost_connection_is_taken_up_again(
    call: str, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    """What was not acked is delivered again, and the loss is reported once."""

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        if message.raw_data == b"2" and (message.delivery_count or 0) == 1:
            ctx.nack()
        else:
            ctx.ack()

    ready: list[bool] = []

    class Watched(MemoryTransport):
        def open(self) -> None:
            ready.append(self.ready.is_set())
            super().open()

    adapter = Watched(processor_of(handle), 20, workers=workers, batch_size=4)
    adapter.fail_on(call, ConnectionError())
    adapter.run()
    assert ready == [False, False]
    assert set(adapter.acked) == bodies(20)
    assert adapter.calls["open"] == 2
    assert adapter.status().reconnections == 1
    assert [r.getMessage().count("lost its connection") for r in caplog.records] == [1]


def test_a_close_that_fails_with_the_connection_hides_nothing(workers: int) -> None:
    """A lost connection cannot be closed in order, and need not."""
    adapter = MemoryTransport(processor_of(ack), 3, workers=workers)
    adapter.fail_on("receive", ConnectionError())
    adapter.fail_on("close", ConnectionError(), ConnectionError())
    adapter.run()
    assert len(adapter.acked) == 3


def test_connect_timeout_bounds_the_first_open() -> None:
    """After it, one clear error with the last cause."""
    adapter = MemoryTransport(processor_of(ack), connect_timeout=0.05)
    adapter.fail_on("open", *(ConnectionError() for _ in range(1000)))
    with pytest.raises(missive.errors.TransportUnreachable) as caught:
        adapter.run()
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert caught.value.seconds == 0.05
    assert adapter.calls["open"] > 1


def test_stop_ends_the_attempts_to_connect() -> None:
    """A server that never comes keeps nobody from stopping."""
    adapter = MemoryTransport(processor_of(ack))

    def refuse() -> None:
        adapter.calls["open"] += 1
        if adapter.calls["open"] == 3:
            adapter.stop()
        raise ConnectionError

    adapter.open = refuse  # type: ignore[method-assign]
    adapter.run()
    assert adapter.calls["receive"] == 0


@pytest.mark.parametrize("call", ["open", "receive", "ack", "flush"])
def test_what_trying_again_does_not_mend_ends_the_run(call: str, workers: int) -> None:
    """A fatal error is looked at first, though clients derive it from the connection error."""
    adapter = MemoryTransport(processor_of(ack), 3, workers=workers)
    adapter.fail_on(call, Refused())
    with pytest.raises(missive.errors.TransportRefused) as caught:
        adapter.run()
    assert isinstance(caught.value.__cause__, Refused)
    assert not adapter.opened


def test_a_refusal_that_an_ack_raises_ends_the_run_as_it_is(workers: int) -> None:
    """An adapter that can say more than its client's error says it, whichever call was refused."""

    class Said(missive.errors.TransportRefused):
        pass

    adapter = MemoryTransport(processor_of(ack), 3, workers=workers)
    refusal = Said(adapter, Refused())
    adapter.fail_on("ack", refusal)
    with pytest.raises(Said) as caught:
        adapter.run()
    assert caught.value is refusal


@pytest.mark.parametrize("error", [None, LookupError])
def test_a_transport_can_tell_which_phase_a_run_is_in(
    workers: int, error: type[Exception] | None
) -> None:
    """It knows whether ``open`` follows a loss, and whether ``flush`` is followed by ``receive``."""
    reconnecting: list[bool] = []
    ending: list[bool] = []

    class Watched(MemoryTransport):
        def open(self) -> None:
            reconnecting.append(self.reconnecting)
            super().open()

        def flush(self) -> None:
            ending.append(self.ending)
            super().flush()

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        if message.raw_data == b"2":
            if error is not None:
                raise error
            adapter.stop()
        ctx.ack()

    adapter = Watched(processor_of(handle), 3, workers=workers, batch_size=1, endless=True)
    adapter.fail_on("receive", ConnectionError())
    with pytest.raises(error) if error is not None else nullcontext():
        adapter.run()
    assert reconnecting == [False, True]
    assert (ending[0], ending[-1]) == (False, True)
    assert not adapter.ending
    assert not adapter.reconnecting


@pytest.mark.parametrize("call", ["open", "receive", "ack", "flush", "close"])
def test_any_other_error_of_the_transport_ends_the_run(call: str, workers: int) -> None:
    """A bug in an adapter is not taken for a lost connection."""
    adapter = MemoryTransport(processor_of(ack), 3, workers=workers)
    adapter.fail_on(call, ZeroDivisionError())
    with pytest.raises((ZeroDivisionError, missive.SettlementFailed)) as caught:
        adapter.run()
    assert isinstance(caught.value.__cause__ or caught.value, ZeroDivisionError)


def test_a_close_that_fails_does_not_hide_what_ended_the_run(workers: int) -> None:
    """The error of the handler is raised, and that of close is noted on it."""

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        raise LookupError("the handler's")

    adapter = MemoryTransport(processor_of(handle), 1, workers=workers)
    adapter.fail_on("close", ZeroDivisionError())
    with pytest.raises(LookupError, match="the handler's") as caught:
        adapter.run()
    assert adapter.calls["close"] == 1
    (note,) = caught.value.__notes__  # type: ignore[attr-defined]
    assert note.startswith("then also: ZeroDivisionError at ")


def test_a_connection_error_of_a_handler_is_no_lost_connection(workers: int) -> None:
    """Without a DLQ it ends the run like any error of a handler."""

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        raise ConnectionError("to somewhere else")

    adapter = MemoryTransport(processor_of(handle), 3, workers=workers)
    with pytest.raises(ConnectionError, match="somewhere else"):
        adapter.run()
    assert adapter.calls["open"] == 1


def test_acks_that_fail_while_the_run_ends_are_left_to_redelivery(
    workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that is lost during the drain is not taken up again, but reported."""

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        adapter.fail_on("ack", ConnectionError())
        adapter.fail_on("flush", ConnectionError())
        adapter.stop()
        ctx.ack()

    adapter = MemoryTransport(processor_of(handle), 1, workers=workers)
    adapter.run()
    assert adapter.calls["open"] == 1
    assert [r.getMessage().count("may not have arrived") for r in caplog.records] == [1, 1]


@pytest.mark.parametrize("call", ["receive", "ack", "flush"])
def test_connections_that_do_not_last_are_opened_with_growing_pauses(
    call: str, workers: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that takes connections and drops them is not stormed, and the log not filled."""
    adapter = MemoryTransport(processor_of(ack), 1, workers=workers, endless=True)
    adapter.fail_on(call, *(ConnectionError() for _ in range(12)))
    pauses: list[float] = []
    wait = adapter.wait

    def note(timeout: float, readable: Any = None) -> bool:
        if threading.current_thread() is threading.main_thread() and not adapter.ready.is_set():
            pauses.append(timeout)
            return False
        if adapter.acked and not adapter.failures[call]:
            adapter.stop()
        return wait(timeout, readable)

    monkeypatch.setattr(adapter, "wait", note)
    monkeypatch.setattr("missive.polling.connection._jitter", lambda: 1.0)
    adapter.run()
    assert adapter.acked == [b"0"]
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 3.0, 3.0, 3.0, 3.0]
    lines = [record.getMessage() for record in caplog.records]
    lost = [line for line in lines if "lost its connection" in line]
    assert [line.count("lost its connection again") for line in lost] == [0, 1]


def test_a_connection_that_lasted_is_opened_again_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However many were lost before it."""
    monkeypatch.setattr(
        "missive.polling.connection.BACKOFF_LONGEST", 0.0
    )  # so that any time is long
    adapter = MemoryTransport(processor_of(ack), 1)
    adapter.fail_on("receive", *(ConnectionError() for _ in range(5)))
    waits: list[float] = []
    monkeypatch.setattr(adapter, "wait", lambda timeout, readable=None: waits.append(timeout))
    adapter.run()
    assert (adapter.acked, waits) == ([b"0"], [])
    assert [r.getMessage().count("lost its connection (") for r in caplog.records] == [1] * 5


@pytest.mark.parametrize("error", [ConnectionError(), None], ids=["lost", "taken"])
def test_what_was_received_and_not_handled_is_given_back(error: Exception | None) -> None:
    """To a transport that redelivers; where the connection is lost it does so by itself."""

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        adapter.stop()
        ctx.ack()

    adapter = MemoryTransport(processor_of(handle), 5)
    if error:
        adapter.fail_on("give_back", error)
    adapter.run()
    assert adapter.calls["give_back"] == 1
    assert len(adapter.waiting) == 4


def test_stop_between_receiving_and_handling_handles_nothing() -> None:
    """The whole batch is left to the transport."""

    class Stopped(MemoryTransport):
        def receive(self, timeout: float) -> Any:
            self.stop()
            return super().receive(timeout)

    adapter = Stopped(processor_of(ack), 5)
    adapter.run()
    assert (adapter.acked, len(adapter.waiting)) == ([], 5)


def test_an_error_during_the_drain_ends_the_run_with_it(workers: int) -> None:
    """A handler that fails after stop is as loud as before."""

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        adapter.stop()
        pool: Any = adapter._loop.executor  # type: ignore[union-attr]
        deadline = time.monotonic() + DEADLINE
        while not pool.inline and not pool._closed and time.monotonic() < deadline:
            os.sched_yield()  # until the drain has begun
        raise LookupError("late")

    adapter = MemoryTransport(processor_of(handle), 1, workers=workers)
    with pytest.raises(LookupError, match="late"):
        adapter.run()


def test_an_error_on_the_way_out_is_noted_on_the_first(workers: int) -> None:
    """The first error is the one that is raised."""

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        adapter.fail_on("flush", ZeroDivisionError(), ZeroDivisionError())
        raise LookupError("first")

    adapter = MemoryTransport(processor_of(handle), 1, workers=workers)
    with pytest.raises(LookupError, match="first") as caught:
        adapter.run()
    assert "ZeroDivisionError" in caught.value.__notes__[0]  # type: ignore[attr-defined]


def nack_first(times: int) -> Handle:
    """Make a handler that nacks so many times before it acks."""
    calls = itertools.count()

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        if next(calls) < times:
            ctx.nack()
        else:
            ctx.ack()

    return handle


def test_300_consecutive_nacks_do_not_become_a_hot_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a few nacks in a row each batch is held back, longer and longer up to a second."""
    adapter = MemoryTransport(processor_of(nack_first(300)), 1)
    # The clock of the receive loop jumps over each pause that it is asked to wait.
    pauses: list[float] = []
    for module in ("turn", "settling"):
        monkeypatch.setattr(f"missive.polling.{module}.monotonic", lambda: sum(pauses))
    monkeypatch.setattr(adapter, "wait", lambda timeout: pauses.append(timeout))
    adapter.run()
    assert adapter.acked == [b"0"]
    assert len(pauses) == 290
    assert pauses[0] == pytest.approx(0.01)
    assert pauses[-1] == pytest.approx(1.0)
    assert [round(pause, 3) for pause in pauses] == sorted(round(pause, 3) for pause in pauses)


def test_consecutive_nacks_of_workers_are_held_back_as_well() -> None:
    """The pauses that 40 nacks bring add up to 0.7 seconds, and cannot be had in less."""
    adapter = MemoryTransport(processor_of(nack_first(40)), 1, workers=4)
    began = time.monotonic()
    adapter.run()
    assert time.monotonic() - began > 0.5
    assert adapter.acked == [b"0"]


def test_an_ack_ends_the_row_of_nacks(workers: int) -> None:
    """Nacks between acks cost no pause."""
    seen: Counter[bytes] = Counter()

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        seen[message.raw_data] += 1
        if seen[message.raw_data] == 1:
            ctx.nack()
        else:
            ctx.ack()

    adapter = MemoryTransport(processor_of(handle), 8, workers=workers, batch_size=1)
    adapter.run()
    assert set(adapter.acked) == bodies(8)


class Worse(BaseException):
    pass


@pytest.mark.parametrize("kind", [Worse, SystemExit])
def test_what_a_handler_raises_beside_exceptions_ends_the_run(
    kind: type[BaseException], workers: int
) -> None:
    """Intake stops, the others are settled, and run() raises it; the message is unsettled."""

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        if message.raw_data == b"5":
            raise kind
        ctx.ack()

    processor = processor_of(handle)
    processor.set_dlq(dlq := {})
    adapter = MemoryTransport(processor, 1000, workers=workers)
    with pytest.raises(kind):
        adapter.run()
    assert dlq == {}
    assert b"5" not in adapter.acked
    assert b"4" in adapter.acked
    assert len(adapter.acked) < 1000


def test_an_error_without_a_dlq_settles_the_others_and_ends_the_run(workers: int) -> None:
    """The first error is raised; the message stays with the transport."""

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        if message.raw_data == b"5":
            raise LookupError("broken")
        ctx.ack()

    adapter = MemoryTransport(processor_of(handle), 1000, workers=workers)
    with pytest.raises(LookupError, match="broken"):
        adapter.run()
    assert b"5" in [body for body, _ in adapter.waiting]
    assert len(adapter.acked) + len(adapter.waiting) == 1000


def test_a_failing_dlq_ends_the_run_and_acks_nothing_of_it(workers: int) -> None:
    """A message whose dead letter is not written stays on the transport."""

    class Full(dict[bytes, Any]):
        def __setitem__(self, key: bytes, value: Any) -> None:
            raise OSError("disk full")

    processor = processor_of(lambda m, ctx: {}["key"])
    processor.set_dlq(Full())
    adapter = MemoryTransport(processor, 10, workers=workers)
    with pytest.raises(missive.DeadLetterWriteFailed):
        adapter.run()
    assert adapter.acked == []
    assert len(adapter.waiting) == 10


def test_every_message_bad_under_eight_workers_is_dead_lettered_once_then_acked() -> None:
    """The write precedes the ack, whatever the number of threads."""
    written: list[bytes] = []

    class Ordered(dict[bytes, Any]):
        def __setitem__(self, key: bytes, value: Any) -> None:
            assert key not in adapter.acked
            written.append(key)
            super().__setitem__(key, value)

    processor = processor_of(lambda m, ctx: {}["key"])
    processor.set_dlq(dlq := Ordered())
    adapter = MemoryTransport(processor, 2000, workers=8, batch_size=100)
    adapter.run()
    assert len(written) == 2000
    assert set(dlq) == set(adapter.acked) == bodies(2000)
    assert adapter.status().dead_lettered == 2000


class Batching(MemoryTransport):
    """A transport that sends its acks in batches."""

    flush_interval = 3600.0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.events: list[str] = []

    def ack(self, message: missive.RawMessage) -> None:
        super().ack(message)
        self.events.append("ack")

    def flush(self) -> None:
        super().flush()
        self.events.append("flush")


def test_on_a_batching_transport_the_letters_of_a_batch_are_written_before_any_of_its_acks() -> (
    None
):
    """A storm of bad messages costs one write for each batch where the store can."""

    class Log(dict[bytes, Any]):
        def __setitem__(self, key: bytes, value: Any) -> None:
            adapter.events.append("write")
            super().__setitem__(key, value)

    processor = processor_of(lambda m, ctx: {}["key"])
    processor.set_dlq(Log())
    adapter = Batching(processor, 20, batch_size=10)
    adapter.run()
    batch = ["write"] * 10 + ["ack"] * 10 + ["flush"]
    assert adapter.events == [*batch, *batch, *["flush"] * 2]


def test_overdue_acks_are_flushed_between_messages() -> None:
    """A slow handler does not keep the acks of the messages before it."""
    adapter = Batching(processor_of(ack), 3, batch_size=10)
    adapter.flush_interval = 0.0
    adapter.run()
    assert adapter.events[:6] == ["ack", "flush"] * 3


def test_with_workers_a_batching_transport_is_flushed_when_idle_or_overdue() -> None:
    """Acks are not flushed one by one while others are in flight."""
    hold = threading.Barrier(3)

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        hold.wait(DEADLINE)
        ctx.ack()

    adapter = Batching(processor_of(handle), 3, workers=3, max_in_flight=3)
    adapter.run()
    assert adapter.events.index("flush") < 4
    assert adapter.events.count("ack") == 3
    assert adapter.events[-1] == "flush"


def test_with_workers_acks_are_not_flushed_one_by_one() -> None:
    """While a message is in flight and nothing is overdue, the ack of another waits for it."""

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        deadline = time.monotonic() + DEADLINE
        while message.raw_data == b"1" and not adapter.acked and time.monotonic() < deadline:
            os.sched_yield()  # until the other one is settled
        adapter.events.append("handled")
        ctx.ack()

    adapter = Batching(processor_of(handle), 2, workers=2)
    adapter.run()
    begun = adapter.events.index("handled")
    assert adapter.events[begun : begun + 4] == ["handled", "ack", "handled", "ack"]


def test_the_end_of_the_input_waits_for_what_is_in_flight() -> None:
    """However long it takes: there is no deadline but after stop."""
    ended = threading.Event()

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        assert ended.wait(DEADLINE)
        ctx.ack()

    class Short(MemoryTransport):
        def receive(self, timeout: float) -> Any:
            if not self.waiting:
                ended.set()
                raise EndOfInput
            return super().receive(timeout)

    adapter = Short(processor_of(handle), 2, workers=2, drain_timeout=0.0)
    adapter.run()
    assert len(adapter.acked) == 2


def test_a_crash_is_raised_once_however_often_the_run_comes_round() -> None:
    """The other workers' messages are settled after it, and it is the error of the run."""
    other_began = threading.Event()

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        if message.raw_data == b"0":
            other_began.wait(DEADLINE)  # what no worker has begun is given back instead
            raise Worse
        other_began.set()
        deadline = time.monotonic() + DEADLINE
        while adapter.status().in_flight > 1 and time.monotonic() < deadline:
            os.sched_yield()  # until the crash has been noticed
        ctx.ack()

    adapter = MemoryTransport(processor_of(handle), 2, workers=2)
    with pytest.raises(Worse) as caught:
        adapter.run()
    assert adapter.acked == [b"1"]
    assert not hasattr(caught.value, "__notes__")


def test_no_thread_and_no_file_descriptor_leaks_over_50_runs(workers: int) -> None:
    """Whether a run ends by itself, by stop or by an error."""

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        if message.raw_data == b"7":
            raise LookupError
        if message.raw_data == b"8":
            adapter.stop()
        ctx.ack()

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    threads, files = threading.active_count(), None
    for n in range(50):
        adapter = MemoryTransport(processor_of(handle), 6 + n % 3, workers=workers)
        try:
            adapter.run()
        except LookupError:
            assert n % 3
        files = files or descriptors()
    assert threading.active_count() == threads
    assert descriptors() == files


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"workers": 0}, "workers=0"),
        ({"workers": "2"}, "workers='2'"),
        ({"workers": 4, "max_in_flight": 3}, "max_in_flight=3"),
        ({"ordering_key": "id"}, "ordering_key .* not a str"),
        ({"drain_timeout": -1.0}, "drain_timeout"),
        ({"drain_timeout": None}, r'not None; give float\("inf"\)'),
        ({"drain_timeout": "3"}, "not '3'"),
        ({"connect_timeout": "3"}, "not '3'"),
        ({"connect_timeout": 0}, "connect_timeout"),
        ({"message_cls": missive.DictMessage}, "'decoder'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_configuration_that_cannot_work_is_refused_when_built(options: Any, problem: str) -> None:
    """With the remedy, and with nothing connected to."""
    with pytest.raises(missive.ConfigurationError, match=problem):
        MemoryTransport(processor_of(ack), **options)


def test_a_run_that_cannot_begin_can_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of file descriptors, say: the error is raised, and the adapter is as it was."""

    def no_descriptors() -> None:
        raise OSError("too many open files")

    adapter = MemoryTransport(processor_of(ack), 3)
    with monkeypatch.context() as patch:
        patch.setattr("missive.polling.adapter.Wakeup", no_descriptors)
        with pytest.raises(OSError, match="too many"):
            adapter.run()
    adapter.run()
    assert len(adapter.acked) == 3


def test_waiting_works_where_poll_is_not_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    monkeypatch.delattr(select, "poll")
    adapter = MemoryTransport(processor_of(ack), endless=True)
    adapter.poll_timeout = 3600.0
    thread, errors = run_in_thread(adapter)
    assert adapter.ready.wait(DEADLINE)
    adapter.stop()
    join(thread)
    assert errors == []


def test_building_an_adapter_touches_nothing() -> None:
    """No connection, no signal handler, no thread."""
    before = signal.getsignal(signal.SIGTERM), threading.active_count()
    adapter = MemoryTransport(processor_of(ack), 3, workers=4)
    assert adapter.calls == {}
    assert (signal.getsignal(signal.SIGTERM), threading.active_count()) == before
    assert adapter.status() == missive.polling.Status(False, None, 0, 0, 0, 0, 0, 0)
    assert isinstance(adapter, missive.Runnable)


def test_rejected_deliveries_are_dead_lettered_unhandled(workers: int) -> None:
    """A transport's own refusal passes no handler and needs no ordering key."""

    class Rejecting(MemoryTransport):
        def receive(self, timeout: float) -> Any:
            batch = super().receive(timeout)
            return [
                Delivery(d.raw_data, d.message_id, rejection=("too often", "handling"))
                for d in batch
            ]

    processor = processor_of(ack)
    handled: list[Any] = []
    processor.before_handling(lambda pctx, hctx: handled.append(hctx.message))
    processor.set_dlq(dlq := {})
    adapter = Rejecting(processor, 5, workers=workers, ordering_key=lambda m: 1)
    adapter.run()
    assert handled == []
    assert {reason for _, reason in dlq.values()} == {"too often"}
    assert len(adapter.acked) == 5


def test_undecodable_deliveries_are_dead_lettered_by_workers_too() -> None:
    """Building happens in the worker, and its failure is a verdict."""

    def build(raw_data: bytes) -> missive.RawMessage:
        raise UnicodeError("not built")

    processor = processor_of(ack)
    processor.set_dlq(dlq := {})
    MemoryTransport(processor, 5, workers=2, message_cls=build).run()
    assert {reason for _, reason in dlq.values()} == {"not built"}


def test_observers_see_what_workers_did() -> None:
    """on_settled is called in the receiving thread."""
    processor = processor_of(ack)
    seen: list[tuple[Any, int]] = []
    processor.on_settled(lambda ctx, s: seen.append((s.outcome, threading.get_ident())))
    adapter = MemoryTransport(processor, 50, workers=4)
    adapter.run()
    assert seen == [(Outcome.ACKED, threading.get_ident())] * 50
    assert adapter.status().acked == 50


def test_stop_during_the_wait_after_nacks_ends_it(workers: int) -> None:
    """A throttled run stops at once."""

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        ctx.nack()
        if message.delivery_count == 40:
            threading.Thread(target=adapter.stop).start()

    adapter = MemoryTransport(processor_of(handle), 1, workers=workers)
    thread, errors = run_in_thread(adapter)
    join(thread)
    assert errors == []


def test_status_says_how_long_the_oldest_delivery_waits(workers: int) -> None:
    """It is counted from the receipt of what is handled or waits; nothing waits after the run."""
    ages: list[float | None] = []
    in_flight: list[int] = []

    def handle(message: missive.RawMessage, ctx: Any) -> None:
        status = adapter.status()
        ages.append(status.oldest_unsettled)
        in_flight.append(status.in_flight)
        ctx.ack()

    adapter = MemoryTransport(processor_of(handle), 3, workers=workers)
    assert adapter.status().oldest_unsettled is None
    adapter.run()
    assert all(age is not None and age >= 0 for age in ages)
    assert min(in_flight) >= 1
    assert adapter.status().oldest_unsettled is None


def test_an_adapter_that_cannot_say_its_lag_says_so() -> None:
    """Unless it overrides it, the lag of an adapter is unknown, and its system has no name."""
    adapter = MemoryTransport(processor_of(lambda message, ctx: ctx.ack()), 0)
    assert adapter.lag_by_source() is None
    assert adapter.messaging_system is None
