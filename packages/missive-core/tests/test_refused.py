"""Refused messages: how long they wait for each other before they are written to the store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import missive
import pytest
from missive import (
    Breaker,
    Delivery,
    MemoryDLQ,
    ProcessingContext,
    Processor,
    RawMessage,
    Retry,
)
from missive.breaker import BreakerState
from missive.polling.refused import (
    REFUSED_BYTES,
    REFUSED_WAIT,
    REFUSED_WAIT_LONGEST,
    Refused,
)
from shelf_transport import KEEPS, ShelfTransport, finish, start, wait_until


class Outage(ConnectionError):
    """A dependency that is down."""


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Commits(MemoryDLQ):
    """A store that notes what is deferred in each step."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[list[bytes]] = []

    def defer(self, letters: Any) -> None:
        found = list(letters)
        self.commits.append([letter.raw_data for letter in found])
        super().defer(found)


def outage_of_one(dlq: Any) -> Processor[Any]:
    """Return a processor of which one handler's dependency is down, but not that of the other."""
    processor: Processor[Any] = Processor()

    @processor.handle_for(lambda m: m.raw_data[:1] == b"a", breaker=Breaker(on=Outage, failures=1))
    def fail(message: RawMessage, ctx: Any) -> None:
        raise Outage("down")

    @processor.handle_for(lambda m: m.raw_data[:1] == b"b")
    def succeed(message: RawMessage, ctx: Any) -> None:
        ctx.ack()

    processor.set_dlq(dlq)
    return processor


def opened(clock: Clock) -> tuple[ProcessingContext[RawMessage], BreakerState]:
    """Return a run, and the state of the breaker in it, which is open."""
    processor = outage_of_one(MemoryDLQ())
    ctx = ProcessingContext(RawMessage, ShelfTransport(processor), processor, clock=clock)
    state = ctx.breakers.of_handler(processor.handlers[0])
    assert state is not None
    state.note(Outage("down"))
    return ctx, state


def for_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the wait before refused messages are written longer than any test."""
    for name in ("REFUSED_WAIT", "REFUSED_WAIT_LONGEST"):
        monkeypatch.setattr(f"missive.polling.refused.{name}", 3600.0)


@pytest.mark.parametrize("workers", [1, 4])
def test_refused_messages_are_written_together_while_others_are_handled(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit for each would cost the other handler more time than its own work."""
    for_an_hour(monkeypatch)
    monkeypatch.setattr("missive.polling.refused.REFUSED_AT_ONCE", 100)
    dlq = Commits()
    bodies = [b"%c%d" % (kind, number) for number in range(150) for kind in b"ab"]
    adapter = ShelfTransport(outage_of_one(dlq), bodies, workers=workers)
    adapter.until = lambda: not adapter.waiting  # the end of the input, and no new connection
    adapter.run()
    assert sorted(adapter.acked) == sorted(bodies)
    refused = [commit for commit in dlq.commits if len(commit) > 1]
    # The failures themselves are written as they come; then a hundred, and what is left at the end.
    assert len(refused) <= 3
    assert sum(map(len, dlq.commits)) == dlq.counts().deferred == 150


def test_a_refused_message_holds_up_no_other_of_its_key() -> None:
    """Where messages wait for each other in lanes, a refused one is written at once."""
    dlq = Commits()
    bodies = [b"a%d" % number for number in range(20)]
    adapter = ShelfTransport(
        outage_of_one(dlq), [*bodies, b"b"], workers=2, ordering_key=lambda message: "one"
    )
    adapter.run()
    assert [body for commit in dlq.commits for body in commit] == bodies


def test_a_message_is_due_at_once_where_its_breaker_closed_before_it_was_written() -> None:
    """It was refused by an outage that is over."""
    clock = Clock()
    ctx, state = opened(clock)
    context = ctx.process(Delivery(b"ax", b"x"))
    refused: Refused[Any] = Refused(ctx.breakers, waits=False)
    assert refused.seconds_to_due() is None
    refused.add([context])
    assert context.letter is not None
    due = context.letter.due
    clock.now += 30.0
    assert state.admit()
    state.note(None)
    assert refused.take() == [context]
    assert due is not None
    assert context.letter.due is not None
    assert context.letter.due < due
    assert context.delay == 0.0


def test_the_longer_a_write_takes_the_longer_the_next_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that a slow disk takes little of the time in which other messages are handled."""
    ctx, _ = opened(Clock())
    clock = Clock()
    monkeypatch.setattr("missive.polling.refused.monotonic", clock)
    refused: Refused[Any] = Refused(ctx.breakers, waits=True)
    waits = []
    for took in (0.0, 0.02, 10.0, 0.0):
        refused.add([ctx.process(Delivery(b"a", b"a"))])
        waits.append(refused.seconds_to_due())
        refused.hurry()
        assert len(refused.take()) == 1
        refused.note_written(took)
    assert waits == [REFUSED_WAIT, REFUSED_WAIT, 0.5, REFUSED_WAIT_LONGEST]
    refused.stop_waiting()
    refused.note_written(10.0)
    refused.add([ctx.process(Delivery(b"a", b"a"))])
    assert refused.seconds_to_due() == 0.0


def test_large_messages_wait_for_few_others() -> None:
    """Until they are written they are kept in memory."""
    ctx, _ = opened(Clock())
    refused: Refused[Any] = Refused(ctx.breakers, waits=True)
    body = b"a" * (REFUSED_BYTES // 2)
    refused.add([ctx.process(Delivery(body, b"a"))])
    assert refused.take() == []
    refused.add([ctx.process(Delivery(body, b"b"))])
    assert len(refused.take()) == 2
    refused.add([ctx.process(Delivery(b"a", b"c"))])
    assert refused.take() == []


@pytest.mark.parametrize("workers", [1, 4])
def test_refused_messages_are_written_at_once_where_nothing_else_is_to_be_done(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transport may deliver no more until they are acked."""
    for_an_hour(monkeypatch)
    bodies = [b"a%d" % number for number in range(5)]
    adapter = ShelfTransport(outage_of_one(MemoryDLQ()), bodies, workers=workers)
    finish(*start(adapter))
    assert sorted(adapter.acked) == bodies


def test_refused_messages_are_written_at_once_where_those_behind_them_take_all_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A transport that is acked in order waits for the oldest, and the run for room."""
    for_an_hour(monkeypatch)
    bodies = [b"a1", b"a2", *(b"b%d" % number for number in range(30))]
    adapter = ShelfTransport(
        outage_of_one(MemoryDLQ()),
        bodies,
        capabilities=replace(KEEPS, ordered_acks=True),
    )
    adapter.waiting_room = 2
    finish(*start(adapter))
    assert sorted(adapter.acked) == sorted(bodies)


def test_a_run_without_room_waits_until_something_is_due() -> None:
    """It does not look for room over and over, which takes a whole processor."""

    class Waits(ShelfTransport):
        def wait(self, timeout: float, readable: Any = None) -> bool:
            if self.status().held == 10:
                waited.append(timeout)
            return super().wait(timeout, readable)

    waited: list[float] = []
    processor: Processor[Any] = Processor()

    @processor.handle_for(missive.otherwise, retry=Retry(delay=3600.0, max_delay=3600.0))
    def fail(message: RawMessage, ctx: Any) -> None:
        raise ValueError

    adapter = Waits(processor, [b"%d" % number for number in range(10)])
    adapter.waiting_room = 2
    run = start(adapter)
    wait_until(lambda: bool(waited))
    adapter.stop()
    finish(*run)
    assert waited[0] == adapter.poll_timeout
