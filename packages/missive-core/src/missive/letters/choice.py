"""Choices: the letters that an operator chose, each as it stood then."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator

from .filters import LetterFilters, matches
from .letter import DeadLetter


class Choice:
    """Letters of one store, by position and number of failures, in 16 bytes each.

    Made by :meth:`DeadLetterStore.choose`. A letter that fails again, or that arrives later, is not
    in it: so what is done to a choice is done to what was shown, counted and asked about.

    :param filters: what the letters matched when they were chosen.
    :param letters: the position and the failures of each, in the order of positions.
    """

    __slots__ = ("_failures", "_positions", "filters")

    def __init__(self, filters: LetterFilters, letters: Iterator[tuple[int, int]]) -> None:
        self.filters = filters
        self._positions = array("q")
        self._failures = array("q")
        for position, failures in letters:
            self._positions.append(position)
            self._failures.append(failures)

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Return the position and the number of failures of each letter, by rising position."""
        return zip(self._positions, self._failures, strict=True)

    def __contains__(self, letter: DeadLetter) -> bool:
        """Return whether a letter was chosen and stands as it did then."""
        return (
            letter.failures == self._failures_at(letter.position)
            # It may have been replaced, by an import or an assignment.
            and matches(letter, self.filters)
        )

    def covers(self, letter: DeadLetter) -> bool:
        """Return whether a letter was chosen, whatever became of it since."""
        return self._failures_at(letter.position) is not None

    @property
    def newest(self) -> int | None:
        """The position of the newest letter; None where nothing was chosen."""
        return self._positions[-1] if self._positions else None

    def _failures_at(self, position: int | None) -> int | None:
        if position is None:
            return None
        at = bisect_left(self._positions, position)
        found = at < len(self._positions) and self._positions[at] == position
        return self._failures[at] if found else None

    def __repr__(self) -> str:
        return f"<Choice of {len(self)} letter(s)>"
