"""Dead letters: the record of a message that could not be processed, and what keeps it."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    ValuesView,
)
from functools import cache
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict, TypeVar, cast

from .__about__ import __version__
from .choice import Choice
from .errors import ConfigurationError
from .loggers import logger_of
from .messages import Delivery, Message, RawMessage, format_id
from .texts import shortened
from .tracebacks import MAX_REASON, MAX_TRACEBACK, format_traceback

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from typing_extensions import Unpack

__all__ = [
    "DLQ",
    "MAX_HISTORY",
    "MAX_LEASE",
    "MAX_REASON",
    "MAX_TRACEBACK",
    "Choice",
    "Claim",
    "DeadLetter",
    "DeadLetterStore",
    "Failure",
    "LetterFilters",
    "Stage",
    "SummaryRow",
]

logger = logger_of("missive.dead_letters")

#: Where a message failed.
Stage = Literal["decoding", "matching", "handling", "settling"]

#: A DLQ: any mutable mapping from message id to (message, reason); a plain dict serves in tests.
DLQ = MutableMapping[bytes, tuple[Any, str]]

#: How many failures of one letter a store remembers singly; the newest are kept.
MAX_HISTORY = 50

#: How long a claim may hold without being renewed, in seconds: thirty days.
MAX_LEASE = 30 * 86_400

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
    """The whole record of a message that could not be processed.

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

        :param reason: why, in words; empty means the type of the error. Of more than MAX_REASON
            characters the beginning is kept, with how many there were.
        :param error: what was raised, if anything was.
        :param handler: the name of the handler it failed in, if it came that far.
        """
        if not reason:
            reason = type(error).__name__ if error is not None else "unknown"
        reason = shortened(reason, MAX_REASON)
        return cls._of(message, message.message_id, stage, reason, error, handler)

    @classmethod
    def from_item(cls, key: object, value: Any) -> DeadLetter:
        """Make the letter that ``store[key] = (message, reason)`` asks to be kept.

        :raises TypeError: the key is not bytes, or the value is no pair of a message and a text.
        """
        if not isinstance(key, bytes):
            raise TypeError(f"a dead letter's key is bytes, the message's id; not {_kind(key)}")
        try:
            message, reason = value
        except (TypeError, ValueError):
            message, reason = cast(Any, None), ""
        if not isinstance(message, Message) or not isinstance(reason, str):
            raise TypeError(
                f"what stands in a DLQ is a pair (message, reason); not {_kind(value)}"
                + (f" of {_kind(message)} and {_kind(reason)}" if message is not None else "")
            )
        return cls._of(message, key, "handling", reason, None, None)

    @classmethod
    def _of(
        cls,
        message: Message,
        key: bytes,
        stage: Stage,
        reason: str,
        error: BaseException | None,
        handler: str | None,
    ) -> DeadLetter:
        now = utc_now()
        error_type = traceback = None
        if error is not None:
            error_type = qualified_name(type(error))
            traceback = format_traceback(error)
        try:
            headers = dict(message.headers)
        except Exception as unreadable:  # must not cost the letter
            headers = {}
            logger.warning(
                "%s has headers that cannot be read (%s), so its dead letter has none",
                format_id(message.message_id),
                type(unreadable).__name__,
            )
        # By position, in the order of the fields: half the time of twenty keywords.
        return cls(
            key,
            message.raw_data,
            reason,
            stage,
            now,
            now,
            message.message_id,
            headers,
            message.source,
            qualified_name(type(message)),
            error_type,
            traceback,
            handler,
            1,
            (Failure(now, stage, reason, error_type, handler),),
            host_name(),
        )

    def delivery(self) -> Delivery:
        """Give the message as a transport would deliver it again, with its envelope."""
        return Delivery(
            self.raw_data,
            self.message_id or self.id,
            self.headers,
            self.source,
            self.failures + 1,
            self,
        )

    def is_same_message(self, other: DeadLetter) -> bool:
        """Tell whether another letter with this id is about the same message: source and body."""
        return self.source == other.source and self.raw_data == other.raw_data

    def failed_again(self, latest: DeadLetter) -> DeadLetter:
        """Give this letter with the failure of a later one about the same message appended.

        A clock that was set back does not make the last failure earlier than those before it.
        """
        at = max(latest.last_failed, self.last_failed)
        failure = Failure(at, latest.stage, latest.reason, latest.error_type, latest.handler)
        return latest._replace(
            id=self.id,
            message_id=self.message_id,
            first_failed=self.first_failed,
            last_failed=at,
            failures=self.failures + 1,
            history=(*self.history, failure)[-MAX_HISTORY:],
            position=self.position,
        )

    def matches(self, filters: LetterFilters) -> bool:
        """Tell whether every filter matches, as ``DeadLetterStore.letters`` describes them."""
        since, until = filters.get("since"), filters.get("until")
        if since is not None and self.last_failed < since:
            return False
        if until is not None and self.last_failed >= until:
            return False
        for name in ("reason", "handler", "source", "error_type"):
            wanted = filters.get(name)
            if wanted is not None and (getattr(self, name) or "") != wanted:
                return False
        return True

    def beside_id(self, number: int = 1) -> bytes:
        """Give the id for keeping this letter beside another message's letter with the same id.

        :param number: rises for as long as the id is taken by yet another message.
        """
        from hashlib import blake2b

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
        """Give this letter with a history: its own failure, where none was given."""
        if self.history:
            return self
        failure = Failure(self.last_failed, self.stage, self.reason, self.error_type, self.handler)
        return self._replace(history=(failure,))

    def __repr__(self) -> str:
        return f"<DeadLetter {format_id(self.id)}, {self.failures} failure(s), {self.stage}>"


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"


def qualified_name(cls: type) -> str:
    """Name a class with its module."""
    if cls.__module__ == "builtins":
        return cls.__qualname__
    return f"{cls.__module__}.{cls.__qualname__}"


@cache
def host_name() -> str:
    """Give the name of this machine."""
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")


class Claim(NamedTuple):
    """The right to replay one letter until it expires.

    :ivar token: tells this claim from every other.
    :ivar failures: how often the letter had failed when it was claimed; a letter that failed again
        since is not removed by this claim.
    :ivar expires: when the right ends, in UTC.
    :ivar owner: who holds it, for people: a process and its machine; empty where that is unknown.
    """

    id: bytes
    token: str
    failures: int
    expires: datetime
    owner: str = ""


def this_process() -> str:
    """Name this process as the owner of a claim."""
    return f"process {os.getpid()} on {host_name()}"


class SummaryRow(NamedTuple):
    """How many letters share an error type, a handler and a reason, and when they were seen."""

    error_type: str | None
    handler: str | None
    reason: str
    count: int  # type: ignore[assignment]  # tuple.count gives way
    first_seen: datetime
    last_seen: datetime

    def __repr__(self) -> str:
        return f"<SummaryRow: {self.count} of {self.error_type} in {self.handler}>"


class LetterFilters(TypedDict, total=False):
    """Which letters are meant: those that every filter given matches; see ``letters``."""

    reason: str | None
    handler: str | None
    source: str | None
    error_type: str | None
    since: datetime | None
    until: datetime | None


def utc_now() -> datetime:
    """Give the time, with its time zone."""
    # Not imported by those who never see a failure: it takes 1 ms and 0.7 MB.
    from datetime import datetime, timezone

    return datetime.now(timezone.utc)


def time_before(span: timedelta) -> datetime:
    """Give the time that was so long ago; the first there is, where that was before all time."""
    from datetime import datetime, timezone

    now = utc_now()
    return now - min(span, now - datetime.min.replace(tzinfo=timezone.utc))


def check_filters(filters: LetterFilters) -> None:
    """Refuse filters that could not be compared with what stands in a letter.

    :raises ConfigurationError: there is no such filter, a moment has no time zone, or a text is none.
    """
    from datetime import datetime

    for name, value in filters.items():
        if name not in LetterFilters.__annotations__:
            raise ConfigurationError(
                f"there is no filter {name}; there are {', '.join(LetterFilters.__annotations__)}"
            )
        if value is None:
            continue
        if name in ("since", "until"):
            if not isinstance(value, datetime) or value.tzinfo is None:
                raise ConfigurationError(
                    f"the filter {name} needs a datetime with a time zone, such as"
                    f" datetime.now(timezone.utc); not {_kind(value)} without one"
                )
        elif not isinstance(value, str):
            raise ConfigurationError(f"the filter {name} needs a text, not {_kind(value)}")


def check_lease(lease: float) -> timedelta:
    """Give a lease as a span of time, or refuse one that no claim should have.

    :param lease: in seconds.
    :raises ConfigurationError: it is negative, or longer than MAX_LEASE.
    """
    from datetime import timedelta

    if not 0 <= lease <= MAX_LEASE:
        raise ConfigurationError(
            f"a lease must be 0 to {MAX_LEASE} s, not {lease!r}; renew a claim to hold it for longer"
        )
    return timedelta(seconds=lease)


S = TypeVar("S", bound="DeadLetterStore")


class DeadLetterStore(MutableMapping[bytes, tuple[Message, str]]):
    """A DLQ that keeps the whole record of each letter.

    As a mapping it goes from a letter's id to (message, reason) and behaves as a dict does, oldest
    first, with this difference: it may change while it is iterated over, which then gives every
    letter that stays exactly once, and none that came after the start. It is safe to use from
    several threads. Nothing in it is pickled, and nothing stored is executed or imported.

    Who writes a store provides the abstract methods; the mapping follows from them. A store that
    several processes share overrides ``pop``, ``popitem``, ``setdefault`` and ``clear`` too, so
    that each is one step.
    """

    #: Makes the messages that the mapping gives; None makes them RawMessage.
    message_cls: Callable[[bytes], Any] | None = None

    @classmethod
    def from_url(cls, url: str) -> DeadLetterStore:
        """Open the store that a URL describes; the class documents its form.

        :raises ConfigurationError: the class takes no URL, or cannot use this one.
        """
        raise ConfigurationError(
            f"{cls.__name__} is not opened by a URL; call {cls.__name__}(...) instead"
        )

    @classmethod
    def open_existing(cls, url: str) -> DeadLetterStore:
        """Open the store that a URL describes, and make none: for looking at the letters in it.

        A store that ``from_url`` would make where it is missing overrides this.

        :raises DeadLetterStoreRefused: there is none.
        """
        return cls.from_url(url)

    # What the author of a store writes.

    @abstractmethod
    def put_many(self, letters: Iterable[DeadLetter]) -> None:
        """Keep letters, all or none; when this returns they are as durable as the store can.

        A letter whose id, source and body are stored already adds its failure to that letter. One
        with the same id and another source or body is kept beside it, under ``beside_id``.

        :raises DeadLetterStoreError: nothing was kept.
        """

    @abstractmethod
    def restore_many(self, letters: Iterable[DeadLetter]) -> None:
        """Keep letters exactly as they are, with their history, all or none: for imports.

        A letter with the same id is replaced, and a claim on it ends. Only the position is the
        store's own.

        :raises DeadLetterStoreError: nothing was kept.
        """

    @abstractmethod
    def assign(self, letter: DeadLetter) -> None:
        """Do what ``store[id] = (message, reason)`` asks for.

        What stands under the letter's id gets its failure if it is about the same message, and is
        replaced if not, which ends a claim on it. It keeps its place either way, as in a dict.
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
        limit: int | None = None,
        after: int | None = None,
        newest_first: bool = False,
        **filters: Unpack[LetterFilters],
    ) -> Iterator[DeadLetter]:
        """Give the letters that match every filter, oldest first, in flat memory.

        :param reason: only letters with exactly this reason; likewise ``handler``, ``source`` and
            ``error_type``, where an empty text stands for those that have none.
        :param since: only letters that failed last at this moment or later; aware.
        :param until: only letters that failed last before this moment; aware.
        :param limit: at most so many.
        :param after: only what comes after the letter at this ``position``, in the order asked for.
        :param newest_first: begin with the newest.
        :raises ConfigurationError: a filter makes no sense.
        """

    @abstractmethod
    def summary(self, *, limit: int | None = None) -> list[SummaryRow]:
        """Count the letters by error type, handler and reason, the most frequent first.

        :param limit: only so many rows.
        """

    @abstractmethod
    def claim(self, id: bytes, *, lease: float = 300.0) -> Claim | None:
        """Take the right to replay a letter, for ``lease`` seconds.

        :param lease: at most MAX_LEASE.
        :returns: the claim, or None where the letter is gone or claimed by another.
        :raises ConfigurationError: the lease is negative or too long.
        """

    @abstractmethod
    def renew(self, claim: Claim, *, lease: float = 300.0) -> Claim | None:
        """Hold a claim for ``lease`` seconds from now; None where it was no longer held.

        :param lease: as in :meth:`claim`.
        """

    @abstractmethod
    def release(self, claim: Claim) -> bool:
        """Give a claim back; the letter stays. False where the claim was no longer held."""

    @abstractmethod
    def remove(self, claim: Claim) -> bool:
        """Remove a claimed letter, unless the claim was lost or the letter failed again since."""

    @abstractmethod
    def check(self) -> None:
        """Make sure that a letter could be written now.

        :raises DeadLetterStoreError: it could not.
        """

    @abstractmethod
    def close(self) -> None:
        """Release what the store holds; any number of times."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __delitem__(self, key: bytes) -> None: ...

    # What follows from that.

    def put(self, letter: DeadLetter) -> None:
        """Keep one letter, as :meth:`put_many` does."""
        self.put_many((letter,))

    def restore(self, letter: DeadLetter) -> None:
        """Keep one letter exactly as it is, as :meth:`restore_many` does."""
        self.restore_many((letter,))

    def claim_of(self, id: bytes) -> Claim | None:
        """Return the claim that is in force on a letter, to tell people who holds it until when.

        A store that cannot say returns None, as for a letter that is not claimed.
        """
        return None

    def choose(
        self, ids: Iterable[bytes] | None = None, **filters: Unpack[LetterFilters]
    ) -> Choice:
        """Choose letters as they stand now, to ask about them and then act on just these.

        :param ids: only the letters with these ids; one that is not there is passed over.
        :param filters: as in :meth:`letters`.
        :raises ConfigurationError: a filter makes no sense.
        """
        check_filters(filters)
        if ids is None:
            letters = self.letters(**filters)
            return Choice(filters, ((letter.position or 0, letter.failures) for letter in letters))
        found: dict[int, int] = {}
        for id in ids:
            try:
                letter = self.letter(id)
            except KeyError:
                continue
            if letter.matches(filters):
                found[letter.position or 0] = letter.failures
        return Choice(filters, iter(sorted(found.items())))

    def remove_chosen(self, choice: Choice) -> int:
        """Remove the letters of a choice that stand as they were chosen; return how many.

        One that failed again, was replaced or no longer matches the filters stays. Here a letter
        that a replay holds stays too; a store that can look and remove in one step overrides this.
        """
        count = 0
        for letter in self.letters(**choice.filters):
            if choice.newest is None or (letter.position or 0) > choice.newest:
                break
            claim = self.claim(letter.id) if letter in choice else None
            if claim is None:
                continue
            try:
                unchanged = self.letter(letter.id) in choice
            except KeyError:
                continue
            if unchanged and self.remove(claim):
                count += 1
            else:
                self.release(claim)
        return count

    def purge(
        self,
        *,
        older_than: timedelta,
        reason: str | None = None,
        handler: str | None = None,
        source: str | None = None,
        error_type: str | None = None,
    ) -> int:
        """Remove the letters whose last failure is longer ago than this; return how many.

        :param older_than: a span of zero removes them whatever their age.
        :param reason: only those with this reason, likewise the others; as in ``letters``.
        """
        return self.remove_chosen(
            self.choose(
                reason=reason,
                handler=handler,
                source=source,
                error_type=error_type,
                until=time_before(older_than) if older_than else None,
            )
        )

    def oldest(self) -> tuple[Message, str, datetime]:
        """Give the letter that came first: its message, its reason, and when it first failed (UTC).

        :raises KeyError: the store is empty.
        """
        for letter in self.letters(limit=1):
            return self.build(letter), letter.reason, letter.first_failed
        raise KeyError("the store is empty")

    def build(self, letter: DeadLetter) -> Message:
        """Make the message of a letter, with its envelope.

        A message class that fails does not make the letter unreadable: it is a RawMessage then.
        """
        if self.message_cls is not None:
            try:
                message = self.message_cls(letter.raw_data)
                if isinstance(message, Message):
                    message.put_in(letter.delivery())
                    return message
            except Exception as error:
                logger.debug("%s cannot be built: %s", letter, type(error).__name__)
        raw = RawMessage(letter.raw_data)
        raw.put_in(letter.delivery())
        return raw

    def __getitem__(self, key: bytes) -> tuple[Message, str]:
        letter = self.letter(check_key(key))
        return self.build(letter), letter.reason

    def __contains__(self, key: object) -> bool:
        try:
            self.letter(check_key(key))
        except KeyError:
            return False
        return True

    def __setitem__(self, key: bytes, value: tuple[Message, str]) -> None:
        self.assign(DeadLetter.from_item(key, value))

    def __iter__(self) -> Iterator[bytes]:
        for letter in self.letters():
            yield letter.id

    def __reversed__(self) -> Iterator[bytes]:
        for letter in self.letters(newest_first=True):
            yield letter.id

    def items(self) -> ItemsView[bytes, tuple[Message, str]]:
        """Give the items, oldest first, as a dict's view."""
        return _Items(self)

    def values(self) -> ValuesView[tuple[Message, str]]:
        """Give the values, oldest first, as a dict's view."""
        return _Values(self)

    def popitem(self) -> tuple[bytes, tuple[Message, str]]:
        """Remove the newest letter and give it, as a dict does.

        :raises KeyError: the store is empty.
        """
        for letter in self.letters(newest_first=True, limit=1):
            del self[letter.id]
            return letter.id, (self.build(letter), letter.reason)
        raise KeyError("the store is empty")

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Mapping):
            return NotImplemented
        them = cast("Mapping[object, object]", other)
        return len(self) == len(them) and dict(self.items()) == dict(them.items())

    __hash__ = None  # type: ignore[assignment]

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


def check_key(key: object) -> bytes:
    """Give a key back, or refuse it as a dict does one that it lacks, or that cannot be hashed.

    :raises KeyError: it is not bytes, so no letter has it.
    :raises TypeError: it cannot be hashed.
    """
    if isinstance(key, bytes):
        return key
    hash(key)
    raise KeyError(key)


class _Items(ItemsView[bytes, tuple[Message, str]]):
    """The items of a store, from its pages instead of one look-up for each key."""

    _mapping: DeadLetterStore

    def __init__(self, store: DeadLetterStore) -> None:
        super().__init__(store)

    def __iter__(self) -> Iterator[tuple[bytes, tuple[Message, str]]]:
        store = self._mapping
        for letter in store.letters():
            yield letter.id, (store.build(letter), letter.reason)


class _Values(ValuesView[tuple[Message, str]]):
    """The values of a store, likewise."""

    _mapping: DeadLetterStore

    def __init__(self, store: DeadLetterStore) -> None:
        super().__init__(store)

    def __iter__(self) -> Iterator[tuple[Message, str]]:
        store = self._mapping
        for letter in store.letters():
            yield store.build(letter), letter.reason
