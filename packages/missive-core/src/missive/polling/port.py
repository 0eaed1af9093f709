"""The port: what the receive loop sees of a polling adapter."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol

from ..capabilities import Capabilities
from ..delivery import Delivery
from ..message import M
from .status import Counters


class EndOfInput(Exception):
    """Raised by ``receive``: there will never be another message. Ends ``run`` cleanly."""


class Port(Protocol[M]):
    """A polling adapter as the receive loop sees it; see ``PollingAdapter`` for each name."""

    capabilities: Capabilities
    connection_errors: tuple[type[Exception], ...]
    fatal_errors: tuple[type[Exception], ...]
    flush_interval: float | None
    keepalive_interval: float | None
    poll_timeout: float
    waiting_room: int
    room: int
    source: str | None
    workers: int
    ordering_key: Callable[[M], Hashable] | None
    drain_timeout: float
    handler_timeout: float | None
    stopped_at: float | None
    counters: Counters
    pauses: dict[str, float]
    leftover: list[Delivery | bytes]
    where_leftovers_go: str

    @property
    def max_in_flight(self) -> int:
        """How many messages are being handled or wait for that, at most."""
        ...

    def receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        """Return what has come."""
        ...

    def flush(self) -> None:
        """Send the acks that were batched."""
        ...

    def keepalive(self) -> None:
        """Keep the connection and the leases alive."""
        ...

    def overdue(self) -> tuple[str, ...]:
        """Name the handlers that run for too long."""
        ...

    def give_back(self, deliveries: Sequence[Delivery | bytes]) -> None:
        """Have what was not handled delivered again soon."""
        ...

    def dropped(self, deliveries: Sequence[Delivery]) -> None:
        """Forget what will not be handled."""
        ...

    def wait(self, timeout: float, readable: Any = None) -> bool:
        """Wait until something happens."""
        ...

    def wake(self) -> None:
        """End a wait."""
        ...
