"""Suspects: messages that were delivered several times, one of which may kill its process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from .messages import StreamMessage

#: A message that was delivered more often is handled alone.
TRUSTED = 2
#: How many nacked messages are remembered.
REMEMBERED = 10_000


class Suspects:
    """Decides which messages may be handled now: a suspect is handled alone.

    The server counts a delivery of everything that a process held when it died, handled or not. So
    that the innocent do not share the fate of one that kills, messages are fetched one at a time
    while suspects come, each is handled while nothing else is in flight, and is settled before the
    next. What this process nacked itself is no suspect: it has survived that.

    :param most: a message that was delivered more often is not handled again.
    """

    def __init__(self, most: int) -> None:
        self._trusted = max(1, min(TRUSTED, most - 1))
        self._most = most
        self._nacked: dict[int, int] = {}
        #: Whether a suspect was passed on, and nothing may follow before it is settled.
        self.in_flight = False
        #: Whether messages are to be fetched one at a time.
        self.come = True

    def note_nack(self, message: StreamMessage) -> None:
        """Take note that a message is given back by this process, which lives."""
        if len(self._nacked) >= REMEMBERED:
            self._nacked.clear()
        self._nacked[message.sequence] = message.deliveries

    def _is_suspect(self, message: StreamMessage) -> bool:
        if not self._trusted < message.deliveries <= self._most:
            return False  # the rejected are not handled
        return self._nacked.get(message.sequence) != message.deliveries - 1

    def take(
        self, arrivals: deque[StreamMessage], most: int, is_calm: Callable[[], bool]
    ) -> list[StreamMessage]:
        """Take from what has come what may be handled now; nothing where that has to wait.

        :param most: how many messages at most.
        :param is_calm: returns whether all that was passed on is settled, and the server knows.
        """
        taken: list[StreamMessage] = []
        if self.in_flight and not is_calm():
            return taken
        self.in_flight = False
        while arrivals and len(taken) < most:
            self.come = self._is_suspect(arrivals[0])
            if self.come:
                if not taken and is_calm():
                    self.in_flight = True
                    taken.append(arrivals.popleft())
                break
            taken.append(arrivals.popleft())
        return taken
