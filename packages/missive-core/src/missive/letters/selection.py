"""Selections: which letters of a store a replay takes, and each of them once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

from ..errors import ConfigurationError
from .choice import Choice
from .claim import Claim
from .filters import LetterFilters, check_filters, matches
from .letter import DeadLetter, utc_now
from .store import DeadLetterStore


class Selection:
    """The letters of a store that some filters match.

    :param ids: only those with these ids, in this order.
    :param filters: only those that match.
    :param choice: only those of this choice, as they stood then.
    :raises ConfigurationError: ids or filters make no sense.
    """

    def __init__(
        self,
        store: DeadLetterStore,
        ids: Iterable[bytes] | None,
        filters: LetterFilters,
        choice: Choice | None,
    ) -> None:
        check_filters(filters)
        self._store = store
        self._ids = None if ids is None else _check_ids(ids)
        self._filters = filters
        self._choice = choice
        self.begin()

    def begin(self) -> None:
        """Note the time: letters that fail from now on are left to a later replay."""
        self._started = utc_now()

    def __iter__(self) -> Iterator[DeadLetter]:
        """Return the letters that are there now, each once, whatever happens meanwhile."""
        if self._ids is not None:
            yield from self._by_id(self._ids)
            return
        newest = next(self._store.letters(newest_first=True, limit=1), None)
        if newest is None or newest.position is None:
            return
        for letter in self._store.letters(**self._filters):
            # A letter that came since has a higher position, the same message put again included.
            if letter.position is None or letter.position > newest.position:
                return
            if self._choice is None or self._choice.covers(letter):
                yield letter

    def _by_id(self, ids: tuple[bytes, ...]) -> Iterator[DeadLetter]:
        for id in dict.fromkeys(ids):
            try:
                letter = self._store.letter(id)
            except KeyError:
                continue
            if matches(letter, self._filters):
                yield letter

    def claim(self, letter: DeadLetter, lease: float) -> tuple[Claim, DeadLetter] | None:
        """Claim a letter and read it anew: what was read before may be out of date.

        :returns: None where another has it, or where it changed since the replay began.
        """
        claimed = self._store.claim(letter.id, lease=lease)
        if claimed is None:
            return None
        claim, current = claimed
        if (
            current.position == letter.position
            and matches(current, self._filters)
            and (self._choice is None or current in self._choice)
            # One that failed later than now did so before its clock was set back.
            and not self._started < current.last_failed <= utc_now()
        ):
            return claimed
        self._store.release(claim)
        return None


def _check_ids(ids: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return ids as a tuple, or refuse what no letter can have.

    :raises ConfigurationError: they are not an iterable of bytes.
    """
    given: object = ids
    if isinstance(given, Iterable) and not isinstance(given, (bytes, str)):
        ids = tuple(ids)
        if all(isinstance(cast(object, id), bytes) for id in ids):
            return ids
    raise ConfigurationError(
        "ids of ReplayAdapter must be an iterable of bytes; an id is bytes, and"
        " missive.parse_id(text) reads a printed one"
    )
