"""Division: a choice of letters by group, and parts of a choice put together."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from .choice import Choice
from .groups import Kind, kind_of
from .store import DeadLetterStore


def divide(store: DeadLetterStore, choice: Choice) -> dict[Kind, Choice]:
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


def join(choice: Choice, parts: Iterable[Choice]) -> Choice:
    """Return one choice with the letters of several.

    :param choice: what they are parts of.
    """
    return Choice(choice.filters, iter(sorted(pair for part in parts for pair in part)))
