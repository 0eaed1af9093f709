"""Order: which of the received messages may be handled now."""

from __future__ import annotations

import random

from .sqs_message import SQSMessage


class Order:
    """Keeps messages until they may be handled: one at a time of each group, suspects alone.

    Of a message group of a FIFO queue the next message is passed on when the one before it is
    settled. So groups are handled beside each other, and a nacked message holds up its own.

    A message that was received very often may be what kills its process, and SQS counts a delivery
    of everything that the process held. So that the innocent do not share its fate, a suspect is
    handled while nothing else is in flight, and is settled before the next.

    :param suspicious: a message that was received more often is a suspect.
    """

    def __init__(self, suspicious: int) -> None:
        self._suspicious = suspicious
        self._waiting: list[SQSMessage] = []
        self._busy: set[str] = set()  # groups of which a message is being handled
        self._suspects = 0
        self._alone = False  # the last that was passed on was a suspect

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, message: SQSMessage) -> None:
        """Take a message that was received."""
        self._waiting.append(message)
        self._suspects += self._is_suspect(message)

    def settled(self, message: SQSMessage) -> None:
        """Let the next message of its group be passed on."""
        if message.group is not None:
            self._busy.discard(message.group)

    def returned(self, message: SQSMessage) -> list[SQSMessage]:
        """Return the messages behind one that goes back to the queue: they must follow it."""
        if message.group is None:
            return []
        self._busy.discard(message.group)
        behind = [each for each in self._waiting if each.group == message.group]
        return self._remove(behind)

    def take_all(self) -> list[SQSMessage]:
        """Return everything that waits, to be given back."""
        return self._remove(list(self._waiting))

    @property
    def waits_for_calm(self) -> bool:
        """Whether nothing more may be passed on until all that was is settled."""
        return self._alone or self._suspects > 0

    def take(self, *, is_calm: bool) -> list[SQSMessage]:
        """Return the messages that may be handled now.

        :param is_calm: whether all that was passed on is settled; asked for only where
            ``waits_for_calm``.
        """
        if self.waits_for_calm and not is_calm:
            return []
        plain, suspects = self._heads()
        if suspects and not (self._alone and plain):
            self._alone = True
            # In any order, so that one that kills does not always come before the same others.
            return self._pass_on([random.choice(suspects)])
        self._alone = False
        return self._pass_on(plain)

    def _heads(self) -> tuple[list[SQSMessage], list[SQSMessage]]:
        """Return what may be handled as far as groups go: plain messages, and suspects."""
        plain: list[SQSMessage] = []
        suspects: list[SQSMessage] = []
        seen = set(self._busy)
        for message in self._waiting:
            if message.group is not None:
                if message.group in seen:
                    continue
                seen.add(message.group)
            (suspects if self._is_suspect(message) else plain).append(message)
        return plain, suspects

    def _pass_on(self, messages: list[SQSMessage]) -> list[SQSMessage]:
        self._busy.update(each.group for each in messages if each.group is not None)
        return self._remove(messages)

    def _remove(self, messages: list[SQSMessage]) -> list[SQSMessage]:
        gone = set(map(id, messages))
        self._waiting = [each for each in self._waiting if id(each) not in gone]
        self._suspects = sum(map(self._is_suspect, self._waiting))
        return messages

    def _is_suspect(self, message: SQSMessage) -> bool:
        return (message.delivery_count or 0) > self._suspicious and message.rejection is None
