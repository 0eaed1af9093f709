"""Batch handlers: several messages in one call, each with an outcome of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from typing import Any

import missive
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_transport import DEADLINE, MemoryTransport, running
from missive import Breaker, Capabilities, ConfigurationError, MemoryDLQ, Outcome, RawMessage, Retry
from missive.errors import DecisionTooLate
from missive.polling.batches import Batches

Processor = missive.Processor[Any]
COLOURS = ("inline", "threads", "async")


class Broken(Exception):
    """What handlers of these tests raise."""


class Ordered(MemoryTransport):
    """A transport that takes acks in the order of delivery alone."""

    capabilities = Capabilities(
        delivery="at-least-once", stable_id=True, crash_redelivery=True, ordered_acks=True
    )


def coloured(colour: str, function: Callable[..., None]) -> Callable[..., Any]:
    """Return the function, or its like in ``async def``."""
    if colour != "async":
        return function

    async def handler(messages: Any, ctx: Any) -> None:
        await asyncio.sleep(0)
        function(messages, ctx)

    return handler


def workers(colour: str) -> int:
    return 2 if colour == "threads" else 1


def numbered(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def batch_processor(
    handler: Callable[..., Any], matcher: Any = missive.otherwise, **options: Any
) -> Processor:
    processor: Processor = missive.Processor()
    processor.handle_batch_for(matcher, **options)(handler)
    return processor


@pytest.mark.parametrize("colour", COLOURS)
def test_messages_are_handled_in_batches_in_order(colour: str) -> None:
    """A batch handler gets up to ``size`` messages; what is left at the end comes as it is."""
    batches: list[list[bytes]] = []

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        batches.append([message.raw_data for message in messages])
        ctx.ack_rest()

    processor = batch_processor(coloured(colour, handler), size=4, wait=60)
    adapter = MemoryTransport(processor, numbered(10), batch_size=3, workers=workers(colour))
    adapter.run()
    assert sorted(map(len, batches)) == [2, 4, 4]
    assert sorted(body for batch in batches for body in batch) == numbered(10)
    assert sorted(adapter.acked) == numbered(10)
    if colour == "inline":
        assert [body for batch in batches for body in batch] == numbered(10)


@pytest.mark.parametrize("colour", COLOURS)
def test_each_message_is_decided_by_itself(colour: str) -> None:
    """``ack(m)`` and ``nack(m)`` decide one message; an undecided one fails alone."""

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        for message in messages:
            if message.raw_data == b"0":
                ctx.ack(message)
            elif message.raw_data == b"1":
                ctx.nack(message)
            elif message.raw_data == b"3":
                ctx.ack(message)

    processor = batch_processor(coloured(colour, handler), size=4)
    store = MemoryDLQ()
    processor.set_dlq(store)
    adapter = MemoryTransport(processor, numbered(4), workers=workers(colour))
    adapter.run()
    assert sorted(adapter.acked) == [b"0", b"2", b"3"]
    assert adapter.nacked == [b"1"]
    (letter,) = store.letters()
    assert letter.raw_data == b"2"
    assert letter.error_type == "missive.errors.NotSettled"


def test_nack_takes_a_delay() -> None:
    """``ctx.nack(m, delay=…)`` has that message alone handled again later."""

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        ctx.nack(messages[0], delay=5.0)
        ctx.ack_rest()

    processor = batch_processor(handler, size=2)
    store = MemoryDLQ()
    processor.set_dlq(store)
    MemoryTransport(processor, numbered(2)).run()
    (letter,) = store.letters(state="deferred")
    assert letter.raw_data == b"0"


@pytest.mark.parametrize("colour", COLOURS)
def test_an_exception_fails_those_that_are_undecided(colour: str) -> None:
    """What was decided before the exception stands; the others fail by it."""

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        ctx.ack(messages[0])
        raise Broken("why")

    processor = batch_processor(coloured(colour, handler), size=3)
    store = MemoryDLQ()
    processor.set_dlq(store)
    adapter = MemoryTransport(processor, numbered(3), workers=workers(colour))
    adapter.run()
    assert sorted(adapter.acked) == numbered(3)
    assert sorted(letter.raw_data for letter in store.letters()) == [b"1", b"2"]
    assert {letter.reason for letter in store.letters()} == {"why"}


@pytest.mark.parametrize("colour", COLOURS)
def test_split_on_error_handles_the_undecided_singly(colour: str) -> None:
    """With split_on_error only the message at fault fails; those decided are not handled again."""
    calls: list[list[bytes]] = []

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        calls.append([message.raw_data for message in messages])
        for message in messages:
            if message.raw_data == b"2":
                raise Broken
            ctx.ack(message)

    processor = batch_processor(coloured(colour, handler), size=5, split_on_error=True)
    store = MemoryDLQ()
    processor.set_dlq(store)
    adapter = MemoryTransport(processor, numbered(5), workers=workers(colour))
    adapter.run()
    assert sorted(adapter.acked) == numbered(5)
    assert [letter.raw_data for letter in store.letters()] == [b"2"]
    assert calls == [numbered(5), [b"2"], [b"3"], [b"4"]]


@pytest.mark.parametrize("colour", COLOURS)
def test_each_failed_message_is_retried_by_itself(colour: str) -> None:
    """The Retry of a batch handler is that of each of its messages."""
    seen: list[tuple[bytes, int]] = []

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        for message in messages:
            attempt = ctx.context_of(message).attempt
            seen.append((message.raw_data, attempt))
            if message.raw_data != b"1" or attempt == 3:
                ctx.ack(message)
        if any(context.decision is None for context in ctx.contexts):
            raise Broken

    retry = Retry(attempts=3, delay=0.0)
    processor = batch_processor(coloured(colour, handler), size=3, wait=0.0, retry=retry)
    adapter = MemoryTransport(processor, numbered(3), workers=workers(colour))
    adapter.run()
    assert sorted(adapter.acked) == numbered(3)
    assert [attempt for body, attempt in seen if body == b"1"] == [1, 2, 3]
    assert len(seen) == 5


def test_what_cannot_be_decoded_or_matched_never_spoils_a_batch() -> None:
    """A message that cannot be built or matched fails alone, and is in no batch."""
    batches: list[int] = []

    class Picky(RawMessage):
        def __init__(self, raw_data: bytes) -> None:
            super().__init__(raw_data)
            if raw_data == b"1":
                raise ValueError

    def matcher(message: RawMessage) -> bool:
        if message.raw_data == b"3":
            raise ValueError
        return message.raw_data != b"4"

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        batches.append(len(messages))
        ctx.ack_rest()

    processor = batch_processor(handler, matcher, size=3)
    store = MemoryDLQ()
    processor.set_dlq(store)
    adapter = MemoryTransport(processor, numbered(6), message_cls=Picky)
    adapter.run()
    assert batches == [3]
    stages = {letter.raw_data: letter.stage for letter in store.letters()}
    assert stages == {b"1": "decoding", b"3": "matching", b"4": "matching"}
    assert sorted(adapter.acked) == numbered(6)


def test_what_matches_no_handler_is_in_no_batch_of_its_key() -> None:
    """Where there is an ordering key, an unroutable message fails alone too."""
    batches: list[int] = []

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        batches.append(len(messages))
        ctx.ack_rest()

    processor = batch_processor(handler, lambda message: message.raw_data != b"1", size=9)
    store = MemoryDLQ()
    processor.set_dlq(store)
    adapter = MemoryTransport(processor, numbered(4), ordering_key=lambda message: b"one key")
    adapter.run()
    assert sum(batches) == 3
    assert [letter.raw_data for letter in store.letters()] == [b"1"]


def test_open_batches_are_given_back_in_order_when_a_run_fails() -> None:
    """What waits in a batch when a run ends with an error goes back as it was delivered."""
    processor: Processor = missive.Processor()

    @processor.handle_batch_for(lambda message: message.raw_data != b"3", size=9, wait=60)
    def together(messages: Sequence[RawMessage], ctx: Any) -> None:
        raise AssertionError

    @processor.handle_for(missive.otherwise)
    def alone(message: RawMessage, ctx: Any) -> None:
        raise Broken

    adapter = MemoryTransport(processor, numbered(6))
    with pytest.raises(Broken):
        adapter.run()
    assert adapter.given_back == [b"0", b"1", b"2", b"4", b"5"]


def test_batches_are_by_handler() -> None:
    """Messages of two batch handlers never share a batch; single ones pass beside them."""
    processor: Processor = missive.Processor()
    calls: list[tuple[str, list[bytes]]] = []

    @processor.handle_batch_for(lambda message: message.raw_data < b"3", size=3)
    def low(messages: Sequence[RawMessage], ctx: Any) -> None:
        calls.append(("low", [message.raw_data for message in messages]))
        ctx.ack_rest()

    @processor.handle_batch_for(lambda message: message.raw_data > b"5", size=3)
    def high(messages: Sequence[RawMessage], ctx: Any) -> None:
        calls.append(("high", [message.raw_data for message in messages]))
        ctx.ack_rest()

    @processor.handle_for(missive.otherwise)
    def single(message: RawMessage, ctx: Any) -> None:
        ctx.ack()

    bodies = [b"6", b"0", b"3", b"7", b"1", b"4", b"8", b"2"]
    adapter = MemoryTransport(processor, bodies)
    adapter.run()
    assert calls == [("high", [b"6", b"7", b"8"]), ("low", [b"0", b"1", b"2"])]
    assert len(adapter.acked) == 8


@pytest.mark.parametrize("colour", COLOURS)
def test_batches_are_by_ordering_key(colour: str) -> None:
    """Where there is an ordering key, a batch holds messages of one key, in order."""
    batches: list[list[bytes]] = []

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        batches.append([message.raw_data for message in messages])
        ctx.ack_rest()

    bodies = [b"%d:%02d" % (number % 3, number) for number in range(30)]
    processor = batch_processor(coloured(colour, handler), size=4, wait=60)
    adapter = MemoryTransport(
        processor, bodies, workers=workers(colour), ordering_key=lambda m: m.raw_data[:1]
    )
    adapter.run()
    assert len(adapter.acked) == 30
    assert max(map(len, batches)) == 4
    for key in (b"0", b"1", b"2"):
        of_key = [batch for batch in batches if batch[0][:1] == key]
        assert [body for batch in of_key for body in batch] == [b for b in bodies if b[:1] == key]


@pytest.mark.parametrize("colour", ["threads", "async"])
def test_a_busy_key_fills_its_next_batch_meanwhile(colour: str) -> None:
    """Messages that come while their key is being handled are handled together afterwards."""
    batches: list[list[bytes]] = []
    begun, release = threading.Event(), threading.Event()

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        batches.append([message.raw_data for message in messages])
        begun.set()
        assert release.wait(DEADLINE)
        ctx.ack_rest()

    processor = batch_processor(coloured(colour, handler), size=4, wait=0.0)
    adapter = MemoryTransport(
        processor,
        [b"0"],
        endless=True,
        workers=2,
        max_in_flight=20,
        ordering_key=lambda message: "key",
    )
    with running(adapter) as errors:
        assert begun.wait(DEADLINE)
        adapter.publish(*numbered(9)[1:])
        while adapter.waiting:
            threading.Event().wait(0.005)
        release.set()
        while len(adapter.acked) < 9:
            assert not errors
            threading.Event().wait(0.005)
    assert [body for batch in batches for body in batch] == numbered(9)
    assert [len(batch) for batch in batches][:2] == [1, 4]


@pytest.mark.parametrize("colour", COLOURS)
def test_single_and_batched_messages_of_a_key_keep_their_order(colour: str) -> None:
    """A message for a single handler waits for the batch of its key that is before it."""
    processor: Processor = missive.Processor()
    order: list[bytes] = []

    def batch(messages: Sequence[RawMessage], ctx: Any) -> None:
        order.extend(message.raw_data for message in messages)
        ctx.ack_rest()

    def single(message: RawMessage, ctx: Any) -> None:
        order.append(message.raw_data)
        ctx.ack()

    processor.handle_batch_for(lambda m: m.raw_data[-1:] != b"5", size=4, wait=60)(
        coloured(colour, batch)
    )
    processor.handle_for(missive.otherwise)(coloured(colour, single))
    bodies = [b"%02d" % number for number in range(40)]
    adapter = MemoryTransport(
        processor, bodies, workers=workers(colour), ordering_key=lambda message: "key"
    )
    adapter.run()
    assert order == bodies


@pytest.mark.parametrize("colour", COLOURS)
def test_a_retry_in_place_within_a_batch_keeps_the_order_of_its_key(colour: str) -> None:
    """Later messages of the key wait while one of a batch is retried in order."""
    settled: list[bytes] = []

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        for message in messages:
            if message.raw_data == b"1" and ctx.context_of(message).attempt < 3:
                continue
            ctx.ack(message)
        if any(context.decision is None for context in ctx.contexts):
            raise Broken

    retry = Retry(attempts=3, delay=0.0, in_order=True)
    processor = batch_processor(coloured(colour, handler), size=2, wait=0.0, retry=retry)

    @processor.on_settled
    def note(processing_ctx: Any, ctx: Any) -> None:
        if ctx.outcome is Outcome.ACKED:
            settled.append(ctx.message.raw_data)

    adapter = MemoryTransport(
        processor, numbered(8), workers=workers(colour), ordering_key=lambda message: "key"
    )
    adapter.run()
    assert len(settled) == 8
    after = settled.index(b"1")
    assert set(settled[:after]) <= {b"0"}


@pytest.mark.parametrize("colour", COLOURS)
def test_ordered_acks_leave_what_follows_a_failure_unsettled(colour: str) -> None:
    """Where acks are sent in order, nothing behind an unsettled message of a batch is acked."""

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        for message in messages:
            if message.raw_data != b"2":
                ctx.ack(message)

    processor = batch_processor(coloured(colour, handler), size=5)
    adapter = Ordered(processor, numbered(5), workers=workers(colour))
    with pytest.raises(missive.errors.NotSettled):
        adapter.run()
    assert adapter.acked == numbered(2)


@pytest.mark.parametrize("colour", COLOURS)
def test_ordered_acks_are_sent_in_order_across_batches(colour: str) -> None:
    """Acks of several batches are sent in the order of delivery."""

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        ctx.ack_rest()

    processor: Processor = missive.Processor()
    for rest in range(2):
        processor.handle_batch_for(
            lambda m, rest=rest: int(m.raw_data) % 2 == rest, size=3 + rest, wait=60
        )(coloured(colour, handler))
    adapter = Ordered(processor, numbered(20), workers=workers(colour))
    adapter.run()
    assert adapter.acked == numbered(20)


def test_wait_counts_from_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is due ``wait`` seconds after its first message, whatever comes meanwhile."""
    now = 100.0
    monkeypatch.setattr("missive.polling.batches.monotonic", lambda: now)
    processor = batch_processor(lambda messages, ctx: None, size=10, wait=5.0)
    batches: Batches[Any] = Batches()
    for _ in range(3):
        context: Any = missive.HandlingContext(RawMessage(b""), None)
        context.handler = processor.handlers[0]
        assert batches.add(context, None) is None
        now += 2.0
    assert batches.seconds_to_next() == 0.0
    assert [len(job) for job in batches.due()] == [3]
    assert batches.seconds_to_next() is None


@pytest.mark.parametrize("colour", COLOURS)
def test_a_batch_that_is_not_full_is_handled_after_its_wait(colour: str) -> None:
    """On a transport that stays quiet, the wait of the first message ends the batch."""
    handled = threading.Event()

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        ctx.ack_rest()
        handled.set()

    processor = batch_processor(coloured(colour, handler), size=10, wait=0.01)
    adapter = MemoryTransport(processor, numbered(3), endless=True, workers=workers(colour))
    with running(adapter):
        assert handled.wait(DEADLINE)
    assert sorted(adapter.acked) == numbered(3)


@pytest.mark.parametrize("colour", COLOURS)
def test_open_batches_are_handled_on_stop(colour: str) -> None:
    """What waits in a batch when stop is called is handled and settled before run returns."""

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        ctx.ack_rest()

    processor = batch_processor(coloured(colour, handler), size=100, wait=3600)
    adapter = MemoryTransport(processor, numbered(3), endless=True, workers=workers(colour))
    with running(adapter) as errors:
        while adapter.waiting or not adapter.status().received:
            threading.Event().wait(0.005)
        while len(adapter.unsettled()) < 3:
            threading.Event().wait(0.005)
    assert not errors
    assert sorted(adapter.acked) == numbered(3)
    assert not adapter.given_back


@pytest.mark.parametrize("colour", COLOURS)
def test_hooks_run_around_each_message_of_a_batch(colour: str) -> None:
    """Handling and delivery hooks see each message, entered in order and unwound in reverse."""
    events: list[str] = []

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        events.append("handler")
        ctx.ack_rest()

    processor = batch_processor(coloured(colour, handler), size=2)

    @processor.around_delivery
    def delivery(processing_ctx: Any, ctx: Any) -> Iterator[None]:
        yield
        events.append(f"{ctx.outcome.value} {ctx.message.raw_data.decode()}")

    @processor.around_handling
    async def async_handling(processing_ctx: Any, ctx: Any) -> AsyncIterator[None]:
        events.append("enter " + ctx.message.raw_data.decode())
        yield
        events.append("exit " + ctx.message.raw_data.decode())

    MemoryTransport(processor, numbered(2), workers=workers(colour)).run()
    assert events == ["enter 0", "enter 1", "handler", "exit 1", "exit 0", "acked 0", "acked 1"]


def test_a_hook_that_raises_keeps_only_its_message_out_of_the_batch() -> None:
    """The other messages of the batch are handled."""
    batches: list[list[bytes]] = []

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        batches.append([message.raw_data for message in messages])
        ctx.ack_rest()

    processor = batch_processor(handler, size=3)
    processor.set_dlq({})

    @processor.before_handling
    def before(processing_ctx: Any, ctx: Any) -> None:
        if ctx.message.raw_data == b"1":
            raise Broken

    adapter = MemoryTransport(processor, numbered(3))
    adapter.run()
    assert batches == [[b"0", b"2"]]
    assert sorted(adapter.acked) == numbered(3)


@pytest.mark.parametrize("colour", COLOURS)
def test_what_is_no_exception_unwinds_every_hook_of_the_batch(colour: str) -> None:
    """SystemExit in a batch handler ends the run after the hooks of all its messages ran."""
    unwound: list[bytes] = []

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        ctx.ack_rest()
        raise SystemExit

    processor = batch_processor(coloured(colour, handler), size=3)

    @processor.after_handling
    def after(processing_ctx: Any, ctx: Any) -> None:
        unwound.append(ctx.message.raw_data)

    adapter = MemoryTransport(processor, numbered(3), workers=workers(colour))
    with pytest.raises(SystemExit):
        adapter.run()
    assert unwound == numbered(3)[::-1]
    assert not adapter.acked


def test_a_cancelled_error_fails_the_messages_of_its_batch() -> None:
    """CancelledError of a batch handler's own is a failure of those that it left undecided."""

    async def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        ctx.ack(messages[0])
        raise asyncio.CancelledError

    processor = batch_processor(handler, size=3)
    store = MemoryDLQ()
    processor.set_dlq(store)
    adapter = MemoryTransport(processor, numbered(3))
    adapter.run()
    assert sorted(adapter.acked) == numbered(3)
    assert sorted(letter.raw_data for letter in store.letters()) == [b"1", b"2"]


def test_a_decision_after_the_handler_has_returned_is_refused() -> None:
    """A batch context that was kept decides nothing any more, nor about other messages."""
    kept: list[Any] = []

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        kept.append((messages[0], ctx))
        ctx.ack_rest()
        with pytest.raises(DecisionTooLate):
            ctx.ack(RawMessage(b"another"))

    MemoryTransport(batch_processor(handler, size=1), [b"1"]).run()
    ((message, ctx),) = kept
    with pytest.raises(DecisionTooLate):
        ctx.ack(message)
    ctx.contexts[0]._decision = None
    with pytest.raises(DecisionTooLate):
        ctx.ack_rest()
    assert repr(ctx) == "<BatchContext of 1 messages>"


def test_a_breaker_sees_each_message_of_a_batch() -> None:
    """An outage that a whole batch meets opens the breaker, and none of it is a failed attempt."""
    attempts: list[int] = []

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        attempts.extend(ctx.context_of(message).attempt for message in messages)
        if len(attempts) == 3:
            raise ConnectionError
        ctx.ack_rest()

    breaker = missive.Breaker(on=(ConnectionError,), failures=3, pause=0.01)
    processor = batch_processor(handler, size=3, wait=0.0, breaker=breaker)
    adapter = MemoryTransport(processor, numbered(3))
    adapter.run()
    assert sorted(adapter.acked) == numbered(3)
    assert set(attempts) == {1}


def test_the_test_client_sends_a_batch_of_one() -> None:
    """A batch handler under the test client gets each message as a batch of its own."""
    sizes: list[int] = []

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        sizes.append(len(messages))
        ctx.ack_rest()

    client = batch_processor(handler).test_client()
    assert client.send(b"1") is Outcome.ACKED
    assert sizes == [1]


# Where batches are refused.


class Webhook(missive.Adapter[Any]):
    """A transport whose sender waits for the answer."""

    capabilities = Capabilities(delivery="request-reply", nack="error-response")

    def ack(self, message: missive.Message) -> None:
        """Nothing to do."""

    def nack(self, message: missive.Message) -> None:
        """Nothing to do."""


def test_a_batch_handler_is_refused_where_a_sender_waits_for_the_answer() -> None:
    """The adapter of a webhook refuses the processor when it is built, or when the run begins."""
    processor = batch_processor(lambda messages, ctx: None)
    with pytest.raises(ConfigurationError, match="handle_batch_for"):
        Webhook(processor)
    late: Processor = missive.Processor()
    adapter = Webhook(late)
    late.handle_batch_for(missive.otherwise)(lambda messages, ctx: None)
    with pytest.raises(ConfigurationError, match="handle_batch_for"):
        late.context(RawMessage, adapter).__enter__()


@pytest.mark.parametrize("options", [{"size": 0}, {"size": True}, {"wait": -1.0}])
def test_a_batch_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    """``size`` is a whole number from 1, ``wait`` a number of seconds."""
    with pytest.raises(ConfigurationError):
        batch_processor(lambda messages, ctx: None, **options)


# Equivalence.

ACTIONS = ("ack", "nack", "nothing", "fail")


@given(
    actions=st.lists(st.sampled_from(ACTIONS), max_size=25),
    size=st.sampled_from((1, 2, 7, 100)),
    colour=st.sampled_from(COLOURS),
    keyed=st.booleans(),
    stored=st.booleans(),
)
def test_a_batch_settles_exactly_as_its_messages_singly(
    actions: list[str], size: int, colour: str, keyed: bool, stored: bool
) -> None:
    """For random outcomes, batches of any size end as single messages do."""
    bodies = [b"%d %s" % (number, action.encode()) for number, action in enumerate(actions)]

    def single(message: RawMessage, ctx: Any) -> None:
        action = message.raw_data.split()[1]
        if action == b"fail":
            raise Broken
        if action == b"ack":
            ctx.ack()
        if action == b"nack":
            ctx.nack()

    def batch(messages: Sequence[RawMessage], ctx: Any) -> None:
        for message in messages:
            single(message, ctx.context_of(message))

    results = []
    for kind in ("single", "batch"):
        processor: Processor = missive.Processor()
        if kind == "single":
            processor.handle_for(missive.otherwise)(single)
        else:
            processor.handle_batch_for(missive.otherwise, size=size, wait=0.0, split_on_error=True)(
                coloured(colour, batch)
            )
        store = MemoryDLQ()
        processor.set_dlq(store)
        adapter = MemoryTransport(
            processor,
            bodies,
            workers=workers(colour) if kind == "batch" else 1,
            ordering_key=(lambda m: len(m.raw_data)) if keyed else None,
        )
        adapter.run()
        letters = sorted((letter.raw_data, letter.error_type) for letter in store.letters())
        results.append((sorted(adapter.acked), sorted(adapter.nacked), letters))
    assert results[0] == results[1]


# Through a breaker.


def outcomes_of_batch(
    processor: Processor, ctx: missive.ProcessingContext[Any], *bodies: bytes
) -> list[Outcome | None]:
    """Handle messages in one batch, and return what was done with each."""
    contexts = [ctx.begin(body, missive.Delivery(body, body)) for body in bodies]
    for context in contexts:
        context.handler = processor.handlers[0]
    ctx.run_job(contexts)
    return ctx.settle(contexts)


def test_a_breaker_counts_the_failures_of_a_batch_by_message() -> None:
    """At its limit all of the batch have met the outage, then nothing is called."""
    calls: list[int] = []

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        calls.append(len(messages))
        for message in messages:
            if message.raw_data == b"ok":
                ctx.ack(message)
        if any(message.raw_data != b"ok" for message in messages):
            raise ConnectionError

    breaker = Breaker(on=(ConnectionError,), failures=4, pause=DEADLINE)
    processor = batch_processor(handler, breaker=breaker, size=4)
    processor.set_dlq(MemoryDLQ())
    handle = partial(outcomes_of_batch, processor)
    with processor.context(RawMessage, processor.test_client()) as ctx:
        assert handle(ctx, b"ok", b"ok") == [Outcome.ACKED, Outcome.ACKED]
        assert handle(ctx, b"1", b"ok") == [Outcome.DEFERRED, Outcome.ACKED]
        assert handle(ctx, b"2", b"3", b"4") == [Outcome.DEFERRED] * 3
        assert handle(ctx, b"5", b"6") == [Outcome.DEFERRED] * 2
    assert calls == [2, 2, 3]


@pytest.mark.parametrize("fails", ["all", "some"])
def test_messages_that_a_delivery_hook_refuses_are_not_in_the_batch(fails: str) -> None:
    """The handler gets the others, and is not called where there are none."""
    called: list[list[bytes]] = []

    def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        called.append([message.raw_data for message in messages])
        ctx.ack_rest()

    processor = batch_processor(handler, size=2)

    @processor.around_delivery
    def refuse(processing_ctx: Any, ctx: Any) -> Iterator[None]:
        if fails == "all" or ctx.message.raw_data == b"0":
            raise Broken
        yield

    processor.set_dlq(MemoryDLQ())
    with processor.context(RawMessage, processor.test_client()) as ctx:
        outcomes = outcomes_of_batch(processor, ctx, b"0", b"1")
    second = Outcome.DEAD_LETTERED if fails == "all" else Outcome.ACKED
    assert outcomes == [Outcome.DEAD_LETTERED, second]
    assert called == ([] if fails == "all" else [[b"1"]])


@pytest.mark.parametrize("raised", [Broken, KeyboardInterrupt])
def test_a_handling_hook_that_raises_for_each_message_keeps_the_handler_from_being_called(
    raised: type[BaseException],
) -> None:
    """An interrupt moreover keeps the hooks of later messages from being entered."""
    log: list[str] = []
    processor = batch_processor(lambda messages, ctx: log.append("handler"), size=2)

    @processor.before_handling
    def refuse(processing_ctx: Any, ctx: Any) -> None:
        log.append(f"before {ctx.message.raw_data.decode()}")
        raise raised

    @processor.after_handling
    def after(processing_ctx: Any, ctx: Any) -> None:
        log.append(f"after {ctx.message.raw_data.decode()}")

    processor.set_dlq(MemoryDLQ())
    with processor.context(RawMessage, processor.test_client()) as ctx:
        if raised is Broken:
            assert outcomes_of_batch(processor, ctx, b"0", b"1") == [Outcome.DEAD_LETTERED] * 2
            assert log == ["before 0", "before 1", "after 1", "after 0"]
        else:
            with pytest.raises(KeyboardInterrupt):
                outcomes_of_batch(processor, ctx, b"0", b"1")
            assert log == ["before 0", "after 0"]
