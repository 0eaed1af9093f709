"""Leases: the messages that this process has received, and until when they are its own."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from time import monotonic

from .outbox import Outbox
from .sqs_message import SQSMessage, State

#: How long a message may be kept from other consumers after it was received, in seconds, a limit
#: of SQS.
LONGEST = 12 * 3600


class Leases:
    """Keeps what was received and not settled from other consumers, for as long as it takes.

    :param outbox: sends the changes.
    :param visibility: for how long a message is kept at a time, in seconds.
    """

    def __init__(self, outbox: Outbox, visibility: int) -> None:
        self._outbox = outbox
        self._visibility = visibility
        self._messages: dict[str, SQSMessage] = {}

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[SQSMessage]:
        return iter(list(self._messages.values()))

    def take(self, message: SQSMessage) -> bool:
        """Take a message that was received; return whether it is new here.

        One that this process has in flight already came because its visibility ended too soon:
        the delivery that is in flight is settled in its place.
        """
        known = self._messages.get(str(message.message_id))
        if known is None or known.state is State.RETURNED:
            if known is not None:
                self._outbox.forget(known)
            self._messages[str(message.message_id)] = message
            return True
        known.receipt, known.visible_at = message.receipt, message.visible_at
        known.received_at = message.received_at
        if known.state is State.DELETED:
            self._outbox.delete(known)  # again: the former receipt handle may have been too old
        return False

    def tidy(self) -> None:
        """Forget the messages whose settlement SQS has taken."""
        finished = self._outbox.finished
        while finished:
            message = finished.popleft()
            key = str(message.message_id)
            if self._messages.get(key) is message:
                del self._messages[key]

    def extend(self) -> None:
        """Have those kept for longer that other consumers would get soon."""
        now = monotonic()
        for message in self:
            if message.state is State.HELD and message.visible_at - now < 0.6 * self._visibility:
                self._outbox.extend(message, self.most(message, self._visibility))

    @staticmethod
    def most(message: SQSMessage, seconds: float) -> int:
        """Return for how many whole seconds a message can be kept from now, at most as asked."""
        elapsed = monotonic() - message.received_at
        return max(min(ceil(seconds), LONGEST - ceil(elapsed)), 0)
