"""Settling in the receive loop: what finishes together, and what a lost connection leaves."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

import missive
import pytest
from missive import Capabilities, Delivery
from missive.polling import EndOfInput, PollingAdapter

DEADLINE = 30.0


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
