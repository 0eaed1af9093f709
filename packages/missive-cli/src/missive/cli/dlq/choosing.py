"""Choosing the letters of one command, as they stand when it begins."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

from missive import DeadLetterStore
from missive.letters import Choice, LetterFilters

from .groups import Kind, kind_of, kind_with


def choose(
    store: DeadLetterStore,
    ids: Sequence[bytes] | None,
    filters: LetterFilters,
    group: str | None,
) -> Choice:
    """Choose the letters with these ids, or those that the filters match.

    :param group: of those, only the letters of the group with this number.
    :raises click.UsageError: there is no such group.
    """
    if group is None:
        return store.choose(ids, **filters)
    kind = kind_with(group, store.letters(state=filters.get("state", "dead")))
    letters = (letter for letter in store.letters(**filters) if kind_of(letter) == kind)
    return Choice(filters, ((letter.position or 0, letter.failures) for letter in letters))


def by_kind(store: DeadLetterStore, choice: Choice) -> dict[Kind, Choice]:
    """Divide a choice into the groups that its letters are of, the oldest group first."""
    positions: dict[Kind, array[int]] = {}
    failures: dict[Kind, array[int]] = {}
    for letter in store.letters(**choice.filters):
        if letter not in choice:
            continue
        kind = kind_of(letter)
        positions.setdefault(kind, array("q")).append(letter.position or 0)
        failures.setdefault(kind, array("q")).append(letter.failures)
    return {
        kind: Choice(choice.filters, zip(found, failures[kind], strict=True))
        for kind, found in positions.items()
    }


def together(choice: Choice, parts: Iterable[Choice]) -> Choice:
    """Return one choice with the letters of several.

    :param choice: what they are parts of.
    """
    return Choice(choice.filters, iter(sorted(pair for part in parts for pair in part)))
