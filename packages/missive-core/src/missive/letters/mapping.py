"""A store as a mapping: from a letter's id to its message and reason, as the first DLQs were."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import (
    Callable,
    ItemsView,
    Iterator,
    Mapping,
    MutableMapping,
    ValuesView,
)
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from ..message import Message, RawMessage
from .filters import LetterFilters
from .letter import DeadLetter

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger("missive.letters.mapping")

_MISSING: Any = object()
T = TypeVar("T")


class LetterMapping(MutableMapping[bytes, tuple[Message, str]]):
    """Dead letters as a dict has them: from an id to (message, reason), the oldest first.

    Deferred messages are not in it. It may change while it is iterated over: every letter that
    stays is given exactly once, and none whose message first failed after the start. What is not
    abstract here follows from the letters. A store that several processes share overrides ``take``,
    ``take_newest``, ``setdefault`` and ``clear``, so that each is one step.
    """

    #: Makes the messages that the mapping gives; None makes them RawMessage.
    message_cls: Callable[[bytes], Any] | None = None

    @abstractmethod
    def assign(self, letter: DeadLetter) -> None:
        """Do what ``store[id] = (message, reason)`` asks for.

        What is stored under the letter's id gets its failure if it is about the same message, and
        is replaced if not, which ends a claim on it. It keeps its place either way, as in a dict.
        A deferred message becomes a dead letter.
        """

    @abstractmethod
    def letter(self, id: bytes) -> DeadLetter:
        """Return the whole record of a letter, dead or deferred.

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
        """Return the letters that match every filter, the oldest first, in flat memory.

        :param filters: see :class:`LetterFilters`; only dead letters unless ``state`` is given.
        :param limit: at most this many.
        :param after: only what comes after the letter at this ``position``, in the order asked for.
        :param newest_first: begin with the newest.
        :raises ConfigurationError: a filter makes no sense.
        """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __delitem__(self, key: bytes) -> None: ...

    def oldest(self) -> tuple[Message, str, datetime]:
        """Return the letter that came first: message, reason, and when it first failed (UTC).

        :raises KeyError: there is no dead letter.
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
        if letter.state != "dead":
            raise KeyError(key)
        return self.build(letter), letter.reason

    def __contains__(self, key: object) -> bool:
        try:
            return self.letter(check_key(key)).state == "dead"
        except KeyError:
            return False

    def __setitem__(self, key: bytes, value: tuple[Message, str]) -> None:
        self.assign(DeadLetter.from_item(key, value))

    def __iter__(self) -> Iterator[bytes]:
        for letter in self.letters():
            yield letter.id

    def __reversed__(self) -> Iterator[bytes]:
        for letter in self.letters(newest_first=True):
            yield letter.id

    def items(self) -> ItemsView[bytes, tuple[Message, str]]:
        """Return the items, the oldest first, as a dict's view."""
        return _Items(self)

    def values(self) -> ValuesView[tuple[Message, str]]:
        """Return the values, the oldest first, as a dict's view."""
        return _Values(self)

    def take(self, key: bytes) -> DeadLetter | None:
        """Remove a dead letter and return it; None where there is none."""
        try:
            letter = self.letter(key)
            if letter.state == "dead":
                del self[key]
                return letter
        except KeyError:
            pass
        return None

    def take_newest(self) -> DeadLetter | None:
        """Remove the newest dead letter and return it; None where there is none."""
        for letter in self.letters(newest_first=True):
            if self.take(letter.id) is not None:
                return letter
        return None

    @overload
    def pop(self, key: bytes) -> tuple[Message, str]: ...
    @overload
    def pop(self, key: bytes, default: tuple[Message, str]) -> tuple[Message, str]: ...
    @overload
    def pop(self, key: bytes, default: T) -> tuple[Message, str] | T: ...

    def pop(self, key: bytes, default: Any = _MISSING) -> Any:
        """Remove a dead letter and return its message and reason, or the default.

        :raises KeyError: there is none, and no default either.
        """
        try:
            letter = self.take(check_key(key))
        except KeyError:
            letter = None
        if letter is not None:
            return self.build(letter), letter.reason
        if default is _MISSING:
            raise KeyError(key)
        return default

    def popitem(self) -> tuple[bytes, tuple[Message, str]]:
        """Remove the newest dead letter and return it, as a dict does.

        :raises KeyError: there is no dead letter.
        """
        letter = self.take_newest()
        if letter is None:
            raise KeyError("the store is empty")
        return letter.id, (self.build(letter), letter.reason)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Mapping):
            return NotImplemented
        them = cast("Mapping[object, object]", other)
        return len(self) == len(them) and dict(self.items()) == dict(them.items())

    __hash__ = None  # type: ignore[assignment]


def check_key(key: object) -> bytes:
    """Return a key, or refuse it as a dict does one that it lacks, or that cannot be hashed.

    :raises KeyError: it is not bytes, so no letter has it.
    :raises TypeError: it cannot be hashed.
    """
    if isinstance(key, bytes):
        return key
    hash(key)
    raise KeyError(key)


class _Items(ItemsView[bytes, tuple[Message, str]]):
    """The items of a store, from its pages instead of one look-up for each key."""

    _mapping: LetterMapping

    def __iter__(self) -> Iterator[tuple[bytes, tuple[Message, str]]]:
        store = self._mapping
        for letter in store.letters():
            yield letter.id, (store.build(letter), letter.reason)


class _Values(ValuesView[tuple[Message, str]]):
    """The values of a store, likewise."""

    _mapping: LetterMapping

    def __iter__(self) -> Iterator[tuple[Message, str]]:
        store = self._mapping
        for letter in store.letters():
            yield store.build(letter), letter.reason
