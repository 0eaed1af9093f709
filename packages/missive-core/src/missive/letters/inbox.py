"""Inboxes: messages that are stored before they are handled, each of them once."""

from __future__ import annotations

import enum
from abc import abstractmethod
from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b

from ..message import Message
from .letter import DeadLetter, utc_now
from .store import DeadLetterStore

#: The reason of a letter whose message was received and not handled yet.
RECEIVED = "received"
#: How many bytes each half of an inbox key has.
_HALF = 16


class Receipt(enum.Enum):
    """What a store did with a message that was received.

    ``NEW``: it is stored. ``KNOWN``: it was received before, and nothing was stored. ``BESIDE``: it
    is stored; another message with its id was received before, and both are kept.
    """

    NEW = "new"
    KNOWN = "known"
    BESIDE = "beside"

    def __repr__(self) -> str:
        return f"Receipt.{self.name}"


class InboxStore(DeadLetterStore):
    """A store that can also take each message of an inbox once.

    It remembers what it received: a record for each message, by :func:`inbox_key`. A record is
    *open* while the letter is stored: dead or deferred, claimed or not. It is *done* from the
    moment that the letter is removed, by whatever way; both happen in one step. Records are as
    durable as letters.
    """

    @abstractmethod
    def receive(self, letters: Iterable[DeadLetter]) -> list[Receipt]:
        """Keep messages that were not received before, all or none, as durably as ``defer``.

        One letter after the other, in one transaction: where there is a record with its
        :func:`inbox_key`, open or done, nothing changes: ``KNOWN``. Likewise where the same message
        (id, source, body) is stored without a record; it gets an open one. Else the letter is kept
        with an open record, beside another message's letter with its id where there is one:
        ``BESIDE`` where another record has the first half of its key, else ``NEW``.

        :param letters: as :func:`received_letter` makes them: deferred, due, with no failure.
        :returns: a receipt for each letter, in their order.
        :raises ConfigurationError: a letter has no due time, or one without a time zone.
        :raises DeadLetterStoreError: nothing was kept.
        """

    @abstractmethod
    def forget_done(self, before: datetime, *, limit: int = 1000) -> int:
        """Forget records that were done before a time, the earliest first; return how many.

        :param before: aware.
        :param limit: how many at most, so that no call takes long.
        """


def inbox_key(letter: DeadLetter) -> tuple[bytes, bytes]:
    """Return what tells a message of an inbox from all others, as two digests of 16 bytes.

    The first is of source and message id, the second of the body.
    """
    source = b"" if letter.source is None else letter.source.encode("utf-8", "surrogatepass")
    origin = blake2b(len(source).to_bytes(8, "big"), digest_size=_HALF)
    origin.update(source)
    origin.update(letter.message_id or letter.id)
    return origin.digest(), blake2b(letter.raw_data, digest_size=_HALF).digest()


def received_letter(message: Message) -> DeadLetter:
    """Return the letter of a message that was received and is due at once.

    :param message: with the envelope that it came in.
    """
    letter = DeadLetter.from_failure(
        message, stage="handling", reason=RECEIVED, attempt=0, due=utc_now()
    )
    return letter._replace(failures=0)
