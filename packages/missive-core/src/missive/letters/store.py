"""The contract of a store: what keeps dead letters and deferred messages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, MutableMapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import ConfigurationError
from .accounts import LetterAccounts
from .choice import Choice
from .claim import Claim
from .filters import LetterFilters, check_filters, matches, time_before
from .letter import DeadLetter, LetterState
from .summary import Counts, SummaryRow

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: A DLQ: any mutable mapping from message id to (message, reason); a plain dict serves in tests.
DLQ = MutableMapping[bytes, tuple[Any, str]]

S = TypeVar("S", bound="DeadLetterStore")


class DeadLetterStore(LetterAccounts):
    """A DLQ that keeps the whole record of each letter, and messages until they are due.

    A letter is *dead*: somebody has to look at it; or *deferred*: it is handled again when it is
    due, by whichever process claims it first. The mapping, :meth:`letters`, :meth:`summary` and
    :meth:`purge` are about dead letters unless they are told a ``state``.

    A store is safe to use from several threads, and after a fork. It reads the wall clock. Whatever
    that clock does, no letter is lost, and none is claimed twice at once before its lease has ended
    by that clock. Nothing in a store is pickled, and nothing stored is executed or imported.

    The author of a store writes the abstract methods; all else follows from them.
    """

    #: Whether what is kept is still there after the process has ended.
    outlives_process = True

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
        """Open the store that a URL describes to look at its letters; do not create one.

        A store that ``from_url`` would make where it is missing overrides this.

        :raises DeadLetterStoreRefused: there is none.
        """
        return cls.from_url(url)

    # Keeping letters.

    @abstractmethod
    def put_many(self, letters: Iterable[DeadLetter]) -> None:
        """Keep dead letters, all or none; when this returns, they are as durable as they will be.

        A letter whose id, source and body are stored already adds its failure to that letter: where
        that was deferred, it becomes a dead letter with its whole history, and a claim on it ends.
        A letter with the same id and another source or body is kept beside it, under ``beside_id``.

        :raises DeadLetterStoreError: nothing was kept.
        """

    @abstractmethod
    def defer(self, letters: Iterable[DeadLetter]) -> None:
        """Keep messages until they are due, all or none, as durably as :meth:`put_many`.

        Each letter has a ``due`` time. One whose id, source and body are stored already adds its
        failure to that letter, which is deferred from then on; a claim on it ends. Another
        message's letter with that id is left alone, as by :meth:`put_many`.

        :raises ConfigurationError: a letter has no due time, or one without a time zone.
        :raises DeadLetterStoreError: nothing was kept.
        """

    @abstractmethod
    def restore_many(self, letters: Iterable[DeadLetter]) -> None:
        """Keep letters exactly as they are, with history and state, all or none: for imports.

        A letter with the same id is replaced, and a claim on it ends. Only the position is the
        store's own.

        :raises DeadLetterStoreError: nothing was kept.
        """

    # Claims.

    @abstractmethod
    def claim(self, id: bytes, *, lease: float = 300.0) -> tuple[Claim, DeadLetter] | None:
        """Claim a letter of either state for ``lease`` seconds, and read it in the same step.

        :param lease: at most MAX_LEASE.
        :returns: the claim and the letter, or None where it is gone or claimed by another.
        :raises ConfigurationError: the lease is negative or too long.
        """

    @abstractmethod
    def claim_due(
        self, limit: int, lease: float = 300.0, *, now: datetime | None = None
    ) -> list[tuple[Claim, DeadLetter]]:
        """Claim deferred messages that are due, and read them in the same step.

        Each goes to one process at a time. Where a process dies, or lets its lease end, another
        gets the message.

        :param limit: at most this many, those that were due earliest first.
        :param lease: as in :meth:`claim`.
        :param now: the time to go by, aware; the clock's unless given.
        """

    @abstractmethod
    def next_due(self) -> datetime | None:
        """Return when the next deferred message is due that nobody has claimed; None without one.

        The time may be past. It is cheap to ask.
        """

    @abstractmethod
    def renew(self, claim: Claim, *, lease: float = 300.0) -> Claim | None:
        """Extend a claim to ``lease`` seconds from now; return None if it had already ended.

        :param lease: as in :meth:`claim`.
        """

    @abstractmethod
    def release(self, claim: Claim) -> bool:
        """Release a claim without removing the letter; return False if the claim had ended."""

    @abstractmethod
    def remove(self, claim: Claim) -> bool:
        """Remove a claimed letter, unless the claim was lost or the letter failed again since."""

    def remove_many(self, claims: Iterable[Claim]) -> list[bool]:
        """Do what :meth:`remove` does for each claim; return which letters were removed.

        A store that can do it in one step overrides this.
        """
        return [self.remove(claim) for claim in claims]

    # Upkeep.

    @abstractmethod
    def counts(self) -> Counts:
        """Count the letters by state."""

    @abstractmethod
    def summary(
        self, *, limit: int | None = None, state: LetterState | None = "dead"
    ) -> list[SummaryRow]:
        """Count the letters by error type, handler and reason, the most frequent first.

        :param limit: only this many rows.
        :param state: the letters to count; None counts those of both states.
        """

    @abstractmethod
    def retry_now(
        self, ids: Iterable[bytes] | None = None, **filters: Unpack[LetterFilters]
    ) -> int:
        """Make deferred messages due now; return how many.

        :param ids: only those with these ids.
        :param filters: only those that match, as in :meth:`letters`.
        """

    @abstractmethod
    def give_up(self, ids: Iterable[bytes] | None = None, **filters: Unpack[LetterFilters]) -> int:
        """Make deferred messages dead letters; return how many. Claimed ones are left.

        :param ids: only those with these ids.
        :param filters: only those that match, as in :meth:`letters`.
        """

    @abstractmethod
    def check(self) -> None:
        """Make sure that a letter could be written now.

        :raises DeadLetterStoreError: it could not.
        """

    @abstractmethod
    def close(self) -> None:
        """Close files and connections. It may be called several times."""

    # What follows from that.

    def put(self, letter: DeadLetter) -> None:
        """Keep one letter, as :meth:`put_many` does."""
        self.put_many((letter,))

    def restore(self, letter: DeadLetter) -> None:
        """Keep one letter exactly as it is, as :meth:`restore_many` does."""
        self.restore_many((letter,))

    def claim_of(self, id: bytes) -> Claim | None:
        """Return the claim that is in force on a letter, to tell people who holds it until when.

        None too where the store cannot say.
        """
        return None

    def choose(
        self, ids: Iterable[bytes] | None = None, **filters: Unpack[LetterFilters]
    ) -> Choice:
        """Choose letters as they are now, to count them first and then act on exactly these.

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
            if matches(letter, filters):
                found[letter.position or 0] = letter.failures
        return Choice(filters, iter(sorted(found.items())))

    def remove_chosen(self, choice: Choice) -> int:
        """Remove the letters of a choice that stand as they were chosen; return how many.

        One that failed again, was replaced or no longer matches the filters stays. Here a letter
        that is claimed stays too; a store that can look and remove in one step overrides this.
        """
        count = 0
        for letter in self.letters(**choice.filters):
            if choice.newest is None or (letter.position or 0) > choice.newest:
                break
            claimed = self.claim(letter.id) if letter in choice else None
            if claimed is None:
                continue
            claim, current = claimed
            if current in choice and self.remove(claim):
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
        state: LetterState | None = "dead",
    ) -> int:
        """Remove the letters whose last failure is longer ago than this; return how many.

        :param older_than: a span of zero removes them whatever their age.
        :param reason: only those with this reason, likewise the others; as in :meth:`letters`.
        """
        return self.remove_chosen(
            self.choose(
                reason=reason,
                handler=handler,
                source=source,
                error_type=error_type,
                state=state,
                until=time_before(older_than) if older_than else None,
            )
        )

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"
