"""What was found by running Missive under faults, and by reports of users of other tools."""

from __future__ import annotations

import gzip
import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Sequence
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import missive
import missive.errors
import pytest
from missive import Capabilities, Delivery, Outcome
from missive.polling import EndOfInput, PollingAdapter

DEADLINE = 30.0


def acking() -> missive.Processor[missive.RawMessage]:
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(missive.otherwise)(lambda message, ctx: ctx.ack())
    return processor


class Batches(PollingAdapter[missive.RawMessage]):
    """Delivers batches one after the other, and redelivers what was not acked when it reopens."""

    capabilities = Capabilities(
        delivery="at-least-once", crash_redelivery=True, stable_id=True, reconnects=True
    )
    connection_errors = (ConnectionError,)

    def __init__(self, processor: Any, *batches: Sequence[bytes], **options: Any) -> None:
        super().__init__(missive.RawMessage, processor, **options)
        self.unsettled_bodies = [body for batch in batches for body in batch]
        self.batches = [list(batch) for batch in batches]
        self.refuse_acks: list[bytes] = []
        self.acked: list[bytes] = []
        self.nacked = 0
        self.opened = 0

    def open(self) -> None:
        self.opened += 1
        if self.opened > 1:
            self.batches = [list(self.unsettled_bodies)]

    def close(self) -> None:
        pass

    def receive(self, timeout: float) -> Sequence[Delivery]:
        if not self.batches:
            raise EndOfInput
        return [Delivery(body, message_id=body, source="s") for body in self.batches.pop(0)]

    def ack(self, message: missive.RawMessage) -> None:
        if message.raw_data in self.refuse_acks:
            self.refuse_acks.remove(message.raw_data)
            raise ConnectionError
        self.acked.append(message.raw_data)
        self.unsettled_bodies.remove(message.raw_data)

    def nack(self, message: missive.RawMessage) -> None:
        self.nacked += 1


def test_after_a_reconnection_the_backlog_of_the_old_connection_is_not_handled() -> None:
    """The transport delivers it again, so that each message is handled once, and one twice."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    handled: list[bytes] = []

    @processor.handle_for(missive.otherwise)
    def handle(message: missive.RawMessage, ctx: Any) -> None:
        handled.append(message.raw_data)
        ctx.ack()

    adapter = Batches(processor, [b"1", b"2", b"3", b"4", b"5"])
    adapter.refuse_acks = [b"1"]
    adapter.run()
    assert handled == [b"1", b"1", b"2", b"3", b"4", b"5"]
    assert sorted(adapter.acked) == [b"1", b"2", b"3", b"4", b"5"]


@pytest.mark.parametrize("flush_interval", [None, DEADLINE])
def test_nacks_that_are_not_consecutive_hold_nothing_back(
    flush_interval: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every second of 6,000 messages nacked no batch waits, on transports that batch acks too."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_for(missive.otherwise)
    def handle(message: missive.RawMessage, ctx: Any) -> None:
        ctx.nack() if int(message.raw_data) % 2 else ctx.ack()

    batches = [[b"%d" % n for n in range(start, start + 100)] for start in range(0, 6000, 100)]
    adapter = Batches(processor, *batches)
    adapter.flush_interval = flush_interval
    waits: list[float] = []
    monkeypatch.setattr(adapter, "wait", lambda timeout, readable=None: waits.append(timeout))
    adapter.run()
    assert adapter.nacked == 3000
    assert waits == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_drain_timeout_without_end_is_one(workers: int) -> None:
    """``float("inf")`` waits for the handler in flight, as the error's own text advises."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    inside, go = threading.Event(), threading.Event()

    @processor.handle_for(missive.otherwise)
    def handle(message: missive.RawMessage, ctx: Any) -> None:
        inside.set()
        assert go.wait(DEADLINE)
        ctx.ack()

    adapter = Batches(processor, [b"1"], workers=workers, drain_timeout=float("inf"))
    thread = threading.Thread(target=adapter.run, daemon=True)
    thread.start()
    assert inside.wait(DEADLINE)
    adapter.stop()
    go.set()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert adapter.acked == [b"1"]


class Unreadable(Exception):
    """An exception whose attributes cannot be read."""

    def __getattribute__(self, name: str) -> Any:
        raise LookupError(name)


class OddReason(missive.MissiveError):
    """An error whose reason is not text."""

    reason: Any = 42


@pytest.mark.parametrize("kind", [Unreadable, OddReason])
def test_an_error_with_broken_attributes_costs_one_message_and_not_the_run(
    kind: type[Exception],
) -> None:
    """It becomes a dead letter like any other, and the next message is handled."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_for(lambda message: message.raw_data == b"bad")
    def fail(message: missive.RawMessage, ctx: Any) -> None:
        raise kind("x")

    processor.handle_for(missive.otherwise)(lambda message, ctx: ctx.ack())
    processor.set_dlq(store := missive.MemoryDLQ())
    client = processor.test_client()
    assert client.send(b"bad") is Outcome.DEAD_LETTERED
    assert client.send(b"good") is Outcome.ACKED
    assert isinstance(next(iter(store.letters())).reason, str)


def stdin_of(file: Any, **options: Any) -> tuple[missive.StdinAdapter[Any], list[bytes]]:
    lines: list[bytes] = []
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_for(missive.otherwise)
    def handle(message: missive.RawMessage, ctx: Any) -> None:
        lines.append(message.raw_data)
        ctx.ack()

    processor.set_dlq({})
    return missive.StdinAdapter(missive.RawMessage, processor, file, **options), lines


def test_input_without_line_ends_is_bounded_by_max_bytes() -> None:
    """The first part becomes a dead letter that says how long the line was; memory stays flat."""

    class Endless(io.RawIOBase):
        read_so_far = 0

        def read1(self, size: int) -> bytes:
            self.read_so_far += size
            if self.read_so_far > 50_000_000:
                return b""
            return b"\0" * size

        def fileno(self) -> int:
            raise OSError

    adapter, lines = stdin_of(Endless(), max_bytes=1000)
    dlq: dict[bytes, tuple[Any, str]] = adapter.processor.dlq  # type: ignore[assignment]
    adapter.run()
    assert lines == []
    ((message, reason),) = dlq.values()
    assert message.raw_data == b"\0" * 1000
    assert reason.startswith("a line of 49")
    assert adapter._parts == []


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_a_line_of_just_max_bytes_is_a_message(end: bytes) -> None:
    """The limit counts the line without its end."""
    adapter, lines = stdin_of(io.BytesIO(b"12345" + end), max_bytes=5)
    adapter.run()
    assert lines == [b"12345"]


def test_what_was_read_ahead_by_others_is_read_at_once() -> None:
    """A line that another reader left in the file's buffer does not wait until more comes."""
    reading, writing = os.pipe()
    file = os.fdopen(reading, "rb")
    os.write(writing, b"first\nsecond\n")
    assert file.readline() == b"first\n"
    adapter, lines = stdin_of(file)
    handled = threading.Event()
    adapter.processor.hooks.settled.append(lambda processing_ctx, ctx: handled.set())
    thread = threading.Thread(target=adapter.run, daemon=True)
    thread.start()
    assert handled.wait(DEADLINE)
    os.close(writing)
    thread.join(DEADLINE)
    file.close()
    assert lines == [b"second"]


def test_a_file_that_has_more_than_its_descriptor_is_read_at_once() -> None:
    """gzip over a pipe: all lines that have come are handled, though the pipe stays open."""
    reading, writing = os.pipe()
    packed = gzip.compress(b"".join(b"%d\n" % number for number in range(20_000)))
    pipe = os.fdopen(reading, "rb", buffering=0)
    adapter, lines = stdin_of(gzip.GzipFile(fileobj=pipe))
    all_there = threading.Event()

    def note(processing_ctx: Any, ctx: Any) -> None:
        if len(lines) == 20_000:
            all_there.set()

    adapter.processor.hooks.settled.append(note)
    thread = threading.Thread(target=adapter.run, daemon=True)
    thread.start()
    os.write(writing, packed)
    assert all_there.wait(DEADLINE)
    os.close(writing)
    thread.join(DEADLINE)
    assert not thread.is_alive()
    pipe.close()


SIGNALLED = """
import multiprocessing, os, signal, sys, threading
import missive

processor = missive.Processor()

def endless():
    threading.Event().wait()

@processor.handle_for(missive.otherwise)
def handle(message, ctx):
    context = multiprocessing.get_context({method!r})
    child = context.Process(target=endless)
    child.start()
    child.terminate()
    child.join()
    print(child.exitcode, flush=True)
    ctx.ack()

if __name__ == "__main__":
    missive.StdinAdapter(missive.RawMessage, processor, workers={workers}).run()
"""


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_that_a_handler_starts_is_ended_by_sigterm(
    method: str, workers: int, tmp_path: Path
) -> None:
    """The handler of signals acts in the process that installed it alone."""
    program = tmp_path / "program.py"
    program.write_text(SIGNALLED.format(method=method, workers=workers))
    run = subprocess.run(
        [sys.executable, str(program)],
        input=b"go\n",
        capture_output=True,
        check=False,
        timeout=DEADLINE,
    )
    assert run.returncode == 0, run.stderr
    assert str(-signal.SIGTERM) in run.stdout.decode().split()


HUNG_UP = """
import os, signal, sys
import missive

processor = missive.Processor()

@processor.handle_for(missive.otherwise)
def handle(message, ctx):
    for signum in {signals}:
        os.kill(os.getpid(), signum)
    ctx.ack()
    print("done", flush=True)

missive.StdinAdapter(missive.RawMessage, processor).run()
print("ended", flush=True)
"""


@pytest.mark.parametrize(
    "signals",
    [
        "[signal.SIGHUP]",
        "[signal.SIGHUP] * 2",
        "[signal.SIGTERM, signal.SIGHUP]",
        "[signal.SIGHUP, signal.SIGTERM]",
    ],
)
def test_sighup_drains_as_sigterm_does(signals: str) -> None:
    """A terminal that closes, or a supervisor, lets the message in flight be finished."""
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(HUNG_UP.format(signals=signals))],
        input=b"1\n2\n",
        capture_output=True,
        check=False,
        timeout=DEADLINE,
    )
    assert run.stdout.split() == [b"done", b"ended"], run.stderr
    assert run.returncode == 0


def test_an_ignored_sighup_stays_ignored() -> None:
    """Under nohup a closing terminal does not stop a run."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        handler = missive.ShutdownHandler()
        handler.enable()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) == handler.signal_handler
        handler.disable()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_handler_past_its_timeout_is_named_and_the_run_stays_live(
    workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    """``status()`` names it, the log once; it is not killed, and progress goes on."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    inside, go = threading.Event(), threading.Event()

    @processor.handle_for(missive.otherwise)
    def slow(message: missive.RawMessage, ctx: Any) -> None:
        inside.set()
        assert go.wait(DEADLINE)
        ctx.ack()

    adapter = Batches(processor, [b"1"], workers=workers, handler_timeout=0.001)
    thread = threading.Thread(target=adapter.run, daemon=True)
    thread.start()
    assert inside.wait(DEADLINE)
    adapter.status()
    while not (overdue := adapter.status().overdue):
        os.sched_yield()
    assert overdue[0].endswith("slow")
    first = adapter.status().last_progress
    assert first is not None
    while adapter.status().last_progress == first:  # the run is live, whatever the handler does
        os.sched_yield()
    go.set()
    thread.join(DEADLINE)
    assert adapter.acked == [b"1"]
    named = [record for record in caplog.records if "handler_timeout" in record.getMessage()]
    assert len(named) == 1


def entry_points_of(*points: tuple[str, str]) -> Any:
    found = EntryPoints(EntryPoint(name, value, "missive.adapters") for name, value in points)
    return lambda group: found


def test_a_scheme_that_two_distributions_claim_stays_with_missives_own(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A third party that registers ``stdin:``, broken or not, is named and not used."""
    points = (("stdin", "broken.module:Nothing"), ("stdin", "missive.adapters.stdin:StdinAdapter"))
    monkeypatch.setattr("missive.urls.entry_points", entry_points_of(*points))
    adapter = missive.adapter_from_url("stdin:", missive.RawMessage, acking())
    assert isinstance(adapter, missive.StdinAdapter)
    assert "several distributions have an adapter for stdin:" in caplog.text


def test_a_plugin_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scheme, entry point and distribution in one line."""
    monkeypatch.setattr("missive.urls.entry_points", entry_points_of(("tick", "nowhere.at.all:X")))
    with pytest.raises(missive.ConfigurationError, match=r"tick: \(nowhere.at.all:X of an unknown"):
        missive.adapter_from_url("tick:", missive.RawMessage, acking())


def test_a_plugin_without_a_from_url_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an entry point names may be anything; a URL can only name what it can build."""
    monkeypatch.setattr(
        "missive.urls.entry_points", entry_points_of(("tick", "missive:RawMessage"))
    )
    with pytest.raises(
        missive.ConfigurationError, match=r"tick: \(missive:RawMessage .* no from_url"
    ):
        missive.adapter_from_url("tick:", missive.RawMessage, acking())


def test_keys_compare_as_in_json() -> None:
    """``true`` is not 1, and 1 is 1.0; also within tuples, and in explanations."""
    processor: missive.Processor[missive.JSONMessage] = missive.Processor()
    by = missive.route_on_json("n")
    seen: list[str] = []
    for name, value in (("one", 1), ("true", True), ("false", False), ("zero", 0)):
        processor.handle_for(by(value))(lambda m, ctx, name=name: (seen.append(name), ctx.ack()))  # type: ignore[misc]
    client = processor.test_client(missive.JSONMessage)
    for text in (b"1", b"1.0", b"true", b"false", b"0"):
        client.send(b'{"n": ' + text + b"}")
    assert seen == ["one", "one", "true", "false", "zero"]
    assert by(True) != by(1)
    with pytest.raises(missive.errors.MatcherConflict, match="messages with the key True: "):
        processor.handle_for(by(True))(lambda m, ctx: ctx.ack())
    assert by(1)(missive.JSONMessage(b'{"n": true}')) is False
    explanation = processor.explain(missive.JSONMessage(b'{"n": true}'))
    assert [handler.matcher for handler in explanation.hits] == [by(True)]
    assert explanation.keys == (("field n", True),)
    pairs = missive.route_on(lambda message: ("a", True))
    assert pairs(("a", True))(missive.JSONMessage(b"{}")) is True
    assert pairs(("a", 1))(missive.JSONMessage(b"{}")) is False


def test_the_log_of_a_rejected_message_says_why(caplog: pytest.LogCaptureFixture) -> None:
    """The adapter's own words have no content, and a place in core would say nothing."""
    processor = acking()
    processor.set_dlq({})
    client = processor.test_client()
    with processor.context(missive.RawMessage, client) as ctx:
        ctx.deliver(Delivery(b"x", "m-1", rejection=("delivered 5 times", "settling")))
    (line,) = [r.getMessage() for r in caplog.records if "dead-lettered" in r.getMessage()]
    assert line == "dead-lettered m-1: stage settling, no handler, delivered 5 times"


def test_the_log_says_what_is_wrong_where_nothing_was_raised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A handler that does not decide has no line to point at, so the log names the mistake."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_for(missive.otherwise)
    def forget(message: missive.RawMessage, ctx: Any) -> None:
        pass

    processor.set_dlq({})
    client = processor.test_client()
    with processor.context(missive.RawMessage, client) as ctx:
        ctx.deliver(Delivery(b"x", "m-1"))
    (line,) = [r.getMessage() for r in caplog.records if "dead-lettered" in r.getMessage()]
    assert line.endswith("forget, handler did not settle the message; NotSettled")


def test_an_unreachable_transport_is_reported_with_what_it_said() -> None:
    """Where the last error has safe words, they are in the text: they name the cause."""

    class Loading(ConnectionError):
        safe_text = "LOADING: it is loading its data"

    error = missive.errors.TransportUnreachable(object(), 3, Loading())
    assert "(last: LOADING: it is loading its data)" in str(error)
    error = missive.errors.TransportUnreachable(object(), 3, ConnectionError("of a user"))
    assert "(last: ConnectionError)" in str(error)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_does_not_hang_on_a_frozen_clock(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test that freezes time for its own sake gets its messages handled all the same."""
    for module in ("loop", "turn", "settling", "pump", "adapter", "connection", "held", "batches"):
        monkeypatch.setattr(f"missive.polling.{module}.monotonic", lambda: 1000.0)
    adapter = Batches(acking(), [b"1", b"2"], [b"3"], workers=workers)
    adapter.run()
    assert sorted(adapter.acked) == [b"1", b"2", b"3"]
