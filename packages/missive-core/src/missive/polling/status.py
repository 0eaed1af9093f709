"""Status: how a polling adapter is doing, and the counters behind that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from time import time
from types import MappingProxyType
from typing import Any, NamedTuple

from ..handling import ACKED, DEAD_LETTERED, DEFERRED, NACKED, HandlingContext


class Status(NamedTuple):
    """How a polling adapter is doing, for probes and metrics.

    :ivar connected: whether a message that is published now would be delivered.
    :ivar last_progress: when the receive loop last made progress, in UTC; None before it began.
    :ivar in_flight: messages that are being handled or wait for a worker, and are not settled.
    :ivar received: deliveries received since the adapter was built; likewise the other counters.
    :ivar acked: acks that the transport took; likewise ``nacked``. ``dead_lettered`` and
        ``deferred`` are not counted as acked.
    :ivar waiting: deliveries received and not begun; falls from message to message.
    :ivar handling: the printable id of the message that is handled in the receiving thread, where
        the transport gave it one; None with several workers.
    :ivar deferred: messages that were kept for another attempt.
    :ivar held: messages that wait in this process for another attempt.
    :ivar vanished: messages that the transport dropped before they were handled.
    :ivar paused: why nothing is taken off the transport: reasons of ``pause`` and the names of open
        breakers; empty while it is.
    :ivar overdue: the handlers that have run for longer than ``handler_timeout``.
    :ivar oldest_unsettled: how long ago the oldest delivery was received that is not settled, in
        seconds; None without one. Messages that are held for another attempt do not count.
    :ivar assignment: what this process has of a transport that shares partitions out, by name, as
        that adapter describes it; empty elsewhere.
    """

    connected: bool
    last_progress: datetime | None
    in_flight: int
    received: int
    acked: int
    nacked: int
    dead_lettered: int
    reconnections: int
    waiting: int = 0
    handling: str | None = None
    deferred: int = 0
    held: int = 0
    vanished: int = 0
    paused: tuple[str, ...] = ()
    overdue: tuple[str, ...] = ()
    oldest_unsettled: float | None = None
    assignment: Mapping[str, Any] = MappingProxyType({})


class Counters:
    """Counts since an adapter was built. Written by the receiving thread, read by any."""

    def __init__(self) -> None:
        self.received = 0
        self.acked = 0
        self.nacked = 0
        self.dead_lettered = 0
        self.deferred = 0
        self.reconnections = 0
        self.vanished = 0
        self.last_progress: float | None = None

    def progress(self) -> None:
        """Note that the receive loop made progress now."""
        self.last_progress = time()

    def count(self, batch: Iterable[HandlingContext[Any]]) -> None:
        """Count settled deliveries by outcome."""
        for context in batch:
            outcome = context.outcome
            if outcome is ACKED:
                self.acked += 1
            elif outcome is NACKED:
                self.nacked += 1
            elif outcome is DEAD_LETTERED:
                self.dead_lettered += 1
            elif outcome is DEFERRED and not context.held:
                self.deferred += 1
