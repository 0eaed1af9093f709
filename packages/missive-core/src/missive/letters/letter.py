"""Letters: the whole record of a message that failed, dead or deferred to another try."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import cache
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, cast

from ..__about__ import __version__
from ..delivery import Delivery, Stage
from ..ids import format_id
from ..message import Message
from .tracebacks import MAX_REASON, format_traceback, shortened

logger = logging.getLogger("missive.letters.letter")

#: What a letter is: given up, or waiting for another try.
LetterState = Literal["dead", "deferred"]

#: How many failures of one letter a store remembers singly; the newest are kept.
MAX_HISTORY = 50

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Failure(NamedTuple):
    """One time that a message failed.

    :ivar at: when, in UTC.
    :ivar error_type: the qualified name of the exception's class.
    """

    at: datetime
    stage: Stage
    reason: str
    error_type: str | None = None
    handler: str | None = None

    def __repr__(self) -> str:
        return f"<Failure at {self.at.isoformat()}, {self.stage}, {self.error_type}>"


class DeadLetter(NamedTuple):
    """The whole record of a message that could not be processed, or that waits for another attempt.

    It cannot be changed; ``letter._replace(reason=...)`` makes another. Neither repr nor str shows
    anything that may hold a message's content.

    :ivar id: the key in the store: the message's id, or that id with a digest where another
        message with the same id was there before.
    :ivar reason: why it failed last, in words.
    :ivar stage: where it failed last.
    :ivar first_failed: when it failed for the first time, in UTC.
    :ivar last_failed: when it failed last, in UTC.
    :ivar message_id: the message's own id.
    :ivar headers: the headers of its envelope.
    :ivar source: where it came from.
    :ivar message_class: the qualified name of the message's class; never imported.
    :ivar error_type: the qualified name of the exception's class.
    :ivar traceback: the exception's traceback as text, capped.
    :ivar handler: the name of the handler it failed in, if it came that far.
    :ivar failures: how often it failed.
    :ivar history: the failures, oldest first, the last one included; at most MAX_HISTORY.
    :ivar host: the name of the machine it failed on last.
    :ivar version: the version of missive-core that wrote it last.
    :ivar position: the place in its store, rising in the order of first arrival and never used
        twice; None until stored.
    :ivar state: ``"dead"``, or ``"deferred"``: to be handled again.
    :ivar due: when a deferred message is due again, in UTC; None for a dead letter.
    :ivar attempt: how many tries were made so far.
    """

    id: bytes
    raw_data: bytes
    reason: str
    stage: Stage
    first_failed: datetime
    last_failed: datetime
    message_id: bytes = b""
    headers: Mapping[str, str] = _NO_HEADERS
    source: str | None = None
    message_class: str | None = None
    error_type: str | None = None
    traceback: str | None = None
    handler: str | None = None
    failures: int = 1
    history: tuple[Failure, ...] = ()
    host: str = ""
    version: str = __version__
    position: int | None = None
    state: LetterState = "dead"
    due: datetime | None = None
    attempt: int = 1

    @classmethod
    def from_failure(
        cls,
        message: Message,
        *,
        stage: Stage,
        reason: str,
        error: BaseException | None = None,
        handler: str | None = None,
        attempt: int = 1,
        due: datetime | None = None,
    ) -> DeadLetter:
        """Make the letter of a message that has just failed.

        :param reason: why, in words; empty means the type of the error. Of more than MAX_REASON
            characters the beginning is kept, with how many there were.
        :param error: what was raised, if anything was.
        :param handler: the name of the handler it failed in, if it came that far.
        :param attempt: how many tries were made, this one included.
        :param due: when to handle the message again, aware; makes the letter a deferred one.
        """
        if not reason:
            reason = type(error).__name__ if error is not None else "unknown"
        reason = shortened(reason, MAX_REASON)
        return cls._of(message, message.message_id, stage, reason, error, handler, attempt, due)

    @classmethod
    def from_item(cls, key: object, value: Any) -> DeadLetter:
        """Make the letter that ``store[key] = (message, reason)`` asks to keep.

        :raises TypeError: the key is not bytes, or the value is not a pair of a message and a text.
        """
        if not isinstance(key, bytes):
            raise TypeError(f"a dead letter's key is bytes, the message's id; not {_kind(key)}")
        try:
            message, reason = value
        except (TypeError, ValueError):
            message, reason = cast(Any, None), ""
        if not isinstance(message, Message) or not isinstance(reason, str):
            raise TypeError(
                f"a DLQ holds pairs (message, reason); not {_kind(value)}"
                + (f" of {_kind(message)} and {_kind(reason)}" if message is not None else "")
            )
        return cls._of(message, key, "handling", reason, None, None, 1, None)

    @classmethod
    def _of(
        cls,
        message: Message,
        key: bytes,
        stage: Stage,
        reason: str,
        error: BaseException | None,
        handler: str | None,
        attempt: int,
        due: datetime | None,
    ) -> DeadLetter:
        now = utc_now()
        error_type = traceback = None
        if error is not None:
            error_type = qualified_name(type(error))
            traceback = format_traceback(error)
        # By position, in the order of the fields: half the time of keywords (benchmarks/dlq.py).
        return cls(
            key,
            message.raw_data,
            reason,
            stage,
            now,
            now,
            message.message_id,
            _headers_of(message),
            message.source,
            qualified_name(type(message)),
            error_type,
            traceback,
            handler,
            1,
            (Failure(now, stage, reason, error_type, handler),),
            host_name(),
            __version__,
            None,
            "dead" if due is None else "deferred",
            due,
            attempt,
        )

    def delivery(self) -> Delivery:
        """Return the message as a transport would deliver it again, with its envelope."""
        id = self.message_id or self.id
        again = Delivery(self.raw_data, id, self.headers, self.source, self.failures + 1, self)
        if self.state == "deferred":
            again.delivery_count = again.attempt = self.attempt + 1
        return again

    def is_same_message(self, other: DeadLetter) -> bool:
        """Return whether another letter with this id is about the same message: source and body."""
        return self.source == other.source and self.raw_data == other.raw_data

    def failed_again(self, latest: DeadLetter) -> DeadLetter:
        """Return a later letter about the same message, with the history of both.

        State, due time and attempts are the later one's. A clock that was set back does not make
        the last failure earlier than those before it.
        """
        at = max(latest.last_failed, self.last_failed)
        return latest._replace(
            id=self.id,
            message_id=self.message_id,
            first_failed=self.first_failed,
            last_failed=at,
            failures=self.failures + 1,
            history=(*self.history, latest._failure(at))[-MAX_HISTORY:],
            position=self.position,
        )

    def given_up(self) -> DeadLetter:
        """Return this letter as a dead one, whatever its state."""
        if self.state == "dead" and self.due is None:
            return self
        return self._replace(state="dead", due=None)

    def beside_id(self, number: int = 1) -> bytes:
        """Return the id for keeping this letter beside another message's letter with the same id.

        :param number: rises for as long as the id is taken by yet another message.
        """
        source = (
            b"" if self.source is None else b"\0" + self.source.encode("utf-8", "surrogatepass")
        )
        digest = blake2b(len(source).to_bytes(8, "big") + source, digest_size=16)
        digest.update(self.raw_data)
        return b"%b#%b%b" % (
            self.id,
            digest.hexdigest().encode(),
            b"" if number == 1 else b"-%d" % number,
        )

    def with_history(self) -> DeadLetter:
        """Return this letter with a history: its own failure, where it has none."""
        if self.history:
            return self
        return self._replace(history=(self._failure(self.last_failed),))

    def _failure(self, at: datetime) -> Failure:
        return Failure(at, self.stage, self.reason, self.error_type, self.handler)

    def __repr__(self) -> str:
        kind = "DeadLetter" if self.state == "dead" else "Deferred letter"
        return f"<{kind} {format_id(self.id)}, {self.failures} failure(s), {self.stage}>"


def _headers_of(message: Message) -> dict[str, str]:
    try:
        return dict(message.headers)
    except Exception as unreadable:  # must not cost the letter
        logger.warning(
            "%s has headers that cannot be read (%s), so its letter has none",
            format_id(message.message_id),
            type(unreadable).__name__,
        )
        return {}


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"


def qualified_name(cls: type) -> str:
    """Return the name of a class with its module."""
    if cls.__module__ == "builtins":
        return cls.__qualname__
    return f"{cls.__module__}.{cls.__qualname__}"


@cache
def host_name() -> str:
    """Return the name of this machine."""
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")


def utc_now() -> datetime:
    """Return the time, with its time zone."""
    return datetime.now(timezone.utc)
