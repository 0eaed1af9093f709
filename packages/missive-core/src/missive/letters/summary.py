"""Summaries: how many letters there are, and how many failed alike."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from .letter import DeadLetter


class Counts(NamedTuple):
    """How many letters a store has.

    :ivar dead: the dead letters.
    :ivar deferred: the deferred messages, due or not, claimed or not.
    :ivar due: the deferred messages that are due and that nobody has claimed.
    :ivar claimed: the letters of either state that somebody has claimed.
    """

    dead: int
    deferred: int
    due: int
    claimed: int


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


def summarize(letters: Iterable[DeadLetter], limit: int | None = None) -> list[SummaryRow]:
    """Count letters by error type, handler and reason, the most frequent first.

    :param limit: only this many rows.
    """
    rows: dict[tuple[str | None, str | None, str], tuple[int, datetime, datetime]] = {}
    for letter in letters:
        key = (letter.error_type, letter.handler, letter.reason)
        first, last = letter.first_failed, letter.last_failed
        count, first_seen, last_seen = rows.get(key, (0, first, last))
        rows[key] = (count + 1, min(first_seen, first), max(last_seen, last))
    ordered = sorted(rows.items(), key=lambda row: -row[1][0])
    shown = len(ordered) if limit is None else max(limit, 0)
    return [SummaryRow(*key, *seen) for key, seen in ordered[:shown]]
