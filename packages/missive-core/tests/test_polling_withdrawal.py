"""Withdrawal: the receive loop gives back the deliveries of a source that another process gets."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import missive
import pytest
from missive import Capabilities, Delivery
from missive.polling import EndOfInput, PollingAdapter

DEADLINE = 10.0


class Partitions(PollingAdapter[missive.RawMessage]):
    """A transport in memory with two sources, one of which can be taken away and given back."""

    capabilities = Capabilities(
        delivery="at-least-once", nack="redeliver", crash_redelivery=True, stable_id=True
    )
    timeout = 0.0

    def __init__(self, processor: Any, **options: Any) -> None:
        super().__init__(missive.RawMessage, processor, **options)
        self.waiting = deque(
            Delivery(body, message_id=body, source=source)
            for body, source in ((b"a1", "a"), (b"b1", "b"), (b"a2", "a"))
        )
        self.acked: list[bytes] = []
        self.take_away, self.taken_away, self.ends = (threading.Event() for _ in range(3))

    def open(self) -> None: ...

    def close(self) -> None: ...

    def receive(self, timeout: float) -> Sequence[Delivery]:
        if self.take_away.is_set() and not self.taken_away.is_set():
            self.withdraw(["a"], self.timeout)
            self.taken_away.set()
        batch = [self.waiting.popleft()] if self.waiting else []
        if not batch:
            if self.ends.is_set():
                raise EndOfInput
            self.wait(min(timeout, 0.01))
        return batch

    def ack(self, message: missive.RawMessage) -> None:
        self.acked.append(message.raw_data)

    def nack(self, message: missive.RawMessage) -> None: ...


class Ordered(Partitions):
    """The same, which takes acks in order only."""

    capabilities = replace(Partitions.capabilities, ordered_acks=True)


class Reconnecting(Partitions):
    """The same, on which deliveries outlive their connection."""

    capabilities = replace(Partitions.capabilities, settles_across_connections=True)


@pytest.mark.parametrize("kind", [Partitions, Ordered, Reconnecting])
@pytest.mark.parametrize("by_key", [False, True])
def test_what_is_taken_away_while_it_is_handled_is_not_settled(
    kind: type[Partitions], by_key: bool
) -> None:
    """Past the timeout what is being handled is forgotten; the rest of its source never begins."""
    seen: list[bytes] = []
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_for(missive.otherwise)
    def handle(message: missive.RawMessage, ctx: missive.HandlingContext[Any]) -> None:
        seen.append(message.raw_data)
        if message.raw_data == b"a1":
            adapter.take_away.set()
            assert adapter.taken_away.wait(DEADLINE)
            adapter.ends.set()
        else:
            assert adapter.taken_away.wait(DEADLINE)
        ctx.ack()

    key = (lambda message: message.source) if by_key else None
    adapter = kind(processor, workers=2, max_in_flight=8, ordering_key=key)
    adapter.waiting = deque(list(adapter.waiting)[: 3 if by_key else 2])
    adapter.run()
    assert sorted(seen) == [b"a1", b"b1"]
    assert adapter.acked == [b"b1"]


def test_what_is_being_handled_is_awaited_and_settled() -> None:
    """Within its timeout a withdrawal waits for handlers, and settles what they decided."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_for(missive.otherwise)
    def handle(message: missive.RawMessage, ctx: missive.HandlingContext[Any]) -> None:
        adapter.take_away.set()
        ctx.ack()

    class Awaits(Partitions):
        timeout = DEADLINE

        def receive(self, timeout: float) -> Sequence[Delivery]:
            before = list(self.acked)
            batch = super().receive(timeout)
            if self.taken_away.is_set() and not self.ends.is_set():
                self.ends.set()
                assert b"a1" in before + self.acked
            return batch

    adapter = Awaits(processor, workers=2, max_in_flight=8)
    adapter.waiting.pop()
    adapter.run()
    assert sorted(adapter.acked) == [b"a1", b"b1"]


def test_a_source_that_is_given_back_is_acked_in_order() -> None:
    """A source that comes back is handled and acked anew, whatever was forgotten before."""
    seen: list[bytes] = []
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_for(missive.otherwise)
    def handle(message: missive.RawMessage, ctx: missive.HandlingContext[Any]) -> None:
        seen.append(message.raw_data)
        if seen.count(b"a1") == 1 and message.raw_data == b"a1":
            adapter.take_away.set()
            assert adapter.taken_away.wait(DEADLINE)
        ctx.ack()

    class GivesBack(Ordered):
        def receive(self, timeout: float) -> Sequence[Delivery]:
            back = self.taken_away.is_set()
            batch = list(super().receive(timeout))
            if self.taken_away.is_set() and not back:
                self.ends.set()
                batch += [Delivery(body, message_id=body, source="a") for body in (b"a1", b"a2")]
            return batch

    adapter = GivesBack(processor, workers=2, max_in_flight=8)
    adapter.waiting.popleft()
    adapter.waiting.appendleft(Delivery(b"a1", message_id=b"a1", source="a"))
    adapter.waiting.pop()
    adapter.run()
    assert [body for body in adapter.acked if body.startswith(b"a")] == [b"a1", b"a2"]


@pytest.mark.parametrize("kind", [Partitions, Ordered])
def test_a_handler_that_returns_during_the_withdrawal_is_settled(kind: type[Partitions]) -> None:
    """A message that is being handled when the withdrawal begins is awaited, and settled there."""
    withdrawing = threading.Event()
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_for(missive.otherwise)
    def handle(message: missive.RawMessage, ctx: missive.HandlingContext[Any]) -> None:
        if message.raw_data == b"a1":
            adapter.take_away.set()
            assert withdrawing.wait(DEADLINE)
        ctx.ack()

    class Awaits(kind):  # type: ignore[valid-type, misc]
        timeout = DEADLINE

        def withdraw(self, sources: Any, timeout: float = 0.0) -> None:
            withdrawing.set()
            super().withdraw(sources, timeout)
            assert b"a1" in self.acked
            self.ends.set()

    adapter = Awaits(processor, workers=2, max_in_flight=8)
    adapter.waiting.pop()
    adapter.run()
    assert sorted(adapter.acked) == [b"a1", b"b1"]


@pytest.mark.parametrize("kind", [Partitions, Ordered])
def test_a_source_may_be_taken_away_twice_while_it_is_handled(kind: type[Partitions]) -> None:
    """The second withdrawal changes nothing: the others of the run are settled all the same."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_for(missive.otherwise)
    def handle(message: missive.RawMessage, ctx: missive.HandlingContext[Any]) -> None:
        if message.raw_data == b"a1":
            adapter.take_away.set()
            assert adapter.taken_away.wait(DEADLINE)
            adapter.ends.set()
        ctx.ack()

    class Twice(kind):  # type: ignore[valid-type, misc]
        def withdraw(self, sources: Any, timeout: float = 0.0) -> None:
            super().withdraw(sources, timeout)
            super().withdraw(sources, timeout)

    adapter = Twice(processor, workers=2, max_in_flight=8)
    adapter.waiting.pop()
    adapter.run()
    assert adapter.acked == [b"b1"]


def test_what_has_not_begun_is_dropped_from_the_middle_of_what_waits() -> None:
    """Behind busy workers the messages of other sources stay, and are handled."""
    seen: list[bytes] = []
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_for(missive.otherwise)
    def handle(message: missive.RawMessage, ctx: missive.HandlingContext[Any]) -> None:
        seen.append(message.raw_data)
        if message.raw_data in (b"b0", b"c0"):
            adapter.take_away.set()
            assert adapter.taken_away.wait(DEADLINE)
        ctx.ack()

    class AllAtOnce(Partitions):
        keepalive_interval = 0.01

        def keepalive(self) -> None:
            if self.take_away.is_set() and not self.taken_away.is_set():
                self.withdraw(["a"])
                self.taken_away.set()

        def receive(self, timeout: float) -> Sequence[Delivery]:
            if not self.waiting:
                raise EndOfInput
            batch, self.waiting = list(self.waiting), deque()
            return batch

    adapter = AllAtOnce(processor, workers=2, max_in_flight=2)
    adapter.waiting = deque(
        Delivery(body, message_id=body, source=chr(body[0]))
        for body in (b"b0", b"c0", b"a1", b"b1", b"a2", b"b2")
    )
    adapter.run()
    assert sorted(seen) == sorted(adapter.acked) == [b"b0", b"b1", b"b2", b"c0"]


def test_what_waits_in_a_batch_is_taken_away_too() -> None:
    """A batch of several sources keeps the messages of the others; one of that source is gone."""
    batches: list[list[bytes]] = []
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_batch_for(missive.otherwise, size=10, wait=3600.0)
    def handle(messages: Sequence[missive.RawMessage], ctx: Any) -> None:
        batches.append([message.raw_data for message in messages])
        ctx.ack_rest()

    class Batched(Partitions):
        def receive(self, timeout: float) -> Sequence[Delivery]:
            batch = super().receive(timeout)
            if not batch:
                self.take_away.set()
            if self.taken_away.is_set():
                self.ends.set()
            return batch

    mixed = Batched(processor)
    mixed.run()
    assert batches == [[b"b1"]]
    batches.clear()
    by_source = Batched(processor, ordering_key=lambda message: message.source)
    by_source.run()
    assert batches == [[b"b1"]]
    assert mixed.acked == by_source.acked == [b"b1"]


def test_without_a_run_there_is_nothing_to_withdraw_or_to_wake() -> None:
    """Outside ``run`` both do nothing, and the next run begins as usual."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(missive.otherwise)(lambda message, ctx: ctx.ack())
    adapter = Partitions(processor)
    adapter.withdraw(["a"], DEADLINE)
    adapter.wake()
    adapter.ends.set()
    adapter.run()
    assert adapter.acked == [b"a1", b"b1", b"a2"]


def test_deliveries_may_be_chosen_one_by_one() -> None:
    """``withdraw`` takes a function too, for sources of which only a part is taken away."""
    seen: list[bytes] = []
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_for(missive.otherwise)
    def handle(message: missive.RawMessage, ctx: missive.HandlingContext[Any]) -> None:
        seen.append(message.raw_data)
        ctx.ack()

    class Chosen(Partitions):
        def receive(self, timeout: float) -> Sequence[Delivery]:
            batch, self.waiting = list(self.waiting), deque()
            if not batch:
                raise EndOfInput
            return batch

        def keepalive(self) -> None:
            self.withdraw(lambda envelope: envelope.message_id == b"a2")

        keepalive_interval = 1e-9

    adapter = Chosen(processor, workers=2, max_in_flight=2, ordering_key=lambda message: "one")
    adapter.run()
    assert seen == adapter.acked == [b"a1", b"b1"]


@pytest.mark.parametrize("kind", [Partitions, Ordered])
def test_what_is_taken_away_while_its_letter_is_written_is_not_settled(
    kind: type[Partitions],
) -> None:
    """A keepalive may find that a source is gone while a store is waited for; others are acked."""

    class Withdrawing(missive.MemoryDLQ):
        def put_many(self, letters: Any) -> None:
            super().put_many(letters)
            adapter.withdraw(["a"])
            adapter.ends.set()

    processor: missive.Processor[Any] = missive.Processor()

    @processor.handle_for(missive.otherwise)
    def handle(message: missive.RawMessage, ctx: Any) -> None:
        if message.raw_data == b"a1":
            raise LookupError("not known")
        ctx.ack()

    dlq = Withdrawing()
    processor.set_dlq(dlq)
    adapter = kind(processor)
    adapter.run()
    assert b"a1" not in adapter.acked
    assert b"b1" in adapter.acked
    assert adapter.status().dead_lettered == 0
    assert dlq.counts().dead == 1


def test_what_is_being_settled_stays_when_another_source_is_taken_away() -> None:
    """While a letter is written, the loss of another source does not touch its message."""

    class Withdrawing(missive.MemoryDLQ):
        def put_many(self, letters: Any) -> None:
            super().put_many(letters)
            adapter.withdraw(["b"])
            adapter.ends.set()

    processor: missive.Processor[Any] = missive.Processor()
    processor.set_dlq(Withdrawing())

    @processor.handle_for(missive.otherwise)
    def handle(message: missive.RawMessage, ctx: Any) -> None:
        raise LookupError("not known")

    adapter = Partitions(processor)
    adapter.run()
    assert b"a1" in adapter.acked
    assert b"b1" not in adapter.acked
