"""The reference store: letters in memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from .choice import Choice
from .claim import Claim, check_lease
from .due import check_deferred, check_restored
from .filters import LetterFilters, check_filters, matches
from .inbox import InboxStore, Receipt
from .letter import DeadLetter, LetterState, utc_now
from .mapping import check_key
from .shelf import Shelf
from .summary import Counts, SummaryRow, summarize

if TYPE_CHECKING:
    from typing_extensions import Unpack

# One lock for all stores, so that a fork can wait for it: a child finds every store whole.
_lock = threading.RLock()
if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )


class MemoryDLQ(InboxStore):
    """A store without a disk: its dead letters and deferred messages end with the process.

    It does all that a store does, so that tests can stand on it, and shows the author of another
    what is asked of one.

    :param message_cls: the class of the messages that the mapping returns; RawMessage by default.
    """

    outlives_process = False

    def __init__(self, *, message_cls: Callable[[bytes], Any] | None = None) -> None:
        self.message_cls = message_cls
        self._lock = _lock
        self._shelf = Shelf()

    @classmethod
    def from_url(cls, url: str) -> MemoryDLQ:
        """Make an empty store from ``memory:``.

        :raises ConfigurationError: something follows the scheme.
        """
        if url.partition(":")[2] not in ("", "//"):
            raise ConfigurationError(f"a store in memory takes no address; give memory:, not {url}")
        return cls()

    # The dead letters as a dict has them, each operation one step.

    def __len__(self) -> int:
        return self._shelf.dead

    def __delitem__(self, key: bytes) -> None:
        with self._lock:
            self._dead(key)
            self._shelf.delete(key)

    def _dead(self, key: bytes) -> DeadLetter:
        letter = self._shelf.letters[check_key(key)]
        if letter.state != "dead":
            raise KeyError(key)
        return letter

    def take(self, key: bytes) -> DeadLetter | None:
        """Remove a dead letter and return it; None where there is none."""
        with self._lock:
            return super().take(key)

    def take_newest(self) -> DeadLetter | None:
        """Remove the newest dead letter and return it; None where there is none."""
        with self._lock:
            return super().take_newest()

    def setdefault(self, key: bytes, default: Any = None) -> Any:
        """Return what is stored under a key, or store the default there."""
        with self._lock:
            return super().setdefault(key, default)

    def clear(self) -> None:
        """Remove every dead letter."""
        with self._lock:
            for letter in list(self.letters()):
                self._shelf.delete(letter.id)

    # Keeping letters.

    def put_many(self, letters: Iterable[DeadLetter]) -> None:
        """Keep dead letters, all or none."""
        letters = [letter.given_up() for letter in letters]
        with self._lock:
            for letter in letters:
                self._shelf.add(letter)

    def defer(self, letters: Iterable[DeadLetter]) -> None:
        """Keep messages until they are due, all or none."""
        letters = check_deferred(letters)
        with self._lock:
            for letter in letters:
                self._shelf.add(letter)

    def receive(self, letters: Iterable[DeadLetter]) -> list[Receipt]:
        """Keep messages of an inbox that were not received before, all or none."""
        letters = check_deferred(letters)
        with self._lock:
            return [self._shelf.receive(letter) for letter in letters]

    def forget_done(self, before: datetime, *, limit: int = 1000) -> int:
        """Forget received messages that were done before a time; return how many."""
        with self._lock:
            return self._shelf.received.forget(before, limit)

    def restore_many(self, letters: Iterable[DeadLetter]) -> None:
        """Keep letters exactly as they are, all or none."""
        letters = check_restored(letters)
        with self._lock:
            for letter in letters:
                self._shelf.keep(letter)

    def assign(self, letter: DeadLetter) -> None:
        """Keep a dead letter under its id, whatever is stored there."""
        with self._lock:
            stored = self._shelf.letters.get(letter.id)
            if stored is not None and stored.is_same_message(letter):
                self._shelf.fail_again(stored._replace(message_id=letter.message_id), letter)
            else:
                self._shelf.keep(letter)

    # Reading.

    def letter(self, id: bytes) -> DeadLetter:
        """Return the whole record of a letter, dead or deferred.

        :raises KeyError: there is none.
        """
        return self._shelf.letters[id]

    def letters(
        self,
        *,
        limit: int | None = None,
        after: int | None = None,
        newest_first: bool = False,
        **filters: Unpack[LetterFilters],
    ) -> Iterator[DeadLetter]:
        """Return the letters that match every filter, the oldest first."""
        check_filters(filters)
        return self._walk(limit, after, newest_first, filters)

    def _walk(
        self, limit: int | None, after: int | None, newest_first: bool, filters: LetterFilters
    ) -> Iterator[DeadLetter]:
        state = filters.get("state", "dead")
        with self._lock:
            places = [
                (letter.position or 0, id)
                for id, letter in self._shelf.letters.items()
                if state is None or letter.state == state
            ]
        if newest_first:
            places.reverse()
        left = limit
        for position, id in places:
            if left is not None and left <= 0:
                return
            if after is not None and (position >= after if newest_first else position <= after):
                continue
            letter = self._shelf.letters.get(id)
            if letter is None or letter.position != position or not matches(letter, filters):
                continue
            if left is not None:
                left -= 1
            yield letter

    def summary(
        self, *, limit: int | None = None, state: LetterState | None = "dead"
    ) -> list[SummaryRow]:
        """Count the letters by error type, handler and reason, the most frequent first."""
        return summarize(self.letters(state=state), limit)

    def counts(self) -> Counts:
        """Count the letters by state."""
        with self._lock:
            return self._shelf.counts(utc_now())

    # Claims.

    def claim(self, id: bytes, *, lease: float = 300.0) -> tuple[Claim, DeadLetter] | None:
        """Claim a letter and read it; None where it is gone or claimed by another."""
        span = check_lease(lease)
        with self._lock:
            return self._shelf.claim(id, utc_now(), span)

    def claim_due(
        self, limit: int, lease: float = 300.0, *, now: datetime | None = None
    ) -> list[tuple[Claim, DeadLetter]]:
        """Claim deferred messages that are due, those that were due earliest first."""
        span = check_lease(lease)
        with self._lock:
            return self._shelf.claim_due(limit, now or utc_now(), span)

    def next_due(self) -> datetime | None:
        """Return when the next unclaimed deferred message is due; None without one."""
        with self._lock:
            self._shelf.expire(utc_now())
            return self._shelf.waiting.first()

    def renew(self, claim: Claim, *, lease: float = 300.0) -> Claim | None:
        """Hold a claim for longer; None where it was no longer held."""
        span = check_lease(lease)
        with self._lock:
            if not self._shelf.holds(claim):
                return None
            renewed = self._shelf.claims[claim.id] = claim._replace(expires=utc_now() + span)
            self._shelf.schedule(claim.id)
            return renewed

    def claim_of(self, id: bytes) -> Claim | None:
        """Return the claim that is in force on a letter, or None."""
        with self._lock:
            return self._shelf.claims[id] if self._shelf.is_claimed(id, utc_now()) else None

    def release(self, claim: Claim) -> bool:
        """Release a claim without removing the letter."""
        with self._lock:
            held = self._shelf.holds(claim)
            if held:
                del self._shelf.claims[claim.id]
                self._shelf.schedule(claim.id)
            return held

    def remove(self, claim: Claim) -> bool:
        """Remove a claimed letter, unless the claim was lost or the letter failed again since."""
        with self._lock:
            shelf = self._shelf
            removable = shelf.holds(claim) and shelf.letters[claim.id].failures == claim.failures
            if removable:
                shelf.delete(claim.id)
            return removable

    # Upkeep.

    def retry_now(
        self, ids: Iterable[bytes] | None = None, **filters: Unpack[LetterFilters]
    ) -> int:
        """Make deferred messages due now; return how many."""
        now = utc_now()
        with self._lock:
            found = self._shelf.deferred(ids, filters)
            for letter in found:
                self._shelf.put_due(letter, min(now, letter.due or now))
        return len(found)

    def give_up(self, ids: Iterable[bytes] | None = None, **filters: Unpack[LetterFilters]) -> int:
        """Make deferred messages dead letters; return how many. Claimed ones are left."""
        now = utc_now()
        with self._lock:
            found = [
                letter
                for letter in self._shelf.deferred(ids, filters)
                if not self._shelf.is_claimed(letter.id, now)
            ]
            for letter in found:
                self._shelf.put_due(letter, None)
        return len(found)

    def remove_chosen(self, choice: Choice) -> int:
        """Remove the letters of a choice that stand as they were chosen; return how many."""
        with self._lock:
            chosen = [letter.id for letter in self._shelf.letters.values() if letter in choice]
            for id in chosen:
                self._shelf.delete(id)
        return len(chosen)

    def check(self) -> None:
        """Do nothing: there is always room."""

    def close(self) -> None:
        """Do nothing: the letters stay for as long as the store does."""
