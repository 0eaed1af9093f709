"""Dead letters: the record of a message that could not be processed, and who keeps it."""

from __future__ import annotations

import os
import traceback
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any, Literal

from .__about__ import __version__
from .errors import ConfigurationError
from .messages import Delivery, Message, format_id

#: Where a message failed.
Stage = Literal["decoding", "matching", "handling", "settling"]

#: A DLQ: any mutable mapping from message id to (message, reason); a plain dict serves in tests.
DLQ = MutableMapping[bytes, tuple[Any, str]]

#: The longest traceback that a dead letter carries, in characters; the end is kept.
MAX_TRACEBACK = 65_536


@dataclass(frozen=True)
class Failure:
    """One time that a message failed.

    :ivar at: when, in UTC.
    """

    at: datetime
    stage: Stage
    reason: str = field(repr=False)
    error_type: str | None = None
    handler: str | None = None


@dataclass(frozen=True)
class DeadLetter:
    """The whole record of a message that could not be processed.

    Its repr leaves out whatever may hold a message's content.

    :ivar id: the key in the store: the message's id, or that id with a digest where another
        message with the same id was there before.
    :ivar message_class: the qualified name of the message's class; never imported.
    :ivar error_type: the qualified name of the exception's class.
    :ivar traceback: the exception's traceback as text, capped.
    :ivar first_failed: when it failed for the first time, in UTC.
    :ivar last_failed: when it failed last, in UTC.
    :ivar failures: how often it failed.
    :ivar history: the failures, oldest first; stores bound how many they keep.
    :ivar host: the name of the machine it failed on last.
    :ivar version: the version of missive-core that wrote it last.
    :ivar position: the place in its store, rising in the order of first arrival; None until stored.
    """

    id: bytes
    raw_data: bytes = field(repr=False)
    reason: str = field(repr=False)
    stage: Stage
    first_failed: datetime
    last_failed: datetime
    message_id: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    source: str | None = None
    message_class: str | None = None
    error_type: str | None = None
    traceback: str | None = field(default=None, repr=False)
    handler: str | None = None
    failures: int = 1
    history: tuple[Failure, ...] = field(default=(), repr=False)
    host: str = ""
    version: str = __version__
    position: int | None = None

    @classmethod
    def from_failure(
        cls,
        message: Message,
        *,
        stage: Stage,
        reason: str,
        error: BaseException | None = None,
        handler: str | None = None,
    ) -> DeadLetter:
        """Make the letter of a message that has just failed.

        :param reason: why, in words; empty means the type of the error.
        :param error: what was raised, if anything was.
        :param handler: the name of the handler it failed in, if it came that far.
        """
        now = datetime.now(timezone.utc)
        error_type = qualified_name(type(error)) if error is not None else None
        reason = reason or (type(error).__name__ if error is not None else "unknown")
        return cls(
            id=message.message_id,
            message_id=message.message_id,
            raw_data=message.raw_data,
            headers=dict(message.headers),
            source=message.source,
            message_class=qualified_name(type(message)),
            stage=stage,
            reason=reason,
            error_type=error_type,
            traceback=format_traceback(error) if error is not None else None,
            handler=handler,
            first_failed=now,
            last_failed=now,
            history=(Failure(now, stage, reason, error_type, handler),),
            host=host_name(),
        )

    def delivery(self) -> Delivery:
        """Give the message as a transport would deliver it again, with its envelope."""
        return Delivery(
            self.raw_data,
            message_id=self.message_id or self.id,
            headers=self.headers,
            source=self.source,
        )

    def __str__(self) -> str:
        return f"<DeadLetter {format_id(self.id)}, {self.failures} failure(s), {self.stage}>"


def qualified_name(cls: type) -> str:
    """Name a class with its module."""
    if cls.__module__ == "builtins":
        return cls.__qualname__
    return f"{cls.__module__}.{cls.__qualname__}"


def format_traceback(error: BaseException) -> str | None:
    """Give an exception's traceback as text, of at most MAX_TRACEBACK characters; None without one.

    The end is kept: there stands what was raised last.
    """
    if error.__traceback__ is None:
        return None
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return text[-MAX_TRACEBACK:]


@cache
def host_name() -> str:
    """Give the name of this machine."""
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")


@dataclass(frozen=True)
class Claim:
    """The right to replay one letter until it expires.

    :ivar failures: how often the letter had failed when it was claimed; a letter that failed again
        since is not removed by this claim.
    """

    id: bytes
    token: str
    failures: int
    expires: datetime


@dataclass(frozen=True)
class SummaryRow:
    """How many letters share an error type, a handler and a reason, and when they were seen."""

    error_type: str | None
    handler: str | None
    reason: str = field(repr=False)
    count: int
    first_seen: datetime
    last_seen: datetime


class DeadLetterStore(MutableMapping[bytes, tuple[Message, str]]):
    """A DLQ that keeps the whole record of each letter.

    As a mapping it goes from a letter's id to (message, reason), oldest first. It is safe to use
    from several threads. Nothing in it is pickled, and nothing stored is executed or imported.
    """

    #: Makes the messages that the mapping gives; None makes them RawMessage.
    message_cls: Callable[[bytes], Any] | None = None

    def put(self, letter: DeadLetter) -> None:
        """Keep one letter, as :meth:`put_many` does."""
        self.put_many((letter,))

    @classmethod
    def from_url(cls, url: str) -> DeadLetterStore:
        """Open the store that a URL describes; the class documents its form.

        :raises ConfigurationError: the class takes no URL, or cannot use this one.
        """
        raise ConfigurationError(
            f"{cls.__name__} is not opened by a URL; call {cls.__name__}(...) instead"
        )

    @abstractmethod
    def put_many(self, letters: Iterable[DeadLetter]) -> None:
        """Keep letters, all or none; when this returns they are as durable as the store can.

        A letter whose id, source and body are stored already adds its failure to that letter. One
        with the same id and another source or body is kept beside it, under the id and a digest.

        :raises DeadLetterStoreError: nothing was kept.
        """

    @abstractmethod
    def letter(self, id: bytes) -> DeadLetter:
        """Give the whole record of a letter.

        :raises KeyError: there is none.
        """

    @abstractmethod
    def letters(
        self,
        *,
        reason: str | None = None,
        handler: str | None = None,
        source: str | None = None,
        error_type: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        after: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[DeadLetter]:
        """Give the letters that match every filter, oldest first, in flat memory.

        :param since: only letters that failed last at this moment or later; aware.
        :param until: only letters that failed last before this moment; aware.
        :param limit: at most so many.
        :param after: only what comes after the letter at this ``position``, in the order asked for.
        """

    @abstractmethod
    def summary(self) -> list[SummaryRow]:
        """Count the letters by error type, handler and reason, the most frequent first."""

    @abstractmethod
    def claim(self, id: bytes, *, lease: float = 300.0) -> Claim | None:
        """Take the right to replay a letter, for ``lease`` seconds.

        :returns: the claim, or None where the letter is gone or claimed by another.
        """

    @abstractmethod
    def release(self, claim: Claim) -> bool:
        """Give a claim back; the letter stays. False where the claim was no longer held."""

    @abstractmethod
    def remove(self, claim: Claim) -> bool:
        """Remove a claimed letter, unless the claim was lost or the letter failed again since."""

    @abstractmethod
    def restore(self, letter: DeadLetter) -> None:
        """Keep a letter exactly as it is, for imports; one with its id is replaced."""

    @abstractmethod
    def purge(self, *, older_than: timedelta) -> int:
        """Remove the letters whose last failure is longer ago than this; give how many."""

    @abstractmethod
    def check(self) -> None:
        """Make sure that a letter could be written now.

        :raises DeadLetterStoreError: it could not.
        """

    @abstractmethod
    def close(self) -> None:
        """Release what the store holds; any number of times."""
