"""The port: a polling adapter as its receive loop sees it."""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from collections.abc import Callable, Hashable
from time import monotonic
from typing import Any, Generic

from ..capabilities import Capabilities
from ..delivery import Delivery
from ..message import M
from .status import Counters
from .transport import Transport
from .wakeup import Wakeup

logger = logging.getLogger("missive.polling")


class EndOfInput(Exception):
    """Raised by ``receive``: there will never be another message. Ends ``run`` cleanly."""


class Port(Transport, Generic[M]):
    """A transport with the options of its runs; see ``PollingAdapter``, which sets them."""

    capabilities: Capabilities
    processor: Any
    workers: int
    ordering_key: Callable[[M], Hashable] | None
    drain_timeout: float
    handler_timeout: float | None
    ready: threading.Event
    #: When stop was asked for, on the clock of time.monotonic; None while it was not.
    stopped_at: float | None
    #: Why the intake is paused, by reason, with the time on the monotonic clock.
    pauses: dict[str, float]
    counters: Counters
    #: What was received and not handled when ``run`` ended, where the transport will not deliver it
    #: again: the next ``run`` begins with it.
    leftover: list[Delivery | bytes]
    _given_max_in_flight: int | None
    _wakeup: Wakeup | None = None

    @property
    def max_in_flight(self) -> int:
        """How many messages are being handled or wait for that, at most."""
        if self._given_max_in_flight is not None:
            return self._given_max_in_flight
        is_async = self.processor.hooks.is_async or self.processor.router.is_async
        most = max(100, 2 * self.workers) if is_async else 2 * self.workers
        limit = self.capabilities.max_in_flight
        return most if limit is None else min(most, limit)

    @property
    def stopping(self) -> bool:
        """Whether ``stop`` was called."""
        return self.stopped_at is not None

    @abstractmethod
    def overdue(self) -> tuple[str, ...]:
        """Return the names of the handlers that have run for longer than ``handler_timeout``."""

    def wait(self, timeout: float, readable: Any = None) -> bool:
        """Wait until a file is readable, ``stop`` is called, a handler returns, or time is over.

        :param timeout: at most so many seconds.
        :param readable: a socket, a file descriptor or an object with ``fileno()``.
        :returns: whether ``readable`` is readable.
        """
        assert self._wakeup is not None, "wait() is for a running adapter"
        return self._wakeup.wait(timeout, readable)

    def wake(self) -> None:
        """End the wait that is under way, or else the next one; from any thread."""
        if (wakeup := self._wakeup) is not None:
            wakeup.ring()

    def pause(self, reason: str = "paused") -> None:
        """Take nothing more off the transport until ``resume``; from any thread.

        What is being handled goes on; connection, leases and assignment stay alive.

        :param reason: shown in ``status()``; several hold together.
        """
        if reason not in self.pauses:
            self.pauses[reason] = monotonic()
            logger.warning("%s is paused: %s", type(self).__name__, reason)
        self.wake()  # so that the receive that is under way ends

    def resume(self, reason: str | None = None) -> None:
        """End a pause; from any thread.

        :param reason: only that of this reason; None ends them all.
        """
        for known in list(self.pauses) if reason is None else [reason]:
            since = self.pauses.pop(known, None)
            if since is not None:
                lasted = monotonic() - since
                logger.warning("%s is resumed after %.1f s: %s", type(self).__name__, lasted, known)
        self.wake()
