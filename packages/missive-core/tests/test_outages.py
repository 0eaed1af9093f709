"""The beginning of an outage: failures that a breaker counts before it opens."""

from __future__ import annotations

from typing import Any

import missive
import pytest
from missive import (
    Breaker,
    Capabilities,
    MemoryDLQ,
    Outcome,
    Processor,
    RawMessage,
    Retry,
)
from missive.breaker import EXCUSED, BreakerState
from shelf_transport import FORGETS, KEEPS, ShelfTransport, finish, start, wait_until


class Outage(ConnectionError):
    """A dependency that is down."""


def state_of(failures: int = 3) -> BreakerState:
    return BreakerState(Breaker(on=Outage, failures=failures), "a handler", lambda: 0.0)


def processor_of(handle: Any, dlq: Any, *, failures: int = 5, **options: Any) -> Processor[Any]:
    processor: Processor[Any] = Processor()
    breaker = Breaker(on=Outage, failures=failures, pause=10.0)
    processor.handle_for(missive.otherwise, breaker=breaker, **options)(handle)
    processor.set_dlq(dlq)
    return processor


def test_a_message_is_excused_again_only_while_nothing_has_succeeded_since() -> None:
    """A success in between says that the dependency is up, and that the message is at fault."""
    state = state_of()
    assert state.excuses(Outage(), b"a")
    assert state.excuses(Outage(), b"a")
    assert not state.excuses(ValueError(), b"a")
    state.note(None)
    assert state.excuses(Outage(), b"b")
    assert not state.excuses(Outage(), b"a")


def test_an_opening_breaker_proves_all_that_were_excused_right() -> None:
    """They failed by the outage, whatever succeeded before."""
    state = state_of(failures=2)
    assert state.excuses(Outage(), b"a")
    state.note(None)
    state.note(Outage())
    state.note(Outage())
    assert state.excuses(Outage(), b"a")  # one that was handled meanwhile beside others
    assert state.is_open


def test_few_excused_messages_are_remembered() -> None:
    """Those of a day without an outage take no more memory than those of an hour."""
    state = state_of()
    for number in range(EXCUSED + 5):
        state.excuses(Outage(), b"%d" % number)
    state.note(None)
    assert state.excuses(Outage(), b"4")  # forgotten, so that it counts as new
    assert not state.excuses(Outage(), b"%d" % EXCUSED)


@pytest.mark.parametrize("options", [{}, {"retry": Retry(attempts=1)}])
@pytest.mark.parametrize("dlq", [MemoryDLQ, dict], ids=["a store", "in this process"])
def test_failures_before_the_breaker_opens_make_no_dead_letter(
    dlq: Any, options: dict[str, Any]
) -> None:
    """With no retry or with spent attempts; the attempt that they made does not count."""
    attempts: list[int] = []
    down = True

    def handle(message: RawMessage, ctx: Any) -> None:
        attempts.append(ctx.attempt)
        if down:
            raise Outage("down")
        ctx.ack()

    processor = processor_of(handle, dlq(), **options)
    with processor.test_client() as client:
        outcomes = [client.send(b"%d" % number) for number in range(8)]
        assert outcomes == [Outcome.DEFERRED] * 8
        assert len(attempts) == 5  # then it opened
        down = False
        assert client.advance(60).count(Outcome.ACKED) == 8
    assert set(attempts) == {1}
    assert not processor.dlq


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("capabilities", [KEEPS, FORGETS])
@pytest.mark.parametrize("dlq", [MemoryDLQ, dict, lambda: None], ids=["store", "dict", "none"])
def test_a_run_without_retries_loses_nothing_to_an_outage(
    dlq: Any, capabilities: Capabilities, workers: int
) -> None:
    """Whatever keeps its messages; the messages that come first are no exception."""
    down = True
    calls = 0

    def handle(message: RawMessage, ctx: Any) -> None:
        nonlocal calls
        calls += 1
        if down:
            raise Outage("down")
        ctx.ack()

    processor: Processor[Any] = Processor()
    breaker = Breaker(on=Outage, failures=4, pause=0.05)
    processor.handle_for(missive.otherwise, breaker=breaker)(handle)
    processor.set_dlq(dlq())
    bodies = [b"a%d" % number for number in range(50)]
    adapter = ShelfTransport(
        processor, bodies, workers=workers, capabilities=capabilities, until=lambda: done()
    )

    def done() -> bool:
        return not down and sorted(set(adapter.acked)) == sorted(bodies) and not waiting()

    def waiting() -> int:
        store = processor.dlq
        return store.counts().deferred if isinstance(store, MemoryDLQ) else 0

    run = start(adapter)
    wait_until(lambda: calls > 5 and bool(adapter.status().paused))
    down = False
    finish(*run)
    assert sorted(adapter.acked) == sorted(bodies)
    assert adapter.status().dead_lettered == 0


def test_a_message_that_fails_alone_is_a_dead_letter_with_its_history() -> None:
    """It is given the benefit of the doubt once; others succeed, so it is at fault itself."""

    def handle(message: RawMessage, ctx: Any) -> None:
        if message.raw_data == b"bad":
            raise Outage("always")
        ctx.ack()

    dlq = MemoryDLQ()
    with processor_of(handle, dlq).test_client() as client:
        assert client.send(b"bad") is Outcome.DEFERRED
        assert client.send(b"good") is Outcome.ACKED
        assert client.advance(10) == [Outcome.DEAD_LETTERED]
    (letter,) = dlq.letters()
    assert (letter.attempt, letter.failures, letter.reason) == (1, 2, "always")


def test_attempts_are_made_before_a_message_is_excused() -> None:
    """A retry is quicker, and the last of them waits for the breaker's verdict."""

    def handle(message: RawMessage, ctx: Any) -> None:
        attempts.append(ctx.attempt)
        raise Outage("always")

    attempts: list[int] = []
    retry = Retry(attempts=2, delay=1.0, jitter=0.0)
    with processor_of(handle, MemoryDLQ(), retry=retry).test_client() as client:
        client.send(b"a")
        assert client.advance(1.0) == [Outcome.DEFERRED]
        assert client.advance(9.0) == []
        assert client.advance(1.0) == [Outcome.DEFERRED]
    assert attempts == [1, 2, 2]


def test_what_a_breaker_does_not_name_is_a_dead_letter_at_once() -> None:
    """Such as a handler that decided nothing, which raised nothing that it could count."""
    processor: Processor[Any] = Processor()
    breaker = Breaker(on=Exception, failures=5)
    processor.handle_for(missive.otherwise, breaker=breaker)(lambda message, ctx: None)
    processor.set_dlq(MemoryDLQ())
    assert processor.test_client().send(b"a") is Outcome.DEAD_LETTERED


def test_messages_of_a_batch_are_excused_too() -> None:
    """Each by itself: one that is at fault again is a dead letter."""
    processor: Processor[Any] = Processor()

    @processor.handle_batch_for(missive.otherwise, breaker=Breaker(on=Outage, failures=3))
    def handle(messages: Any, ctx: Any) -> None:
        raise Outage("down")

    processor.set_dlq(MemoryDLQ())
    with processor.test_client() as client:
        assert [client.send(b"a"), client.send(b"b")] == [Outcome.DEFERRED] * 2


@pytest.mark.parametrize("stable", [True, False])
def test_without_a_place_to_wait_only_a_message_that_is_known_again_is_returned(
    stable: bool,
) -> None:
    """One whose id is new with each delivery would be returned for ever."""

    def handle(message: RawMessage, ctx: Any) -> None:
        raise Outage("down")

    processor = processor_of(handle, {})
    adapter = ShelfTransport(processor)
    adapter.capabilities = Capabilities(nack="redeliver", stable_id=stable)  # type: ignore[misc]
    with processor.context(RawMessage, adapter) as ctx:
        outcome = ctx.handle(RawMessage(b"a"))
    assert outcome is (Outcome.NACKED if stable else Outcome.DEAD_LETTERED)


def test_a_transport_that_drops_what_is_nacked_gets_a_dead_letter() -> None:
    """Where nothing else keeps it."""

    def handle(message: RawMessage, ctx: Any) -> None:
        raise Outage("down")

    processor = processor_of(handle, {})
    with processor.context(RawMessage, ShelfTransport(processor, capabilities=FORGETS)) as ctx:
        assert ctx.handle(RawMessage(b"a")) is Outcome.DEAD_LETTERED
