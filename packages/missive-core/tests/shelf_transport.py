"""A transport in memory that shows what an adapter was told, for tests of time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from missive import Capabilities, Delivery, Processor, RawMessage
from missive.polling import EndOfInput, PollingAdapter

DEADLINE = 30.0

#: Redelivers what is not settled, as most brokers do.
KEEPS = Capabilities(
    delivery="at-least-once", stable_id=True, delivery_count=True, crash_redelivery=True
)
#: Neither redelivers nor takes a nack, as Pub/Sub.
FORGETS = Capabilities(nack="drop-refused")
#: Delays by itself.
DELAYS = Capabilities(
    delivery="at-least-once",
    stable_id=True,
    delivery_count=True,
    crash_redelivery=True,
    delayed_nack=True,
    max_delay=60.0,
)


class ShelfTransport(PollingAdapter[RawMessage]):
    """Delivers bodies once; ends when all are settled and nothing is left in the store.

    :param bodies: what to deliver; a body's first byte is its source.
    :param until: ends the run as soon as it returns True; None: when every body is settled.
    """

    capabilities = KEEPS
    connection_errors = (ConnectionError,)

    def __init__(
        self,
        processor: Processor[Any],
        bodies: Iterable[bytes] = (),
        *,
        until: Callable[[], bool] | None = None,
        capabilities: Capabilities | None = None,
        **options: Any,
    ) -> None:
        super().__init__(RawMessage, processor, **options)
        if capabilities is not None:
            self.capabilities = capabilities  # type: ignore[misc]
        self.waiting = deque(bodies)
        self.until = until
        self.in_flight: set[bytes] = set()
        self.acked: list[bytes] = []
        self.nacked: list[tuple[bytes, float | None]] = []
        self.receives = 0
        self.breaks = 0

    def open(self) -> None:
        """Connect."""

    def close(self) -> None:
        """Redeliver what was not settled, with the next connection."""
        if self.capabilities.crash_redelivery:
            self.waiting.extendleft(sorted(self.in_flight, reverse=True))
        self.in_flight.clear()

    def receive(self, timeout: float) -> Sequence[Delivery]:
        self.receives += 1
        if self.breaks:
            self.breaks -= 1
            raise ConnectionError("lost")
        if self.until is not None and self.until():
            raise EndOfInput
        if not self.waiting:
            if self.until is None and not self.in_flight:
                raise EndOfInput
            self.wait(timeout)
            return ()
        batch = [self.waiting.popleft() for _ in range(min(10, len(self.waiting)))]
        self.in_flight.update(batch)
        return [Delivery(body, body, None, chr(body[0]), 1) for body in batch]

    def settle(self, batch: Sequence[Any]) -> None:
        for context in batch:
            if context.outcome.name == "NACKED":
                self.nacked.append((context.message.raw_data, context.delay))
            else:
                self.acked.append(context.message.raw_data)
            self.in_flight.discard(context.message.raw_data)

    def ack(self, message: RawMessage) -> None:
        """Not called; see ``settle``."""

    def nack(self, message: RawMessage) -> None:
        """Not called; see ``settle``."""


def start(adapter: PollingAdapter[Any]) -> tuple[threading.Thread, list[BaseException]]:
    """Run an adapter in a thread; return it and what the run raises."""
    errors: list[BaseException] = []

    def target() -> None:
        try:
            adapter.run()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread, errors


def finish(thread: threading.Thread, errors: list[BaseException]) -> None:
    """Wait for the end of a run that was started, and raise what it raised."""
    thread.join(DEADLINE)
    assert not thread.is_alive()
    if errors:
        raise errors[0]


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that another thread makes true."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)
