"""The connection of a polling adapter: opened, lost and opened again, with growing pauses."""

from __future__ import annotations

import logging
import random
from time import monotonic
from typing import Any

from ..error_notes import named
from ..errors import TransportRefused, TransportUnreachable
from .port import Port

logger = logging.getLogger("missive.polling.connection")

#: The first wait before a connection is tried again, and the longest, in seconds. One that is lost
#: sooner than the longest wait after it was opened counts as another attempt that failed.
BACKOFF_FIRST, BACKOFF_LONGEST = 0.05, 3.0


class Connection:
    """Opens an adapter's transport, and opens it again when it is lost.

    :param adapter: the adapter.

    :ivar generation: the number of the connection in use, from 0. A delivery carries the
        generation of the connection that it came on.
    """

    def __init__(self, adapter: Port[Any]) -> None:
        self.generation = 0
        self._adapter = adapter
        self._name = type(adapter).__name__
        self._opened_at = 0.0
        self._lost_soon = 0  # how many connections in a row were lost soon after they were opened

    def open(self, give_up_after: float | None = None) -> None:
        """Open the transport, trying again with growing, jittered pauses; return when stopped.

        :param give_up_after: raise after so many seconds; None: try forever.
        :raises TransportUnreachable: it could not be opened in that time.
        :raises TransportRefused: it refused in a way that trying again does not mend.
        """
        adapter = self._adapter
        began, pause, attempts = monotonic(), BACKOFF_FIRST, 0
        while not adapter.stopping:
            try:
                adapter.open()
            except adapter.fatal_errors as error:
                raise TransportRefused(adapter, error) from error
            except adapter.connection_errors as error:
                attempts += 1
                self.close()
                elapsed = monotonic() - began
                if give_up_after is not None and elapsed >= give_up_after:
                    raise TransportUnreachable(adapter, give_up_after, error) from error
                if attempts == 1 and not adapter.stopping:
                    logger.warning(
                        "%s cannot connect (%s); trying again until it can",
                        self._name,
                        named(error),
                    )
                if give_up_after is not None:
                    pause = min(pause, give_up_after - elapsed)
                adapter.wait(pause * _jitter())
                pause = min(pause * 2, BACKOFF_LONGEST)
            else:
                if attempts:
                    logger.warning(
                        "%s connected after %d attempts in %.1f s",
                        self._name,
                        attempts + 1,
                        monotonic() - began,
                    )
                self._opened_at = monotonic()
                adapter.ready.set()
                return

    def reopen(self, error: BaseException) -> None:
        """Open the transport again after a connection error.

        At once, unless the connection was lost soon after it was opened, as behind a proxy whose
        server is down: then after growing pauses, with one line in the log for all of them.
        """
        adapter = self._adapter
        adapter.ready.clear()
        self.generation += 1
        adapter.counters.reconnections += 1
        if monotonic() - self._opened_at >= BACKOFF_LONGEST:
            self._lost_soon = 0
        if self._lost_soon < 2:
            logger.warning(
                "%s lost its connection%s (%s)",
                self._name,
                " again; trying with pauses until one lasts" if self._lost_soon else "",
                named(error),
            )
        self.close()
        if self._lost_soon:
            # Ten doublings are well past the longest.
            pause = BACKOFF_FIRST * 2 ** min(self._lost_soon - 1, 10)
            adapter.wait(min(pause, BACKOFF_LONGEST) * _jitter())
        self._lost_soon += 1
        self.open()

    def close(self) -> None:
        """Disconnect, from any state."""
        try:
            self._adapter.close()
        except (*self._adapter.connection_errors, *self._adapter.fatal_errors) as error:
            logger.debug("closing %s: %s", self._name, type(error).__name__)


def _jitter() -> float:
    """Return a factor that keeps adapters that lost the same server from returning in step."""
    return random.uniform(0.5, 1.0)
