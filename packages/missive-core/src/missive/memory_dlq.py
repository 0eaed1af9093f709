"""The reference store: dead letters in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, overload

from .dead_letters import (
    Choice,
    Claim,
    DeadLetter,
    DeadLetterStore,
    LetterFilters,
    SummaryRow,
    check_filters,
    check_lease,
    this_process,
    utc_now,
)
from .errors import ConfigurationError
from .messages import Message

if TYPE_CHECKING:
    from datetime import datetime

    from typing_extensions import Unpack

_MISSING: Any = object()
T = TypeVar("T")


class MemoryDLQ(DeadLetterStore):
    """A dead letter store without a disk: it ends with the process.

    It does all that a store does, so that tests can stand on it, and shows the author of another
    what is asked of one.

    :param message_cls: makes the messages that the mapping gives; RawMessage unless given.
    """

    def __init__(self, *, message_cls: Callable[[bytes], Any] | None = None) -> None:
        self.message_cls = message_cls
        self._lock = threading.RLock()
        # A dict keeps the order of first arrival, and a replaced letter its place: as positions do.
        self._letters: dict[bytes, DeadLetter] = {}
        self._claims: dict[bytes, Claim] = {}
        self._last_position = 0

    @classmethod
    def from_url(cls, url: str) -> MemoryDLQ:
        """Make an empty store from ``memory:``.

        :raises ConfigurationError: something follows the scheme.
        """
        if url.partition(":")[2] not in ("", "//"):
            raise ConfigurationError(f"a store in memory takes no address; give memory:, not {url}")
        return cls()

    def put_many(self, letters: Iterable[DeadLetter]) -> None:
        """Keep letters, all or none."""
        letters = list(letters)
        with self._lock:
            for letter in letters:
                self._put(letter)

    def _put(self, letter: DeadLetter) -> None:
        # The id itself, then the ids beside it: the first that is free or about the same message.
        # One that is about the same message goes before one that is free.
        id, free, number = letter.id, None, 0
        while True:
            stored = self._letters.get(id)
            if stored is None:
                free = id if free is None else free
                if number:
                    break
            elif stored.is_same_message(letter):
                self._letters[id] = stored.failed_again(letter)
                return
            number += 1
            id = letter.beside_id(number)
        self._keep(letter._replace(id=free))

    def _keep(self, letter: DeadLetter) -> None:
        """Keep a letter as it is, in the place of the one with its id, or as the newest."""
        stored = self._letters.get(letter.id)
        if stored is None:
            self._last_position += 1
        position = self._last_position if stored is None else stored.position
        self._letters[letter.id] = letter.with_history()._replace(position=position)
        self._claims.pop(letter.id, None)  # it was on the letter that is replaced

    def restore_many(self, letters: Iterable[DeadLetter]) -> None:
        """Keep letters exactly as they are, all or none."""
        letters = list(letters)
        with self._lock:
            for letter in letters:
                self._keep(letter)

    def assign(self, letter: DeadLetter) -> None:
        """Keep a letter under its id, whatever stood there."""
        with self._lock:
            stored = self._letters.get(letter.id)
            if stored is not None and stored.is_same_message(letter):
                letter = stored.failed_again(letter)._replace(message_id=letter.message_id)
                self._letters[letter.id] = letter
            else:
                self._keep(letter)

    def letter(self, id: bytes) -> DeadLetter:
        """Give the whole record of a letter.

        :raises KeyError: there is none.
        """
        return self._letters[id]

    def letters(
        self,
        *,
        limit: int | None = None,
        after: int | None = None,
        newest_first: bool = False,
        **filters: Unpack[LetterFilters],
    ) -> Iterator[DeadLetter]:
        """Give the letters that match every filter, oldest first."""
        check_filters(filters)
        return self._walk(limit, after, newest_first, filters)

    def _walk(
        self, limit: int | None, after: int | None, newest_first: bool, filters: LetterFilters
    ) -> Iterator[DeadLetter]:
        with self._lock:
            places = [(letter.position or 0, id) for id, letter in self._letters.items()]
        if newest_first:
            places.reverse()
        left = limit
        for position, id in places:
            if left is not None and left <= 0:
                return
            if after is not None and (position >= after if newest_first else position <= after):
                continue
            letter = self._letters.get(id)
            if letter is None or letter.position != position or not letter.matches(filters):
                continue
            if left is not None:
                left -= 1
            yield letter

    def summary(self, *, limit: int | None = None) -> list[SummaryRow]:
        """Count the letters by error type, handler and reason, the most frequent first."""
        rows: dict[tuple[str | None, str | None, str], tuple[int, datetime, datetime]] = {}
        for letter in self.letters():
            key = (letter.error_type, letter.handler, letter.reason)
            first, last = letter.first_failed, letter.last_failed
            count, first_seen, last_seen = rows.get(key, (0, first, last))
            rows[key] = (count + 1, min(first_seen, first), max(last_seen, last))
        ordered = sorted(rows.items(), key=lambda row: -row[1][0])
        shown = len(ordered) if limit is None else max(limit, 0)
        return [SummaryRow(*key, *seen) for key, seen in ordered[:shown]]

    def claim(self, id: bytes, *, lease: float = 300.0) -> Claim | None:
        """Take the right to replay a letter; None where it is gone or claimed by another."""
        import secrets

        span, now = check_lease(lease), utc_now()
        with self._lock:
            letter = self._letters.get(id)
            former = self._claims.get(id)
            if letter is None or (former is not None and former.expires > now):
                return None
            claim = Claim(id, secrets.token_hex(16), letter.failures, now + span, this_process())
            self._claims[id] = claim
            return claim

    def renew(self, claim: Claim, *, lease: float = 300.0) -> Claim | None:
        """Hold a claim for longer; None where it was no longer held."""
        span = check_lease(lease)
        with self._lock:
            if not self._holds(claim):
                return None
            renewed = self._claims[claim.id] = claim._replace(expires=utc_now() + span)
            return renewed

    def claim_of(self, id: bytes) -> Claim | None:
        """Return the claim that is in force on a letter, or None."""
        with self._lock:
            claim = self._claims.get(id)
        return claim if claim is not None and claim.expires > utc_now() else None

    def release(self, claim: Claim) -> bool:
        """Give a claim back; the letter stays."""
        with self._lock:
            held = self._holds(claim)
            if held:
                del self._claims[claim.id]
            return held

    def remove(self, claim: Claim) -> bool:
        """Remove a claimed letter, unless the claim was lost or the letter failed again since."""
        with self._lock:
            removable = self._holds(claim) and self._letters[claim.id].failures == claim.failures
            if removable:
                del self[claim.id]
            return removable

    def _holds(self, claim: Claim) -> bool:
        current = self._claims.get(claim.id)
        return current is not None and current.token == claim.token

    def remove_chosen(self, choice: Choice) -> int:
        """Remove the letters of a choice that stand as they were chosen; return how many."""
        with self._lock:
            chosen = [letter.id for letter in self._letters.values() if letter in choice]
            for id in chosen:
                del self[id]
        return len(chosen)

    def check(self) -> None:
        """Do nothing: there is always room."""

    def close(self) -> None:
        """Do nothing: the letters stay for as long as the store does."""

    def __len__(self) -> int:
        return len(self._letters)

    def __contains__(self, key: object) -> bool:
        return key in self._letters

    def __delitem__(self, key: bytes) -> None:
        with self._lock:
            del self._letters[key]
            self._claims.pop(key, None)

    @overload
    def pop(self, key: bytes) -> tuple[Message, str]: ...
    @overload
    def pop(self, key: bytes, default: tuple[Message, str]) -> tuple[Message, str]: ...
    @overload
    def pop(self, key: bytes, default: T) -> tuple[Message, str] | T: ...

    def pop(self, key: bytes, default: Any = _MISSING) -> Any:
        """Remove a letter and give its message and reason, or the default.

        :raises KeyError: there is none, and no default either.
        """
        with self._lock:
            return super().pop(key) if default is _MISSING else super().pop(key, default)

    def popitem(self) -> tuple[bytes, tuple[Message, str]]:
        """Remove the newest letter and give it.

        :raises KeyError: the store is empty.
        """
        with self._lock:
            return super().popitem()

    def setdefault(self, key: bytes, default: Any = None) -> Any:
        """Give what stands under a key, or put the default there."""
        with self._lock:
            return super().setdefault(key, default)

    def clear(self) -> None:
        """Remove every letter."""
        with self._lock:
            self._letters.clear()
            self._claims.clear()
