"""Retries: policies, the rows of the settlement table about them, and the ways to wait."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import replace
from typing import Any

import missive
import pytest
from hypothesis import given
from hypothesis import strategies as st
from missive import (
    Capabilities,
    ConfigurationError,
    MemoryDLQ,
    Outcome,
    Processor,
    RawMessage,
    Retry,
)
from shelf_transport import DELAYS, FORGETS, KEEPS, ShelfTransport

EXACT = Retry(attempts=3, delay=1.0, backoff=2.0, jitter=0.0)


class Outage(ConnectionError):
    """A dependency that is down."""


def processor_of(handle: Any, *, dlq: Any = None, **options: Any) -> Processor[Any]:
    processor: Processor[Any] = Processor()
    processor.handle_for(missive.otherwise, **options)(handle)
    processor.set_dlq(dlq)
    return processor


def failing(times: int, error: type[Exception] = ValueError) -> Any:
    """Return a handler that fails so often for each message, then acks; it notes its attempts."""
    made: dict[bytes, list[int]] = defaultdict(list)

    def handle(message: RawMessage, ctx: Any) -> None:
        made[message.raw_data].append(ctx.attempt)
        if len(made[message.raw_data]) <= times:
            raise error("no")
        ctx.ack()

    handle.made = made  # type: ignore[attr-defined]
    return handle


# The policy.


@pytest.mark.parametrize(
    "bad",
    [
        {"attempts": 0},
        {"attempts": -1},
        {"attempts": 1.5},
        {"attempts": True},
        {"delay": -1.0},
        {"delay": float("inf")},
        {"delay": float("nan")},
        {"delay": 1e12},
        {"delay": 10**400},
        {"delay": "1"},
        {"backoff": 0.5},
        {"backoff": float("inf")},
        {"max_delay": -1},
        {"max_delay": float("inf")},
        {"jitter": 1.5},
        {"jitter": -0.1},
        {"on": "ValueError"},
        {"on": (ValueError("an instance"),)},
        {"on": (int,)},
        {"not_on": [ValueError]},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(bad: dict[str, Any]) -> None:
    """Each argument is checked when the policy is made, and named in the text."""
    with pytest.raises(ConfigurationError, match=next(iter(bad))):
        Retry(**bad)


@pytest.mark.parametrize("delay", [-1, float("inf"), float("nan"), 1e12, "1", True])
def test_a_nack_with_a_delay_that_makes_no_sense_fails_the_message(delay: Any) -> None:
    """The handler sees the error; the message becomes a dead letter, and the run goes on."""
    dlq = MemoryDLQ()
    processor = processor_of(lambda message, ctx: ctx.nack(delay=delay), dlq=dlq)
    assert processor.test_client().send(b"a") is Outcome.DEAD_LETTERED
    (letter,) = dlq.letters()
    assert (letter.error_type or "").endswith(".ConfigurationError")


@given(
    delay=st.floats(0, 1e6),
    backoff=st.floats(1, 100),
    longest=st.floats(0, 1e6),
    jitter=st.floats(0, 1),
    attempt=st.integers(1, 10**6),
)
def test_a_delay_is_what_the_policy_says(
    delay: float, backoff: float, longest: float, jitter: float, attempt: int
) -> None:
    """Delay times backoff, at most the longest, varied by no more than the jitter."""
    policy = Retry(delay=delay, backoff=backoff, max_delay=longest, jitter=jitter)
    plain = replace(policy, jitter=0.0).delay_after(attempt)
    varied = policy.delay_after(attempt)
    assert 0 <= plain <= longest
    if attempt < 10:
        assert plain == pytest.approx(min(delay * backoff ** (attempt - 1), longest))
    assert plain * (1 - jitter) * 0.999 <= varied <= min(plain * (1 + jitter) * 1.001, longest)


@pytest.mark.parametrize(
    ("options", "longest"),
    [
        ({"attempts": 1}, 0.0),
        ({"attempts": 2}, 12.0),
        ({"attempts": 3}, 24.0),
        ({"attempts": 3, "max_delay": 15.0}, 15.0),
    ],
)
def test_the_longest_delay_is_that_before_the_last_attempt(
    options: dict[str, Any], longest: float
) -> None:
    """With all its jitter, and none where there is one attempt alone."""
    policy = Retry(delay=10.0, backoff=2.0, jitter=0.2, **options)
    assert policy.longest_delay == pytest.approx(longest)


def test_a_policy_covers_what_it_names_and_not_what_it_excepts() -> None:
    """``not_on`` wins over ``on``; a single type may be given alone."""
    policy = Retry(on=OSError, not_on=Outage)
    assert policy.covers(ConnectionResetError())
    assert not policy.covers(Outage())
    assert not policy.covers(ValueError())


# The rows of the table.


@pytest.mark.parametrize("dlq", [MemoryDLQ, dict], ids=["a store", "in this process"])
def test_a_message_is_handled_until_it_succeeds(dlq: Any) -> None:
    """Each attempt has its number, and begins when the delay of the policy is over."""
    handle = failing(2)
    with processor_of(handle, dlq=dlq(), retry=EXACT).test_client() as client:
        assert client.send(b"a") is Outcome.DEFERRED
        assert [message.raw_data for message in client.deferred] == [b"a"]
        assert client.advance(0.99) == []
        assert client.advance(0.02) == [Outcome.DEFERRED]
        assert client.advance(1.98) == []
        assert client.advance(0.02) == [Outcome.ACKED]
    assert handle.made == {b"a": [1, 2, 3]}
    assert client.deferred == []
    assert client.dead_lettered == []


def test_spent_attempts_make_a_dead_letter_that_shows_each_of_them() -> None:
    """The deferred message becomes the dead letter, with the whole history."""
    dlq = MemoryDLQ()
    with processor_of(failing(9), dlq=dlq, retry=EXACT).test_client() as client:
        client.send(b"a")
        assert client.advance(100) == [Outcome.DEFERRED, Outcome.DEAD_LETTERED]
    (letter,) = dlq.letters(state=None)
    assert (letter.state, letter.attempt, letter.failures) == ("dead", 3, 3)
    assert [failure.error_type for failure in letter.history] == ["ValueError"] * 3
    assert (dlq.counts().dead, dlq.counts().deferred) == (1, 0)


def test_what_the_policy_does_not_name_is_dead_lettered_at_once() -> None:
    """A bad message is not tried again in vain."""
    dlq = MemoryDLQ()
    policy = Retry(on=Outage, attempts=5)
    client = processor_of(failing(9), dlq=dlq, retry=policy).test_client()
    assert client.send(b"a") is Outcome.DEAD_LETTERED


@pytest.mark.parametrize("hook", ["before_handling", "after_handling", "around_handling"])
def test_what_a_hook_raises_is_retried_too(hook: str) -> None:
    """A policy covers the handler and its hooks."""
    processor = processor_of(lambda message, ctx: ctx.ack(), dlq=MemoryDLQ(), retry=EXACT)

    def fail(processing_ctx: Any, ctx: Any) -> None:
        if ctx.attempt == 1:
            raise ValueError("once")

    def fail_around(processing_ctx: Any, ctx: Any) -> Any:
        fail(processing_ctx, ctx)
        yield

    getattr(processor, hook)(fail_around if hook == "around_handling" else fail)
    with processor.test_client() as client:
        assert client.send(b"a") is Outcome.DEFERRED
        assert client.advance(1.1) == [Outcome.ACKED]


def test_a_handler_that_decides_nothing_is_not_retried() -> None:
    """It raised nothing that a policy could name: it is a fault of the handler."""
    client = processor_of(lambda m, ctx: None, dlq=MemoryDLQ(), retry=EXACT).test_client()
    assert client.send(b"a") is Outcome.DEAD_LETTERED


def test_a_message_that_cannot_be_decoded_or_matched_is_not_retried() -> None:
    """No handler, no policy: not the processor's default either."""
    processor: Processor[Any] = Processor(retry=EXACT)
    processor.set_dlq(MemoryDLQ())
    processor.handle_for(lambda message: message.get_json() == 1)(lambda message, ctx: ctx.ack())
    with processor.test_client(missive.JSONMessage) as client:
        assert client.send(b"{") is Outcome.DEAD_LETTERED
        assert client.send(b"2") is Outcome.DEAD_LETTERED


def test_the_policy_of_the_processor_is_the_default_of_its_handlers() -> None:
    """A handler's own policy takes its place."""
    processor: Processor[Any] = Processor(retry=EXACT)
    processor.set_dlq(MemoryDLQ())
    processor.handle_for(lambda m: m.raw_data == b"own", retry=Retry(attempts=1))(failing(9))
    processor.handle_for(missive.otherwise)(failing(9))
    with processor.test_client() as client:
        assert client.send(b"own") is Outcome.DEAD_LETTERED
        assert client.send(b"default") is Outcome.DEFERRED


def test_a_nack_with_a_delay_is_redelivered_after_it() -> None:
    """By the store where there is one, and without end: a nack is no failure."""

    def handle(message: RawMessage, ctx: Any) -> None:
        if ctx.attempt < 4:
            ctx.nack(delay=10)
        else:
            ctx.ack()

    dlq = MemoryDLQ()
    with processor_of(handle, dlq=dlq).test_client() as client:
        assert client.send(b"a") is Outcome.DEFERRED
        assert [letter.reason for letter in dlq.letters(state="deferred")] == ["nacked"]
        assert client.advance(9.9) == []
        assert client.advance(20.2) == [Outcome.DEFERRED, Outcome.DEFERRED, Outcome.ACKED]


def test_a_nack_of_a_deferred_message_is_kept_with_its_reason() -> None:
    """The store keeps it for a moment, and its history tells the nack from the failure."""

    def handle(message: RawMessage, ctx: Any) -> None:
        if ctx.attempt == 1:
            raise ValueError("first")
        ctx.nack()

    dlq = MemoryDLQ()
    with processor_of(handle, dlq=dlq, retry=EXACT).test_client() as client:
        client.send(b"a")
        assert client.advance(1.1) == [Outcome.NACKED]
    (letter,) = dlq.letters(state="deferred")
    assert [failure.reason for failure in letter.history] == ["first", "nacked"]
    assert letter.attempt == 2


def test_a_nack_with_a_delay_that_nothing_can_keep_is_a_dead_letter() -> None:
    """Pub/Sub with a plain dict: nothing would ever deliver it again."""
    processor = processor_of(lambda message, ctx: ctx.nack(delay=1), dlq={})
    adapter = ShelfTransport(processor, [b"a"], capabilities=FORGETS)
    adapter.run()
    assert len(processor.dlq or ()) == 1


def test_messages_of_a_batch_are_retried_one_by_one() -> None:
    """Each has an attempt and an outcome of its own."""
    dlq = MemoryDLQ()
    processor: Processor[Any] = Processor()
    processor.set_dlq(dlq)
    seen: list[tuple[bytes, int]] = []

    @processor.handle_batch_for(missive.otherwise, size=2, wait=0.01, retry=EXACT)
    def handle(messages: Any, ctx: Any) -> None:
        for message in messages:
            attempt = ctx.context_of(message).attempt
            seen.append((message.raw_data, attempt))
            if message.raw_data == b"good" or attempt == 2:
                ctx.ack(message)
        if any(ctx.context_of(m).decision is None for m in messages):
            raise Outage("later")

    with processor.test_client() as client:
        assert client.send(b"good") is Outcome.ACKED
        assert client.send(b"bad") is Outcome.DEFERRED
        assert client.advance(1.1) == [Outcome.ACKED]
    assert seen == [(b"good", 1), (b"bad", 1), (b"bad", 2)]


def test_two_waiting_messages_are_handled_in_the_order_of_the_client_s_clock() -> None:
    """The later sent is due later, though its delay is shorter."""
    delays = {b"long": 100.0, b"short": 60.0}
    seen: list[bytes] = []

    def handle(message: RawMessage, ctx: Any) -> None:
        seen.append(message.raw_data)
        ctx.ack() if ctx.attempt > 1 else ctx.nack(delay=delays[message.raw_data])

    with processor_of(handle, dlq=MemoryDLQ()).test_client() as client:
        client.send(b"long")
        client.advance(50)
        client.send(b"short")
        assert client.advance(100) == [Outcome.ACKED, Outcome.ACKED]
    assert seen == [b"long", b"short", b"long", b"short"]


# The ways to wait, in their order.


def test_in_order_comes_before_every_other_way() -> None:
    """Not even the transport's own delay is asked."""
    processor = processor_of(
        failing(1), dlq=MemoryDLQ(), retry=Retry(attempts=2, delay=0.0, in_order=True)
    )
    adapter = ShelfTransport(processor, [b"a"], capabilities=DELAYS)
    adapter.run()
    assert (adapter.acked, adapter.nacked, adapter.counters.deferred) == ([b"a"], [], 0)


def test_a_transport_that_delays_comes_before_the_store() -> None:
    """It is nacked with the delay of the policy, and nothing is written."""
    dlq = MemoryDLQ()
    processor = processor_of(failing(9), dlq=dlq, retry=EXACT)
    adapter = ShelfTransport(processor, [b"a"], capabilities=DELAYS)
    adapter.run()
    assert adapter.nacked == [(b"a", 1.0)]
    assert dlq.counts().deferred == 0


def test_a_transport_that_delays_counts_the_attempts_itself() -> None:
    """Its delivery count is the attempt; the last one is dead-lettered."""
    client = processor_of(failing(9), dlq=MemoryDLQ(), retry=EXACT).test_client(capabilities=DELAYS)
    assert client.send(b"a", delivery_count=2) is Outcome.NACKED
    assert client.advance(2.1) == [Outcome.DEAD_LETTERED]


def test_the_store_comes_before_this_process() -> None:
    """Written with its due time, then acked."""
    dlq = MemoryDLQ()
    processor = processor_of(failing(9), dlq=dlq, retry=Retry(delay=60, max_delay=60))
    adapter = ShelfTransport(processor, [b"a"])
    adapter.run()
    assert adapter.acked == [b"a"]
    assert adapter.status().deferred == 1
    assert dlq.counts().deferred == 1


@pytest.mark.parametrize("workers", [1, 3])
def test_without_a_store_a_message_is_held_unsettled(workers: int) -> None:
    """It is told to the transport once, after its last attempt."""
    handle = failing(2)
    processor = processor_of(handle, dlq={}, retry=replace(EXACT, delay=0.01))
    adapter = ShelfTransport(processor, [b"a", b"b"], workers=workers)
    adapter.run()
    assert sorted(adapter.acked) == [b"a", b"b"]
    assert handle.made == {b"a": [1, 2, 3], b"b": [1, 2, 3]}


def test_a_held_message_is_left_to_the_transport_when_the_run_ends() -> None:
    """Neither acked nor lost."""
    processor = processor_of(failing(9), dlq={}, retry=Retry(delay=3600, max_delay=3600))
    adapter = ShelfTransport(processor, [b"a"], until=lambda: False)
    adapter.wait = lambda timeout, readable=None: adapter.stop() or True  # type: ignore[method-assign]
    given: list[Any] = []
    adapter.give_back = given.extend  # type: ignore[method-assign]
    adapter.run()
    assert adapter.acked == []
    assert [delivery.raw_data for delivery in given] == [b"a"]


def test_the_end_of_the_input_waits_for_held_messages_without_a_hot_loop() -> None:
    """Standard input may end long before a retry is due."""
    processor = processor_of(failing(1), dlq={}, retry=Retry(attempts=2, delay=0.3, in_order=True))
    adapter = ShelfTransport(processor, [b"a"], until=lambda: not adapter.waiting)
    waits: list[float] = []
    wait = adapter.wait

    def counted(timeout: float, readable: Any = None) -> bool:
        waits.append(timeout)
        return wait(timeout, readable)

    adapter.wait = counted  # type: ignore[method-assign]
    turns = 0
    inner = adapter.flush

    def flush() -> None:
        nonlocal turns
        turns += 1
        inner()

    adapter.flush = flush  # type: ignore[method-assign]
    adapter.run()
    assert adapter.acked == [b"a"]
    assert turns < 50, "a hot loop"


# What is refused when a run begins.


@pytest.mark.parametrize("dlq", [None, {}])
def test_a_policy_that_nothing_can_keep_is_refused_before_anything_is_received(dlq: Any) -> None:
    """The text names the handler and the remedy."""
    adapter = ShelfTransport(
        processor_of(failing(1), dlq=dlq, retry=EXACT), [b"a"], capabilities=FORGETS
    )
    with pytest.raises(ConfigurationError, match=r"handle.*set_dlq.*in_order"):
        adapter.run()
    assert adapter.receives == 0


@pytest.mark.parametrize(
    "options",
    [{"retry": Retry(attempts=1)}, {"retry": replace(EXACT, in_order=True)}, {}],
    ids=["one attempt", "in order", "no policy"],
)
def test_what_needs_no_keeping_is_not_refused(options: dict[str, Any]) -> None:
    """One attempt is no retry, and what waits in place needs no store."""
    handle = failing(0)
    ShelfTransport(processor_of(handle, dlq={}, **options), [b"a"], capabilities=FORGETS).run()
    assert handle.made == {b"a": [1]}


def test_a_delay_longer_than_the_transport_can_is_refused_with_its_limit() -> None:
    """Whatever the store could do: the transport delays by itself."""
    adapter = ShelfTransport(
        processor_of(failing(1), dlq=MemoryDLQ(), retry=Retry(delay=61.0)), capabilities=DELAYS
    )
    with pytest.raises(ConfigurationError, match=r"300 s.*ShelfTransport.*60 s at most"):
        adapter.run()


def test_a_nack_longer_than_the_transport_can_is_the_handler_s_error() -> None:
    """The limit is named in the letter."""
    dlq = MemoryDLQ()
    processor = processor_of(lambda message, ctx: ctx.nack(delay=61), dlq=dlq)
    ShelfTransport(processor, [b"a"], capabilities=DELAYS).run()
    (letter,) = dlq.letters()
    assert "60 s at most" in letter.reason


@pytest.mark.parametrize("retry", [5, "3", Retry])
def test_what_is_no_policy_is_refused_where_it_is_given(retry: Any) -> None:
    """At the handler and at the processor."""
    with pytest.raises(ConfigurationError, match="Retry"):
        Processor(retry=retry)
    with pytest.raises(ConfigurationError, match="Retry"):
        Processor[Any]().handle_for(missive.otherwise, retry=retry)


# Order.


@pytest.mark.parametrize("workers", [1, 4])
def test_in_order_keeps_the_order_within_a_key_while_others_go_on(workers: int) -> None:
    """Messages of a key wait behind the one that is retried; those of other keys do not."""
    done: list[bytes] = []
    failed: set[bytes] = set()

    def handle(message: RawMessage, ctx: Any) -> None:
        if message.raw_data == b"a1" and message.raw_data not in failed:
            failed.add(message.raw_data)
            raise Outage("once")
        done.append(message.raw_data)
        ctx.ack()

    adapter = ShelfTransport(
        processor_of(handle, dlq={}, retry=Retry(attempts=3, delay=0.2, in_order=True)),
        [b"a1", b"b1", b"a2", b"b2", b"a3", b"b3"],
        workers=workers,
        ordering_key=lambda message: message.raw_data[:1],
    )
    adapter.run()
    assert [body for body in done if body[:1] == b"a"] == [b"a1", b"a2", b"a3"]
    assert [body for body in done if body[:1] == b"b"] == [b"b1", b"b2", b"b3"]
    assert done[:3] == [b"b1", b"b2", b"b3"]


def test_without_a_key_the_source_waits_and_other_sources_go_on() -> None:
    """The first byte of a body is its source."""
    handle = failing(1)
    done: list[bytes] = []
    processor = processor_of(
        handle, dlq={}, retry=Retry(attempts=2, delay=0.05, jitter=0.0, in_order=True)
    )
    processor.on_settled(
        lambda run, ctx: done.append(ctx.message.raw_data) if not ctx.held else None
    )
    adapter = ShelfTransport(processor, [b"a1", b"a2", b"a3", b"b1"])
    adapter.run()
    assert [body for body in done if body[:1] == b"a"] == [b"a1", b"a2", b"a3"]
    assert handle.made[b"a2"] == [1, 2]


def test_a_lost_connection_does_not_block_a_lane_forever() -> None:
    """The settlement of an older connection is not sent; its key goes on with the redelivery."""
    began, go_on = threading.Event(), threading.Event()
    made: list[bytes] = []

    def handle(message: RawMessage, ctx: Any) -> None:
        made.append(message.raw_data)
        if len(made) == 1:
            began.set()
            assert go_on.wait(30)
        ctx.ack()

    adapter = ShelfTransport(
        processor_of(handle, dlq={}),
        [b"a1"],
        workers=2,
        ordering_key=lambda message: message.raw_data[:1],
    )
    receive = adapter.receive

    def breaking(timeout: float) -> Any:
        if began.is_set() and not go_on.is_set():
            go_on.set()
            raise ConnectionError("lost")
        return receive(timeout)

    adapter.receive = breaking  # type: ignore[method-assign]
    adapter.run()
    assert made == [b"a1", b"a1"]
    assert adapter.acked == [b"a1"]


@pytest.mark.parametrize("in_order", [False, True])
def test_what_fails_on_a_lost_connection_is_not_held_beside_its_redelivery(in_order: bool) -> None:
    """The transport redelivers it, so this process does not handle it a second time."""
    began, go_on = threading.Event(), threading.Event()
    made: list[int] = []

    def handle(message: RawMessage, ctx: Any) -> None:
        made.append(ctx.attempt)
        if len(made) == 1:
            began.set()
            assert go_on.wait(30)
            raise Outage("and the connection is lost meanwhile")
        ctx.ack()

    policy = Retry(attempts=3, delay=0.0, in_order=in_order)
    adapter = ShelfTransport(processor_of(handle, dlq={}, retry=policy), [b"a1"], workers=2)
    receive = adapter.receive

    def breaking(timeout: float) -> Any:
        if began.is_set() and not go_on.is_set():
            go_on.set()
            raise ConnectionError("lost")
        return receive(timeout)

    adapter.receive = breaking  # type: ignore[method-assign]
    adapter.run()
    assert made == [1, 1]
    assert adapter.acked == [b"a1"]


def test_capabilities_of_these_transports_are_what_the_tests_say() -> None:
    """One keeps, one forgets, one delays."""
    assert (KEEPS.crash_redelivery, FORGETS.crash_redelivery) == (True, False)
    assert DELAYS.delayed_nack
    assert not Capabilities().delayed_nack


def test_a_group_from_a_package_counts_by_its_members() -> None:
    """Python 3.10 has no groups of its own; what looks like one is retried like one."""

    class Group(Exception):
        def __init__(self, *exceptions: Exception) -> None:
            super().__init__("several")
            self.exceptions = exceptions

        def derive(self, exceptions: Any) -> Any:
            return Group(*exceptions)

    policy = missive.Retry(on=ConnectionError)
    assert policy.covers(Group(ConnectionError(), Group(ConnectionResetError())))
    assert not policy.covers(Group(ConnectionError(), ValueError()))
