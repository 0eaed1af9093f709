"""Suspects: messages that were delivered several times, one of which may kill its process."""

from __future__ import annotations

import random
from collections import deque

from .queue_message import QueueMessage

#: A message that was delivered more often is handled alone.
TRUSTED = 2


class Suspects:
    """Keeps deliveries until they are passed on; what was delivered often is passed on alone.

    RabbitMQ counts a delivery of everything that a process held when it died, handled or not. So
    that the innocent do not share the fate of one that kills, a suspect is handled while nothing
    else is in flight, and is settled before the next.
    """

    def __init__(self) -> None:
        self._plain: deque[QueueMessage] = deque()
        self._suspects: list[QueueMessage] = []
        self._alone = False  # the last that was passed on was a suspect

    def __len__(self) -> int:
        return len(self._plain) + len(self._suspects)

    def add(self, message: QueueMessage) -> None:
        """Take a delivery."""
        if (message.delivery_count or 0) > TRUSTED and message.rejection is None:
            self._suspects.append(message)
        else:
            self._plain.append(message)

    @property
    def waits_for_calm(self) -> bool:
        """Whether nothing more may be passed on until all that was is settled."""
        return self._alone or bool(self._suspects)

    def take(self, is_calm: bool) -> list[QueueMessage]:
        """Return what may be handled now.

        :param is_calm: whether all that was passed on is settled.
        """
        if not self.waits_for_calm:
            taken = list(self._plain)
            self._plain.clear()
            return taken
        if not is_calm:
            return []
        if self._suspects and not (self._alone and self._plain):
            self._alone = True
            # In any order, so that one that kills does not always come before the same others.
            return [self._suspects.pop(random.randrange(len(self._suspects)))]
        self._alone = False
        taken = list(self._plain)
        self._plain.clear()
        return taken
