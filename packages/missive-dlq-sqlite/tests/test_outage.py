"""An outage of one handler's dependency, with a store in a file."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import missive
import pytest
from missive import Breaker, Capabilities, Delivery, Processor, RawMessage, Retry
from missive.dlq.sqlite import SQLiteDLQ
from missive.polling import EndOfInput, PollingAdapter

#: One message in so many goes to the handler whose dependency is down.
ONE_IN = 10


class Outage(ConnectionError):
    """A dependency that is down."""


class Stream(PollingAdapter[RawMessage]):
    """A transport in memory that ends when all that was handled is settled everywhere."""

    capabilities = Capabilities(delivery="at-least-once", crash_redelivery=True, stable_id=True)

    def __init__(self, world: World, bodies: list[bytes], **options: Any) -> None:
        super().__init__(RawMessage, world.processor, **options)
        self.world = world
        self.left = bodies[::-1]

    def open(self) -> None:
        """Connect to nothing."""

    def close(self) -> None:
        """Close nothing."""

    def receive(self, timeout: float) -> Sequence[Delivery]:
        batch = [self.left.pop() for _ in range(min(100, len(self.left)))]
        if not batch:
            if self.world.has_ended():
                raise EndOfInput
            self.wait(timeout)
        return [Delivery(body, body, None, "memory", 1) for body in batch]

    def ack(self, message: RawMessage) -> None:
        """Forget the message."""

    def nack(self, message: RawMessage) -> None:
        raise AssertionError("nothing is nacked")


class World:
    """Two handlers, and the dependency of one, which is down until so many messages wait.

    :param seconds: for how long it is down at least.
    """

    def __init__(self, store: SQLiteDLQ, retry: Retry | None, waits: int, seconds: float) -> None:
        self.store, self.waits = store, waits
        self.up_at = time.monotonic() + seconds
        self.is_up = False
        self.handled: Counter[bytes] = Counter()
        self.processor: Processor[Any] = Processor()
        self.processor.set_dlq(store)
        self.processor.handle_for(
            lambda message: message.raw_data[:1] == b"a",
            retry=retry,
            breaker=Breaker(on=Outage, pause=0.5),
        )(self.depend)
        self.processor.handle_for(missive.otherwise)(self.handle)

    def depend(self, message: RawMessage, ctx: Any) -> None:
        if not self.is_up:
            self.is_up = (
                time.monotonic() >= self.up_at and self.store.counts().deferred >= self.waits
            )
            if not self.is_up:
                raise Outage
        self.handle(message, ctx)

    def handle(self, message: RawMessage, ctx: Any) -> None:
        self.handled[message.raw_data] += 1
        ctx.ack()

    def has_ended(self) -> bool:
        return self.is_up and not self.store.counts().deferred


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("retry", [None, Retry(attempts=2, delay=0.1)], ids=["no retry", "retry"])
@pytest.mark.parametrize(
    ("messages", "seconds"),
    [(1000, 0.0), pytest.param(100_000, 30.0, marks=pytest.mark.soak)],
)
def test_an_outage_makes_no_dead_letter_and_loses_nothing(
    messages: int, seconds: float, retry: Retry | None, workers: int, tmp_path: Path
) -> None:
    """All messages are handled once, those of the other handler while it lasts."""
    bodies = [b"%c%d" % (b"b" if n % ONE_IN else b"a", n) for n in range(messages)]
    with SQLiteDLQ(tmp_path / "dlq.db", synchronous="OFF") as store:
        world = World(store, retry, messages // ONE_IN, seconds)
        adapter = Stream(world, bodies, workers=workers)
        adapter.run()
        assert world.handled == Counter(bodies)
        assert store.counts() == (0, 0, 0, 0)
    assert adapter.status().dead_lettered == 0
