"""Breakers: an outage of a dependency is no fault of the messages."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import missive
import pytest
from missive import (
    Breaker,
    Capabilities,
    ConfigurationError,
    Delivery,
    MemoryDLQ,
    Outcome,
    ProcessingContext,
    Processor,
    RawMessage,
    Retry,
)
from missive.breaker import SCOUTS, Breakers, BreakerState
from missive.errors import BreakerOpen, DeadLetterStoreError
from shelf_transport import FORGETS, ShelfTransport, finish, start, wait_until


class Outage(ConnectionError):
    """A dependency that is down."""


class Dependency:
    """A dependency that can be down; counts the calls to it."""

    def __init__(self) -> None:
        self.down = True
        self.calls = 0

    def handle(self, message: RawMessage, ctx: Any) -> None:
        self.calls += 1
        if self.down:
            raise Outage("down")
        ctx.ack()


def processor_of(handle: Any, breaker: Breaker, dlq: Any, **options: Any) -> Processor[Any]:
    processor: Processor[Any] = Processor()
    processor.handle_for(missive.otherwise, breaker=breaker, **options)(handle)
    processor.set_dlq(dlq)
    return processor


@pytest.mark.parametrize(
    "bad",
    [
        {"on": Outage, "failures": 0},
        {"on": Outage, "failures": -1},
        {"on": Outage, "failures": 1.5},
        {"on": Outage, "window": 0},
        {"on": Outage, "window": float("inf")},
        {"on": Outage, "pause": -1},
        {"on": Outage, "pause": float("nan")},
        {"on": "Outage"},
        {"on": Outage("an instance")},
    ],
)
def test_a_breaker_that_makes_no_sense_is_refused(bad: dict[str, Any]) -> None:
    """Each argument is checked when it is made."""
    with pytest.raises(ConfigurationError):
        Breaker(**bad)


def test_what_is_no_breaker_is_refused_where_it_is_given() -> None:
    """A class is not an instance."""
    given: Any = Breaker
    with pytest.raises(ConfigurationError, match="Breaker"):
        Processor[Any]().handle_for(missive.otherwise, breaker=given)


# One breaker, by a clock of the test's own.


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def state_of(**options: Any) -> tuple[BreakerState, Clock]:
    clock = Clock()
    options = {"on": Outage, "failures": 2, "window": 10.0, "pause": 5.0, **options}
    return BreakerState(Breaker(**options), "a handler", clock), clock


def test_it_opens_after_so_many_failures_within_the_window() -> None:
    """Those that are longer ago do not count, nor do other errors."""
    state, clock = state_of()
    assert not state.note(Outage())
    clock.now = 11.0
    assert not state.note(Outage())
    assert not state.note(ValueError())
    clock.now = 12.0
    assert state.note(Outage())
    assert state.is_open


def test_half_open_it_admits_one_message_and_closes_when_that_succeeds() -> None:
    """The others wait for what becomes of the one."""
    state, clock = state_of(failures=1)
    state.note(Outage())
    assert (state.admit(), state.wait_time()) == (False, 5.0)
    clock.now = 5.0
    assert [state.admit(), state.admit()] == [True, False]
    assert state.wait_time() > 0
    state.note(None)
    assert not state.is_open
    assert state.wait_time() == 0.0
    assert state.admit()


def test_it_pauses_again_when_the_one_message_fails() -> None:
    """From the time of that failure."""
    state, clock = state_of(failures=1)
    state.note(Outage())
    clock.now = 6.0
    assert state.admit()
    assert state.note(Outage())
    assert state.wait_time() == 5.0


def test_a_message_that_crashed_half_open_lets_another_be_tried() -> None:
    """It says nothing of the dependency."""
    state, clock = state_of(failures=1)
    state.note(Outage())
    clock.now = 5.0
    assert state.admit()
    state.abandon()
    assert state.admit()


def test_an_error_of_another_kind_closes_it() -> None:
    """The dependency answered; the message is at fault."""
    state, clock = state_of(failures=1)
    state.note(Outage())
    clock.now = 5.0
    state.admit()
    assert not state.note(ValueError())
    assert not state.is_open


def test_it_logs_each_change_once(caplog: pytest.LogCaptureFixture) -> None:
    """However many messages fail meanwhile."""
    state, clock = state_of(failures=2, name="the database")
    with caplog.at_level(logging.WARNING, "missive.breaker"):
        for _ in range(50):
            state.note(Outage("payload"))
        clock.now = 5.0
        state.admit()
        state.note(None)
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 2
    assert "the database opened: Outage" in texts[0]
    assert "the database closed" in texts[1]
    assert "payload" not in caplog.text


def test_a_store_has_few_refused_messages_due_at_once_and_the_others_later() -> None:
    """So that a long outage does not have each of many claimed and kept again every pause."""
    state, clock = state_of(failures=1)
    state.note(Outage())
    clock.now = 1.0
    waits = [state.keep_for() for _ in range(SCOUTS + 2)]
    assert waits == [4.0] * SCOUTS + [9.0, 9.0]


# In a run.


def test_an_outage_is_no_attempt_and_no_dead_letter() -> None:
    """The message waits, as the attempt that it was, until the dependency is back."""
    attempts: list[int] = []
    dependency = Dependency()

    def handle(message: RawMessage, ctx: Any) -> None:
        attempts.append(ctx.attempt)
        dependency.handle(message, ctx)

    dlq = MemoryDLQ()
    breaker = Breaker(on=Outage, failures=1, pause=10.0)
    with processor_of(handle, breaker, dlq, retry=Retry(attempts=1)).test_client() as client:
        assert client.send(b"a") is Outcome.DEFERRED
        assert client.send(b"b") is Outcome.DEFERRED
        assert client.advance(35)[-1] is Outcome.DEFERRED
        assert dependency.calls == 4  # one message every pause
        dependency.down = False
        outcomes = client.advance(60)
    assert outcomes.count(Outcome.ACKED) == 2
    assert set(attempts) == {1}
    assert len(dlq) == 0


@pytest.mark.parametrize("dlq", [MemoryDLQ, dict], ids=["a store", "in this process"])
@pytest.mark.parametrize("workers", [1, 4])
def test_the_intake_pauses_during_an_outage_and_resumes(dlq: Any, workers: int) -> None:
    """Nothing is lost, nothing is dead, and few calls reach what is down."""
    dependency = Dependency()
    breaker = Breaker(on=Outage, failures=3, pause=0.05)
    bodies = [b"a%d" % number for number in range(200)]
    processor = processor_of(dependency.handle, breaker, dlq(), retry=Retry(delay=0.01))
    adapter = ShelfTransport(
        processor, bodies, workers=workers, until=lambda: len(set(adapter.acked)) == 200
    )
    run = start(adapter)
    wait_until(lambda: bool(adapter.status().paused) and dependency.calls > 6)
    assert adapter.status().paused[0].startswith("breaker of ")
    assert len(adapter.waiting) > 150
    dependency.down = False
    finish(*run)
    assert sorted(adapter.acked) == sorted(bodies)
    assert len(processor.dlq or {}) == 0
    assert adapter.status().dead_lettered == 0


def test_a_transport_that_neither_keeps_nor_nacks_loses_nothing_either() -> None:
    """Pub/Sub: what was received waits in this process."""
    dependency = Dependency()
    breaker = Breaker(on=Outage, failures=1, pause=0.02)
    processor = processor_of(dependency.handle, breaker, {})
    adapter = ShelfTransport(processor, [b"a", b"b"], capabilities=FORGETS)
    run = start(adapter)
    wait_until(lambda: dependency.calls > 3)
    dependency.down = False
    finish(*run)
    assert sorted(adapter.acked) == [b"a", b"b"]


@pytest.mark.parametrize("workers", [1, 4])
def test_with_a_store_that_defers_the_other_handler_goes_on(workers: int) -> None:
    """Only the messages of the handler whose dependency is down wait, in the store."""
    dependency = Dependency()
    dlq = MemoryDLQ()
    handled: Counter[bytes] = Counter()
    processor: Processor[Any] = Processor()
    processor.set_dlq(dlq)
    processor.handle_for(
        lambda message: message.raw_data[:1] == b"a",
        breaker=Breaker(on=Outage, failures=1, pause=0.05),
    )(dependency.handle)

    @processor.handle_for(missive.otherwise)
    def other(message: RawMessage, ctx: Any) -> None:
        handled[message.raw_data] += 1
        ctx.ack()

    bodies = [b"%s%d" % (kind, number) for number in range(300) for kind in (b"a", b"b")]
    adapter = ShelfTransport(
        processor,
        bodies,
        workers=workers,
        until=lambda: not dependency.down and dlq.counts().deferred == 0,
    )
    run = start(adapter)
    wait_until(lambda: len(handled) == 300 and dlq.counts().deferred == 300)
    dependency.down = False
    finish(*run)
    assert set(handled.values()) == {1}
    assert dlq.counts().dead == 0
    assert sorted(adapter.acked) == sorted(bodies)


def test_a_closed_breaker_has_the_messages_due_that_it_refused() -> None:
    """Though the outage was long, and they would be due much later."""
    dependency = Dependency()
    dlq = MemoryDLQ()
    processor: Processor[Any] = Processor()
    processor.set_dlq(dlq)
    processor.handle_for(
        lambda message: message.raw_data[:1] == b"a",
        breaker=Breaker(on=Outage, failures=1, pause=1.0),
    )(dependency.handle)
    processor.handle_for(missive.otherwise)(lambda message, ctx: ctx.ack())
    adapter = ShelfTransport(
        processor,
        [b"a%d" % number for number in range(100)],
        until=lambda: not dependency.down and dlq.counts().deferred == 0,
    )
    run = start(adapter)
    wait_until(lambda: dlq.counts().deferred == 100)
    dependency.down = False
    finish(*run)
    assert dependency.calls < 110


def test_one_breaker_that_may_be_tried_is_not_kept_by_another_that_may_not() -> None:
    """Two handlers, both down: the one that is back goes on."""
    back, down = Dependency(), Dependency()
    processor: Processor[Any] = Processor()
    processor.set_dlq(MemoryDLQ())
    for kind, dependency, pause in ((b"a", back, 0.05), (b"b", down, 3600.0)):
        processor.handle_for(
            lambda message, kind=kind: message.raw_data[:1] == kind,
            breaker=Breaker(on=Outage, failures=1, pause=pause),
        )(dependency.handle)
    adapter = ShelfTransport(processor, [b"b1", b"a1"], until=lambda: b"a1" in adapter.acked)
    run = start(adapter)
    wait_until(lambda: len(adapter.status().paused) == 2)
    back.down = False
    finish(*run)
    assert down.calls == 1


def test_an_order_by_key_outlives_an_outage() -> None:
    """What waits for the dependency is not overtaken within its key."""
    dependency = Dependency()
    done: list[bytes] = []

    def handle(message: RawMessage, ctx: Any) -> None:
        dependency.handle(message, ctx)
        done.append(message.raw_data)

    breaker = Breaker(on=Outage, failures=2, pause=0.02)
    processor = processor_of(handle, breaker, {}, retry=Retry(delay=0.01, in_order=True))
    adapter = ShelfTransport(
        processor,
        [b"%s%d" % (key, number) for number in range(5) for key in (b"a", b"b")],
        workers=4,
        ordering_key=lambda message: message.raw_data[:1],
    )
    run = start(adapter)
    wait_until(lambda: dependency.calls > 4)
    dependency.down = False
    finish(*run)
    for key in (b"a", b"b"):
        assert [body for body in done if body[:1] == key] == [b"%s%d" % (key, n) for n in range(5)]


def test_handlers_that_share_a_dependency_share_a_breaker() -> None:
    """What one finds out, the other need not."""
    dependency = Dependency()
    breaker = Breaker(on=Outage, failures=1, pause=10.0, name="database")
    processor: Processor[Any] = Processor()
    processor.set_dlq(MemoryDLQ())
    for kind in (b"a", b"b"):
        processor.handle_for(lambda m, kind=kind: m.raw_data == kind, breaker=breaker)(
            dependency.handle
        )
    with processor.test_client() as client:
        client.send(b"a")
        assert client.send(b"b") is Outcome.DEFERRED
    assert dependency.calls == 1


class Forgetful(missive.Adapter[RawMessage]):
    """An adapter without a loop, whose transport takes no nack."""

    capabilities = FORGETS

    def ack(self, message: RawMessage) -> None:
        raise AssertionError("nothing may be acked")

    def nack(self, message: RawMessage) -> None:
        raise AssertionError("nothing may be nacked")


def test_a_message_that_nothing_can_keep_during_an_outage_is_unsettled() -> None:
    """Without a loop that holds it, a store or a nack, the error names the remedy."""
    dependency = Dependency()
    processor = processor_of(dependency.handle, Breaker(on=Outage, failures=1), None)
    settled: list[Any] = []
    processor.on_settled(lambda run, ctx: settled.append(ctx.outcome))
    with processor.context(RawMessage, Forgetful(processor)) as ctx:
        with pytest.raises(Outage):
            ctx.deliver(Delivery(b"a"))
        with pytest.raises(BreakerOpen, match="set_dlq") as caught:
            ctx.deliver(Delivery(b"b"))
    assert caught.value.message.raw_data == b"b"
    assert settled == [None, None]
    assert dependency.calls == 1


def test_hooks_are_told_that_a_message_was_given_back() -> None:
    """``paused`` tells it from a failed attempt."""
    told: list[tuple[Any, bool]] = []
    processor = processor_of(Dependency().handle, Breaker(on=Outage, failures=1), MemoryDLQ())
    processor.on_settled(lambda run, ctx: told.append((ctx.outcome, ctx.paused)))
    with processor.test_client() as client:
        client.send(b"a")
    assert told == [(Outcome.DEFERRED, True)]


@pytest.mark.parametrize("register", ["handle_for", "handle_batch_for"])
def test_an_interrupt_while_a_breaker_tries_a_message_lets_another_be_tried(register: str) -> None:
    """It ends the run and says nothing of the dependency, alone or in a batch."""
    to_raise: list[type[BaseException]] = [Outage, KeyboardInterrupt, Outage]

    def handle(message: Any, ctx: Any) -> None:
        raise to_raise.pop(0)

    processor: Processor[Any] = Processor()
    breaker = Breaker(on=Outage, failures=1, pause=5.0)
    getattr(processor, register)(missive.otherwise, breaker=breaker)(handle)
    processor.set_dlq(MemoryDLQ())
    clock = Clock()
    ctx = ProcessingContext(RawMessage, processor.test_client(), processor, clock=clock)

    def attempt() -> None:
        contexts = [ctx.begin(body, Delivery(body, body)) for body in (b"a", b"b")]
        for context in contexts:
            context.handler = processor.handlers[0]
        ctx.run_job(contexts if register == "handle_batch_for" else contexts[:1])

    attempt()
    attempt()
    assert len(to_raise) == 2  # the breaker is open
    clock.now = 5.0
    with pytest.raises(KeyboardInterrupt):
        attempt()
    attempt()
    assert to_raise == []


@pytest.mark.parametrize("nack", ["redeliver", "drop-refused"])
def test_without_a_place_to_wait_a_refused_message_is_returned_or_left_unsettled(nack: Any) -> None:
    """A transport that would drop what is nacked is told nothing, and the run ends."""
    dependency = Dependency()
    processor = processor_of(dependency.handle, Breaker(on=Outage, failures=1), {})
    client = processor.test_client(capabilities=Capabilities(nack=nack))
    ctx = ProcessingContext(RawMessage, client, processor)
    if nack == "redeliver":
        assert ctx.handle(RawMessage(b"a")) is Outcome.NACKED
        assert ctx.handle(RawMessage(b"b")) is Outcome.NACKED
    else:
        with pytest.raises(Outage):
            ctx.handle(RawMessage(b"a"))
        with pytest.raises(BreakerOpen):
            ctx.handle(RawMessage(b"b"))
        assert client.nacked == []
    assert dependency.calls == 1
    assert processor.dlq == {}


def test_a_breaker_is_tried_with_a_new_message_where_none_is_left_to_try() -> None:
    """Without a store, a lost connection takes what was held: so one is received when it may be."""
    dependency = Dependency()
    processor = processor_of(
        dependency.handle, Breaker(on=Outage, failures=1, pause=0.05), {}, retry=None
    )

    class Loses(ShelfTransport):
        keepalive_interval = 0.001
        lost = False

        def keepalive(self) -> None:
            if self.status().paused and not self.lost:
                self.lost = True
                dependency.down = False
                raise ConnectionError("lost")

    adapter = Loses(processor, [b"a"], until=lambda: bool(adapter.acked))
    finish(*start(adapter))
    assert adapter.acked == [b"a"]
    assert dependency.calls == 2


def test_a_store_in_trouble_when_a_breaker_closes_does_not_end_the_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be made due at once is handled when its time has come."""
    monkeypatch.setattr("missive.polling.pump.LOOK_EVERY", 0.01)

    class Troubled(MemoryDLQ):
        def retry_now(self, *args: Any, **filters: Any) -> int:
            raise DeadLetterStoreError("locked")

    dependency = Dependency()
    dlq = Troubled()
    processor: Processor[Any] = Processor()
    processor.set_dlq(dlq)
    processor.handle_for(
        lambda message: message.raw_data[:1] == b"a",
        breaker=Breaker(on=Outage, failures=1, pause=0.02),
    )(dependency.handle)
    processor.handle_for(missive.otherwise)(lambda message, ctx: ctx.ack())
    adapter = ShelfTransport(
        processor,
        [b"a%d" % number for number in range(20)],
        until=lambda: not dependency.down and dlq.counts().deferred == 0,
    )
    run = start(adapter)
    wait_until(lambda: dlq.counts().deferred == 20)
    dependency.down = False
    finish(*run)
    assert "deferred messages cannot be read (DeadLetterStoreError" in caplog.text
    assert dlq.counts().dead == 0


def test_a_batch_that_succeeds_closes_a_breaker_that_tries_it() -> None:
    """The dependency answered; so its next messages are handled as they come."""
    dependency, clock = Dependency(), Clock()
    processor: Processor[Any] = Processor()

    @processor.handle_batch_for(missive.otherwise, breaker=Breaker(on=(Outage,), failures=1))
    def handle(messages: Any, ctx: Any) -> None:
        dependency.calls += 1
        if dependency.down:
            raise Outage
        ctx.ack_rest()

    processor.set_dlq(MemoryDLQ())
    ctx = ProcessingContext(RawMessage, processor.test_client(), processor, clock=clock)
    outcomes = []
    for _ in range(3):
        contexts = [ctx.begin(body, Delivery(body, body)) for body in (b"a", b"b")]
        for context in contexts:
            context.handler = processor.handlers[0]
        ctx.run_job(contexts)
        outcomes.append(contexts[0].outcome)
        dependency.down, clock.now = False, 3600.0
    assert outcomes == [Outcome.DEFERRED, Outcome.ACKED, Outcome.ACKED]
    assert dependency.calls == 3


def test_breakers_let_one_message_in_where_a_breaker_may_be_tried_and_none_waits() -> None:
    """Nothing is received for the rest of the pause, and while a message waits here to be tried with."""
    clock = Clock()
    processor = processor_of(Dependency().handle, Breaker(on=Outage, failures=1, pause=60.0), None)
    breakers = Breakers(processor.handlers, clock)
    state = breakers.of_handler(processor.handlers[0])
    assert state is not None
    state.note(Outage("down"))
    assert breakers.pause(is_empty=True, defers=False) == 60.0
    clock.now += 60.0
    assert breakers.pause(is_empty=True, defers=False) is None
    assert breakers.pause(is_empty=False, defers=False) == 0.01
