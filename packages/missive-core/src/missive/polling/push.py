"""Push adapters: for clients that call back, or live on an event loop of their own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

from ..delivery import Delivery
from ..message import M
from .adapter import PollingAdapter
from .port import EndOfInput


class PushAdapter(PollingAdapter[M]):
    """A polling adapter whose client hands messages over from its own thread.

    The client's callback calls ``offer``. The hand-over is bounded by ``max_in_flight``: an offer
    beyond that waits, or is refused. Everything else, settlement included, happens in the thread
    of ``run``.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._offered: deque[Delivery] = deque()
        self._room = threading.Condition()
        self._failure: Exception | None = None
        self._at_end = False

    def offer(self, delivery: Delivery, timeout: float | None = 0.0) -> bool:
        """Hand a delivery over; from any thread.

        :param timeout: how long to wait for room, in seconds; 0.0 does not wait (for a callback on
            an event loop), None waits until there is room or the run ends.
        :returns: whether it was taken; if not, it stays the client's.
        """
        with self._room:
            taken = self._room.wait_for(lambda: self.has_room or self.ending, timeout)
            if not taken or self.ending:
                return False
            self._offered.append(delivery)
        self.wake()
        return True

    def fail(self, error: Exception) -> None:
        """Report an error of the client, which ``receive`` raises; from any thread."""
        with self._room:
            self._failure = error
        self.wake()

    def end(self) -> None:
        """Report that there will never be another message; from any thread."""
        with self._room:
            self._at_end = True
        self.wake()

    @property
    def has_room(self) -> bool:
        """Whether an offer would be taken now."""
        return len(self._offered) < self.max_in_flight

    def receive(self, timeout: float) -> Sequence[Delivery]:
        """Return what was offered; wait for something if nothing was.

        :raises Exception: what ``fail`` reported.
        :raises EndOfInput: ``end`` was called, and everything offered before was returned.
        """
        if not self._offered and self._failure is None and not self._at_end:
            self.wait(timeout)
        with self._room:
            failure, self._failure = self._failure, None
            if failure is not None:
                self._offered.clear()  # of a connection that is gone
                raise failure
            taken = list(self._offered)
            self._offered.clear()
            self._room.notify_all()
            if not taken and self._at_end:
                raise EndOfInput
            return taken

    def _note_stop(self, signum: int | None = None) -> None:
        super()._note_stop(signum)
        # Not in a signal handler, which may interrupt the holder of the lock.
        if signum is None:
            with self._room:
                self._room.notify_all()
