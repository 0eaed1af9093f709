"""A run: what is measured of one run of a processor."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

from missive import DeadLetterStore, ProcessingContext
from missive.polling import PollingAdapter, Status

logger = logging.getLogger("missive.prometheus")

T = TypeVar("T")


class Run:
    """One run of a processor, measured from any thread.

    :param ctx: the run.
    """

    def __init__(self, ctx: ProcessingContext[Any]) -> None:
        self._ctx = ctx
        self._polls = isinstance(ctx.adapter, PollingAdapter)
        self._lock = Lock()
        status = self._status()
        self._counted = 0 if status is None else status.received
        self._begun = self._ended = 0
        self._failing: set[str] = set()
        #: By source; None for a source whose transport cannot be asked now.
        self.lag: dict[str, int | None] = {}
        self.dead_letters = self.deferred = 0

    @property
    def store(self) -> object:
        """The DLQ of the run; None without one."""
        return self._ctx.dlq

    @property
    def polls(self) -> bool:
        """Whether the adapter counts by itself, so that no hook has to."""
        return self._polls

    def _status(self) -> Status | None:
        adapter: object = self._ctx.adapter
        return adapter.status() if isinstance(adapter, PollingAdapter) else None

    # Told by hooks, where the adapter does not count.

    def begin(self) -> None:
        """Note that a delivery came."""
        with self._lock:
            self._begun += 1

    def end(self) -> None:
        """Note that a delivery was settled, or will not be."""
        with self._lock:
            self._ended += 1

    # Asked by those who export.

    def take_received(self) -> int:
        """Return how many deliveries were received since the last call."""
        status = self._status()
        with self._lock:
            received = self._begun if status is None else status.received
            news, self._counted = received - self._counted, received
        return max(news, 0)

    def in_flight(self) -> int:
        """Return how many messages are being handled or wait for a worker."""
        status = self._status()
        return self._begun - self._ended if status is None else status.in_flight

    def oldest_unsettled(self) -> float:
        """Return the age of the oldest delivery that is not settled, in seconds; 0.0 without."""
        status = self._status()
        return 0.0 if status is None else status.oldest_unsettled or 0.0

    def open_breakers(self) -> set[str]:
        """Return the names of the breakers that are open or half-open."""
        return {state.name for state in self._ctx.breakers.open()}

    def measure(self) -> None:
        """Ask the transport and the store how much waits there; takes as long as they do."""
        adapter: object = self._ctx.adapter
        if isinstance(adapter, PollingAdapter):
            measure: Callable[[], Any] = adapter.lag_by_source
            lag = self._ask("lag", measure, dict.fromkeys(self.lag))
            self.lag = dict(lag or {})
        self.dead_letters, self.deferred = self._ask(
            "dead letters", self._count_letters, (self.dead_letters, self.deferred)
        )

    def _count_letters(self) -> tuple[int, int]:
        dlq = self._ctx.dlq
        if isinstance(dlq, DeadLetterStore):
            counts = dlq.counts()
            return counts.dead, counts.deferred
        return (0 if dlq is None else len(dlq)), 0

    def _ask(self, what: str, ask: Callable[[], T], otherwise: T) -> T:
        try:
            found = ask()
        except Exception as error:  # of the transport's client, or a store of the program's own
            if what not in self._failing:
                logger.warning("the %s cannot be measured: %s", what, type(error).__name__)
            self._failing.add(what)
            return otherwise
        self._failing.discard(what)
        return found
