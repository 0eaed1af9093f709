"""Health: whether a run is alive and ready, for probes that read a file or ask a port."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from time import monotonic
from typing import Any, Protocol

from missive import Adapter, DeadLetterStore, DeadLetterStoreError
from missive.polling import PollingAdapter, Status

#: How long what was found is good for, in seconds: a probe must not wear the DLQ out.
GOOD_FOR = 1.0

#: The address of the health port unless told otherwise.
LOOPBACK = "127.0.0.1"


class Looks(Protocol):
    """What knows the health of a run: of one process, or of all under a supervisor."""

    def look(self) -> dict[str, Any]:
        """Return how the run is doing; ``live`` and ``ready`` are the answers to probes."""
        ...


class Health:
    """Looks at a running adapter.

    A run is *live* while its receive loop makes progress, or lets a handler run in its own thread,
    or is busy connecting; how long handlers take does not matter. It is *ready* while a message
    that is published now would be delivered, no handler has run for longer than
    ``handler_timeout``, and the DLQ, where there is one, could be written. One that is *paused*, by
    hand or by an open breaker, is live and ready: to start it again would mend nothing. Why it is
    paused stands under ``paused``. It is *draining* from ``stop`` to its end, and then not ready.
    It is *stalled* while it has work and has settled none for a while: live, since a handler may
    take long, but worth a look. ``state`` is one word for all of that.

    :param stall: how long the loop may make no progress, and a run with work settle nothing before
        it is called stalled; in seconds.
    :param clock: gives seconds that only ever rise.
    """

    def __init__(
        self, adapter: Adapter[Any], stall: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._adapter = adapter
        self._stall = stall
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: object = None
        self._progressed = self._settled_at = clock()
        self._settled = -1
        self._looked: tuple[float, dict[str, Any]] | None = None

    def look(self) -> dict[str, Any]:
        """Say how the run is doing; what was found less than a second ago is found again."""
        with self._lock:
            now = self._clock()
            if self._looked is None or now - self._looked[0] >= GOOD_FOR:
                self._looked = (now, self._look(now))
            return self._looked[1]

    def _look(self, now: float) -> dict[str, Any]:
        adapter = self._adapter
        found: dict[str, Any] = {
            "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "pid": os.getpid(),
            "adapter": type(adapter).__name__,
        }
        ready = getattr(adapter, "ready", None)
        connected = bool(ready is not None and ready.is_set())
        live, overdue, stalled = True, False, False
        stopped: object = getattr(adapter, "stopped_at", None)
        draining, paused = stopped is not None, False
        if isinstance(adapter, PollingAdapter):
            status = adapter.status()
            seen = status._replace(oldest_unsettled=None)  # which changes by itself
            if seen != self._seen:
                self._seen, self._progressed = seen, now
            live = not connected or now - self._progressed < self._stall
            overdue, paused = bool(status.overdue), bool(status.paused)
            stalled = self._is_stalled(status, now)
            found |= {
                "last_progress": _iso(status.last_progress),
                "in_flight": status.in_flight,
                "waiting": status.waiting,
                "received": status.received,
                "acked": status.acked,
                "nacked": status.nacked,
                "dead_lettered": status.dead_lettered,
                "deferred": status.deferred,
                "held": status.held,
                "reconnections": status.reconnections,
                "paused": list(status.paused),
                "overdue": list(status.overdue),
            }
        writable = self._dlq_writable()
        ready = connected and writable is not False and not overdue and not draining
        states = {"draining": draining, "stalled": stalled, "paused": paused, "ready": ready}
        fallback = "not ready" if connected else "connecting"
        return {
            "live": live,
            "ready": ready,
            "state": next((name for name, holds in states.items() if holds), fallback),
            "stalled": stalled,
            "draining": draining,
            "connected": connected,
            "dlq_writable": writable,
            **found,
        }

    def _is_stalled(self, status: Status, now: float) -> bool:
        """Return whether there is work, and nothing was settled for a while."""
        settled = status.acked + status.nacked + status.dead_lettered + status.deferred
        works = bool(status.in_flight or status.waiting)
        if settled != self._settled or not works:
            self._settled, self._settled_at = settled, now
        return now - self._settled_at >= self._stall

    def _dlq_writable(self) -> bool | None:
        """Return whether the DLQ could be written; None where that cannot be known."""
        dlq = self._adapter.processor.dlq
        if not isinstance(dlq, DeadLetterStore):
            return None
        try:
            dlq.check()
        except DeadLetterStoreError:
            return False
        return True


def _iso(when: datetime | None) -> str | None:
    return when.isoformat(timespec="milliseconds") if when is not None else None
