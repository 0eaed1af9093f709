"""Settling in the receive loop: what finishes together, and what a lost connection leaves."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import missive
import pytest
from memory_transport import MemoryTransport, running
from missive import Capabilities, Delivery
from missive.polling import EndOfInput, PollingAdapter

DEADLINE = 10.0


class Queue(PollingAdapter[missive.RawMessage]):
    """A transport in memory that delivers what was not settled again after a reconnection."""

    capabilities = Capabilities(
        delivery="at-least-once", nack="redeliver", crash_redelivery=True, stable_id=True
    )
    connection_errors = (ConnectionError,)

    def __init__(self, processor: Any, *bodies: bytes, **options: Any) -> None:
        super().__init__(missive.RawMessage, processor, **options)
        self.kept = dict.fromkeys(bodies)
        self.waiting: deque[bytes] = deque()
        self.acked: list[bytes] = []

    def open(self) -> None:
        self.waiting = deque(self.kept)

    def close(self) -> None: ...

    def receive(self, timeout: float) -> Sequence[Delivery]:
        batch = [self.deliver(body) for body in self.waiting]
        self.waiting.clear()
        if not batch:
            if not self.kept:
                raise EndOfInput
            self.wait(timeout)
        return batch

    def deliver(self, body: bytes) -> Delivery:
        return Delivery(body, message_id=body, source="queue")

    def ack(self, message: missive.RawMessage) -> None:
        self.acked.append(message.raw_data)
        del self.kept[message.raw_data]

    def nack(self, message: missive.RawMessage) -> None:
        self.waiting.append(message.raw_data)


def test_a_failure_does_not_lose_what_was_collected_with_it() -> None:
    """A message that finishes together with one that ends the run is settled."""
    both_in, receiving, failed, acked = (threading.Event() for _ in range(4))
    started: list[bytes] = []

    class Waits(Queue):
        """Receives nothing more until both handlers have returned."""

        def receive(self, timeout: float) -> Sequence[Delivery]:
            batch = super().receive(0.0)
            if not batch:
                receiving.set()
                assert acked.wait(DEADLINE)
            return batch

        def wake(self) -> None:  # called when a handler was handed back
            (acked if failed.is_set() else failed).set()
            super().wake()

    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_for(missive.otherwise)
    def handle(message: missive.RawMessage, ctx: missive.HandlingContext[Any]) -> None:
        started.append(message.raw_data)
        if len(started) == 2:
            both_in.set()
        assert receiving.wait(DEADLINE)
        assert both_in.wait(DEADLINE)
        if message.raw_data == b"bad":
            raise LookupError("bad")
        assert failed.wait(DEADLINE)
        ctx.ack()

    adapter = Waits(processor, b"bad", b"good", workers=2, max_in_flight=4)
    with pytest.raises(LookupError):
        adapter.run()
    assert adapter.acked == [b"good"]


def run_to_the_end(adapter: Queue) -> None:
    """Run an adapter until nothing is left on its transport; fail where that does not come."""
    thread = threading.Thread(target=adapter.run, daemon=True)
    thread.start()
    thread.join(DEADLINE)
    hangs = thread.is_alive()
    adapter.stop()
    thread.join(DEADLINE)
    assert not hangs, f"{len(adapter.kept)} messages were never acked"


class Ordered(Queue):
    """The same, which takes acks only in the order of delivery."""

    capabilities = replace(Queue.capabilities, ordered_acks=True)


class Cut:
    """A handler that has the connection cut while it handles the first delivery of a message."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.seen: list[bytes] = []
        self.adapter: Any = None
        self.cut = threading.Event()
        self.reopened = threading.Event()

    def __call__(self, message: missive.RawMessage, ctx: missive.HandlingContext[Any]) -> None:
        first = message.raw_data not in self.seen
        self.seen.append(message.raw_data)
        if message.raw_data == self.body and first:
            self.cut.set()
            self.adapter.wake()
            assert self.reopened.wait(DEADLINE)
        ctx.ack()


def cut_while_handled(kind: type[Queue], *bodies: bytes, **options: Any) -> Cut:
    """Run until all is acked, the connection being lost while the first message is handled."""
    handler = Cut(bodies[0])
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(missive.otherwise)(lambda message, ctx: handler(message, ctx))

    class Breaks(kind):  # type: ignore[misc,valid-type]
        def open(self) -> None:
            super().open()
            if handler.cut.is_set():
                handler.reopened.set()

        def receive(self, timeout: float) -> Sequence[Delivery]:
            if handler.cut.is_set() and not handler.reopened.is_set():
                raise ConnectionError
            return super().receive(timeout)

    handler.adapter = Breaks(processor, *bodies, **options)
    run_to_the_end(handler.adapter)
    return handler


def test_a_lane_is_free_when_its_message_outlived_the_connection() -> None:
    """What is handled while its connection is lost does not block its ordering key for ever."""
    handler = cut_while_handled(
        Queue, b"1", b"2", workers=2, max_in_flight=4, ordering_key=lambda message: "one key"
    )
    assert handler.adapter.acked == [b"1", b"2"]


def test_order_is_kept_over_a_reconnection() -> None:
    """Where acks keep the order, those of the new connection do not wait for the old one's."""
    handler = cut_while_handled(Ordered, b"1", b"2", b"3", workers=2, max_in_flight=6)
    assert handler.adapter.acked == [b"1", b"2", b"3"]


@pytest.mark.parametrize("in_order", [False, True])
def test_a_dropped_retry_holds_up_no_acks(in_order: bool) -> None:
    """A message that was held for a retry when the connection was lost holds up no later ack."""
    seen: list[bytes] = []
    retry = missive.Retry(delay=300.0, jitter=0.0, in_order=in_order)
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_for(missive.otherwise, retry=retry)
    def handle(message: missive.RawMessage, ctx: missive.HandlingContext[Any]) -> None:
        seen.append(message.raw_data)
        if len(seen) == 1:
            raise LookupError
        ctx.ack()

    class Breaks(Ordered):
        cut = False

        def receive(self, timeout: float) -> Sequence[Delivery]:
            if self.status().held and not self.cut:
                self.cut = True
                raise ConnectionError
            return super().receive(min(timeout, 0.01))

    adapter = Breaks(processor, b"1", b"2", workers=2, max_in_flight=4)
    run_to_the_end(adapter)
    assert adapter.acked == [b"1", b"2"]


class Bare(Queue):
    """The same transport, which delivers bytes without envelopes."""

    def deliver(self, body: bytes) -> Any:
        return body


def test_bare_bytes_of_a_new_connection_are_settled() -> None:
    """Deliveries without an envelope are settled after a reconnection, and those before it not."""
    seen: list[bytes] = []
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_for(missive.otherwise, retry=missive.Retry(delay=0.0, attempts=2))
    def handle(message: missive.RawMessage, ctx: missive.HandlingContext[Any]) -> None:
        seen.append(message.raw_data)
        if seen.count(b"2") == 1 and message.raw_data == b"2":
            raise LookupError  # held, and handled again
        ctx.ack()

    class Breaks(Bare):
        broken = False

        def ack(self, message: missive.RawMessage) -> None:
            if not self.broken:
                self.broken = True
                raise ConnectionError
            super().ack(message)

    adapter = Breaks(processor, b"1", b"2", b"3")
    run_to_the_end(adapter)
    assert sorted(adapter.acked) == [b"1", b"2", b"3"]
    assert seen == [b"1", b"1", b"2", b"3", b"2"]


def test_a_retry_of_a_lost_connection_is_not_held() -> None:
    """A message whose connection was lost while it was handled is not retried beside its
    redelivery.
    """
    seen: list[bytes] = []
    reopened, failing = threading.Event(), threading.Event()
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_for(missive.otherwise, retry=missive.Retry(delay=0.0, jitter=0.0))
    def handle(message: missive.RawMessage, ctx: missive.HandlingContext[Any]) -> None:
        seen.append(message.raw_data)
        if len(seen) == 1:
            failing.set()
            adapter.wake()
            assert reopened.wait(DEADLINE)
            raise LookupError
        ctx.ack()

    class Breaks(Queue):
        def open(self) -> None:
            super().open()
            if failing.is_set():
                self.waiting.clear()
                reopened.set()

        def receive(self, timeout: float) -> Sequence[Delivery]:
            if failing.is_set() and not reopened.is_set():
                raise ConnectionError
            if reopened.is_set() and len(seen) == 1 and not self.status().in_flight:
                self.waiting = deque(self.kept)
            return super().receive(min(timeout, 0.01))

    adapter = Breaks(processor, b"1", workers=2, max_in_flight=4)
    run_to_the_end(adapter)
    assert seen == [b"1", b"1"]


def test_a_deferred_message_is_settled_after_a_reconnection() -> None:
    """A message of the store is settled there, whatever became of the transport's connection."""
    store = missive.MemoryDLQ()
    seen: list[bytes] = []
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.set_dlq(store)

    @processor.handle_for(missive.otherwise, retry=missive.Retry(delay=0.0, jitter=0.0))
    def handle(message: missive.RawMessage, ctx: missive.HandlingContext[Any]) -> None:
        seen.append(message.raw_data)
        if seen.count(message.raw_data) == 1:
            raise LookupError
        ctx.ack()

    class Breaks(Queue):
        broken = False

        def receive(self, timeout: float) -> Sequence[Delivery]:
            if not self.broken:
                self.broken = True
                raise ConnectionError
            if not self.kept and store.counts().deferred:
                self.wait(min(timeout, 0.01))
                return []
            return super().receive(timeout)

    run_to_the_end(Breaks(processor, b"1"))
    assert seen == [b"1", b"1"]
    assert store.counts().deferred == 0


def test_what_nobody_delivers_again_is_acked_after_a_reconnection() -> None:
    """Where messages are delivered at most once, those of a lost connection are handled and
    acked.
    """
    outcomes: list[missive.Outcome | None] = []
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(missive.otherwise)(lambda message, ctx: ctx.ack())
    processor.on_settled(lambda processing_ctx, ctx: outcomes.append(ctx.outcome))

    class Fleeting(Queue):
        capabilities = Capabilities(nack="drop-refused", reconnects=True)

        def open(self) -> None:
            if not self.acked:
                super().open()

        def ack(self, message: missive.RawMessage) -> None:
            super().ack(message)
            if message.raw_data == b"1":
                raise ConnectionError

    adapter = Fleeting(processor, b"1", b"2")
    run_to_the_end(adapter)
    assert outcomes == [None, missive.Outcome.ACKED]
    assert adapter.status().acked == 1


def test_messages_behind_a_slow_one_are_bounded() -> None:
    """Where acks keep the order, no more is received once very many wait for one to be acked."""
    gate = threading.Event()
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_for(missive.otherwise)
    def handle(message: missive.RawMessage, ctx: missive.HandlingContext[Any]) -> None:
        if message.raw_data == b"0":
            assert gate.wait(3 * DEADLINE)
        ctx.ack()

    class Endless(Ordered):
        keepalive_interval = 0.001
        received = idle = 0

        def receive(self, timeout: float) -> Sequence[Delivery]:
            if gate.is_set():
                raise EndOfInput
            self.idle = 0
            self.received += 1
            if self.received > 5000:
                gate.set()
            body = b"%d" % (self.received - 1)
            self.kept[body] = None
            return [self.deliver(body)]

        def keepalive(self) -> None:
            self.idle += 1
            if self.idle > 50:  # turns of the loop without another message
                gate.set()

    adapter = Endless(processor, workers=2, max_in_flight=4)
    run_to_the_end(adapter)
    assert adapter.received <= 1100


def test_a_pause_ends_the_wait_for_messages() -> None:
    """A pause takes nothing that is published after it: the receive that was under way ends."""
    waiting, waited = threading.Event(), threading.Event()
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    class Waits(Queue):
        poll_timeout = 3 * DEADLINE

        def receive(self, timeout: float) -> Sequence[Delivery]:
            waiting.set()
            self.wait(timeout)
            waited.set()
            return []

    adapter = Waits(processor)
    thread = threading.Thread(target=adapter.run, daemon=True)
    thread.start()
    assert waiting.wait(DEADLINE)
    adapter.pause()
    ended = waited.wait(DEADLINE)
    adapter.stop()
    thread.join(DEADLINE)
    assert ended


@pytest.mark.parametrize("is_async", [False, True])
def test_what_is_forgotten_leaves_its_delivery_hooks(is_async: bool) -> None:
    """A message that was handled, and is forgotten with its connection, is left by its hooks."""
    entered: list[bytes] = []
    left: list[bytes] = []
    reopened, second = threading.Event(), threading.Event()
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.around_delivery
    def around(processing_ctx: Any, ctx: missive.HandlingContext[Any]) -> Any:
        entered.append(ctx.message.raw_data)
        yield
        left.append(ctx.message.raw_data)

    def handle(message: missive.RawMessage, ctx: missive.HandlingContext[Any]) -> None:
        if message.raw_data == b"1" and not reopened.is_set():
            assert reopened.wait(DEADLINE)
        elif not reopened.is_set():
            second.set()
        ctx.ack()

    async def ahandle(message: missive.RawMessage, ctx: missive.HandlingContext[Any]) -> None:
        await asyncio.to_thread(handle, message, ctx)

    processor.handle_for(missive.otherwise)(ahandle if is_async else handle)

    class Breaks(Ordered):
        def open(self) -> None:
            super().open()
            if second.is_set():
                reopened.set()

        def receive(self, timeout: float) -> Sequence[Delivery]:
            handled = self._loop is not None and self._loop._settling.unsettled()
            if second.is_set() and handled and not reopened.is_set():
                raise ConnectionError
            return super().receive(min(timeout, 0.01))

    adapter = Breaks(processor, b"1", b"2", workers=2, max_in_flight=4)
    run_to_the_end(adapter)
    assert adapter.acked == [b"1", b"2"]
    assert sorted(left) == sorted(entered) == [b"1", b"1", b"2", b"2"]


def test_a_deferred_message_holds_up_no_ack_of_the_transport() -> None:
    """Where acks keep the order, a message of the store is settled beside it."""
    store = missive.MemoryDLQ()
    seen: list[bytes] = []
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.set_dlq(store)

    @processor.handle_for(missive.otherwise, retry=missive.Retry(delay=0.0, jitter=0.0))
    def handle(message: missive.RawMessage, ctx: missive.HandlingContext[Any]) -> None:
        seen.append(message.raw_data)
        if seen == [b"1"]:
            raise LookupError
        ctx.ack()

    class Beside(Ordered):
        def receive(self, timeout: float) -> Sequence[Delivery]:
            if not self.kept and store.counts().deferred:
                self.wait(min(timeout, 0.01))
                return []
            return super().receive(timeout)

    adapter = Beside(processor, b"1", b"2", b"3")
    run_to_the_end(adapter)
    assert adapter.acked == [b"1", b"2", b"3"]
    assert sorted(seen) == [b"1", b"1", b"2", b"3"]
    assert store.counts().deferred == 0


def test_bare_bytes_that_wait_in_a_batch_are_dropped_with_their_connection() -> None:
    """Messages without an envelope that wait for others are handled once: as redelivered."""
    batches: list[list[bytes]] = []
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_batch_for(missive.otherwise, size=10, wait=3600.0)
    def handle(messages: Sequence[missive.RawMessage], ctx: Any) -> None:
        batches.append([message.raw_data for message in messages])
        ctx.ack_rest()

    class Breaks(Bare):
        opened = 0

        def open(self) -> None:
            super().open()
            self.opened += 1

        def receive(self, timeout: float) -> Sequence[Delivery]:
            if self.waiting:
                return super().receive(timeout)
            if self.opened == 1:
                raise ConnectionError
            raise EndOfInput

    adapter = Breaks(processor, b"1", b"2")
    run_to_the_end(adapter)
    assert batches == [[b"1", b"2"]]
    assert adapter.acked == [b"1", b"2"]


def test_a_transport_without_redelivery_keeps_what_it_received_of_a_lost_connection() -> None:
    """What is handled across the reconnection is not acked on the new connection; later ones are."""
    outcomes: dict[bytes, missive.Outcome | None] = {}
    busy, reopened = threading.Event(), threading.Event()
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.on_settled(lambda _, ctx: outcomes.update({ctx.message.raw_data: ctx.outcome}))

    @processor.handle_for(missive.otherwise)
    def handle(message: missive.RawMessage, ctx: missive.HandlingContext[Any]) -> None:
        if message.raw_data == b"1":
            busy.set()
            assert reopened.wait(DEADLINE)
        ctx.ack()

    class Forgets(Queue):
        capabilities = Capabilities(delivery="at-least-once", nack="redeliver")

        def open(self) -> None:
            if busy.is_set():
                self.waiting = deque([b"2"])
                self.kept[b"2"] = None
                reopened.set()
            else:
                super().open()

        def receive(self, timeout: float) -> Sequence[Delivery]:
            if busy.is_set() and not reopened.is_set():
                raise ConnectionError
            if b"2" in self.acked:
                raise EndOfInput
            return super().receive(min(timeout, 0.01))

    adapter = Forgets(processor, b"1", workers=2, max_in_flight=4)
    run_to_the_end(adapter)
    assert adapter.acked == [b"2"]
    assert outcomes == {b"1": None, b"2": missive.Outcome.ACKED}


def test_a_lane_goes_on_while_another_message_is_handled() -> None:
    """What waited in a lane begins as soon as that is free, whatever else is being handled."""
    gate = threading.Event()
    seen: list[bytes] = []
    processor: missive.Processor[Any] = missive.Processor()

    @processor.handle_for(missive.otherwise)
    def handle(message: Any, ctx: Any) -> None:
        if message.raw_data == b"slow":
            assert gate.wait(DEADLINE)
        seen.append(message.raw_data)
        if len(seen) == 20:
            gate.set()
        ctx.ack()

    bodies = [b"slow", *(b"k%d" % number for number in range(20))]
    key: dict[str, Any] = {"ordering_key": lambda message: message.raw_data[:1]}
    adapter = MemoryTransport(processor, bodies, batch_size=30, endless=True, workers=3, **key)
    adapter.poll_timeout = 3 * DEADLINE
    with running(adapter):
        assert gate.wait(DEADLINE)
    assert seen == [*bodies[1:], b"slow"]
