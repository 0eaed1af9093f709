"""A transport in memory, for the tests of async and batch handlers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import missive
from missive import Capabilities, Delivery
from missive.polling import EndOfInput, PollingAdapter

DEADLINE = 30.0


class MemoryTransport(PollingAdapter[Any]):
    """Delivers bodies once each, and notes in order what was acked and nacked.

    :param bodies: what is delivered, before the end of the input.
    :param endless: whether the input has no end, so that ``stop`` ends the run.
    :param until_settled: whether the input ends only when all of it is settled.
    """

    capabilities = Capabilities(
        delivery="at-least-once", stable_id=True, delivery_count=True, crash_redelivery=True
    )
    connection_errors = (ConnectionError,)

    def __init__(
        self,
        processor: missive.Processor[Any],
        bodies: Sequence[bytes] = (),
        *,
        endless: bool = False,
        until_settled: bool = False,
        batch_size: int = 10,
        message_cls: Callable[[bytes], Any] = missive.RawMessage,
        **options: Any,
    ) -> None:
        super().__init__(message_cls, processor, **options)
        self.waiting = deque(bodies)
        self.endless = endless
        self.until_settled = until_settled
        self.batch_size = batch_size
        self.acked: list[bytes] = []
        self.nacked: list[bytes] = []
        self.given_back: list[bytes] = []
        self.settling_threads: set[int] = set()
        self.opened = 0
        self.fail_next_ack: Exception | None = None
        self.unacked: dict[bytes, int] = {}
        self.most_unacked = 0

    def publish(self, *bodies: bytes) -> None:
        """Add messages; from any thread."""
        self.waiting.extend(bodies)
        self.wake()

    def open(self) -> None:
        self.opened += 1
        self.waiting.extendleft(reversed(self.unacked))
        self.unacked.clear()

    def close(self) -> None:
        """Nothing is open."""

    def receive(self, timeout: float) -> Sequence[Delivery]:
        if not self.waiting:
            if not self.endless and not (self.until_settled and self.unacked):
                raise EndOfInput
            self.wait(timeout)
            return ()
        count = min(self.batch_size, self.room, len(self.waiting))
        taken = [self.waiting.popleft() for _ in range(count)]
        self.unacked.update(dict.fromkeys(taken, 1))
        self.most_unacked = max(self.most_unacked, len(self.unacked))
        return [Delivery(body, body, source="memory", delivery_count=1) for body in taken]

    def ack(self, message: missive.Message) -> None:
        self.settling_threads.add(threading.get_ident())
        failure, self.fail_next_ack = self.fail_next_ack, None
        if failure is not None:
            raise failure
        self.unacked.pop(message.raw_data, None)
        self.acked.append(message.raw_data)

    def nack(self, message: missive.Message) -> None:
        self.settling_threads.add(threading.get_ident())
        self.unacked.pop(message.raw_data, None)
        self.nacked.append(message.raw_data)

    def give_back(self, deliveries: Sequence[Delivery | bytes]) -> None:
        for item in deliveries:
            body = item if isinstance(item, bytes) else item.raw_data
            self.unacked.pop(body, None)
            self.given_back.append(body)


@contextmanager
def running(adapter: PollingAdapter[Any]) -> Iterator[list[BaseException]]:
    """Run an adapter in a thread; at the end stop it, and note what ``run`` raised."""
    errors: list[BaseException] = []

    def target() -> None:
        try:
            adapter.run()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    try:
        assert adapter.ready.wait(DEADLINE)
        yield errors
    finally:
        adapter.stop()
        thread.join(DEADLINE)
        assert not thread.is_alive()
