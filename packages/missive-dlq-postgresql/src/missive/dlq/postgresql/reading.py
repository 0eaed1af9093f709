"""Reading letters: one, page by page, or counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from missive import DeadLetter
from missive.letters import LetterFilters, LetterState, SummaryRow, group_number

from .database import Database
from .rows import from_text, to_key, to_letter, to_text
from .statements import Statements

#: How many letters a page has at most, and after how many bytes of bodies it ends, when letters are
#: iterated over. Between pages no session is held.
PAGE_SIZE, PAGE_BYTES = 100, 1_048_576
#: How many letters are chosen, or ids read, at once.
CHOSEN_AT_ONCE = 10_000

#: PostgreSQL's largest integer.
LARGEST = 2**63 - 1


class Reader:
    """Reads letters from a database."""

    def __init__(self, database: Database, statements: Statements) -> None:
        self._database = database
        self._sql = statements

    def letter(self, id: bytes) -> DeadLetter | None:
        """Return the letter with an id."""
        key = to_key(id)
        row = self._database.row(self._sql.letter, (key,))
        return None if row is None else to_letter(row)

    def newest_position(self) -> int:
        """Return the highest position there is."""
        found = self._database.row(self._sql.newest_position)
        return int(found[0]) if found is not None and found[0] is not None else -LARGEST

    def pages(
        self, limit: int | None, after: int | None, newest_first: bool, filters: LetterFilters
    ) -> Iterator[DeadLetter]:
        """Return the letters that match every filter, page by page."""
        names, values = filter_values(filters)
        statement = self._sql.page(names, newest_first=newest_first)
        last = _first(newest_first) if after is None else max(-LARGEST, min(after, LARGEST))
        left = LARGEST if limit is None else limit
        # What comes while pages are read is not in them.
        one_page = newest_first or left <= PAGE_SIZE
        newest = LARGEST if one_page else self.newest_position()
        while left > 0:
            wanted = min(left, PAGE_SIZE)
            page = self._page(statement, (newest, last, *values, wanted, PAGE_BYTES))
            yield from page
            left -= len(page)
            if not page or (len(page) < wanted and _size(page) <= PAGE_BYTES):
                return
            last = page[-1].position or 0

    def _page(self, statement: bytes, values: tuple[Any, ...]) -> list[DeadLetter]:
        rows = self._database.rows(statement, values)
        return list(map(to_letter, rows))

    def chosen(
        self, filters: LetterFilters, *, newest_first: bool = False
    ) -> Iterator[tuple[int, int, bytes]]:
        """Return position, failures and id of each letter that matches; no body is read for that."""
        names, values = filter_values(filters)
        statement = self._sql.choose(names, newest_first=newest_first)
        last, newest = _first(newest_first), self.newest_position()
        while True:
            found = (newest, last, *values, CHOSEN_AT_ONCE)
            page = self._database.rows(statement, found)
            yield from page
            if len(page) < CHOSEN_AT_ONCE:
                return
            last = page[-1][0]

    def summary(self, limit: int, state: LetterState | None) -> list[SummaryRow]:
        """Count letters by error type, handler and reason, the most frequent first."""
        statement = self._sql.summary(state)
        rows = self._database.rows(statement, (limit,))
        return [
            SummaryRow(
                from_text(error_type),
                from_text(handler),
                from_text(reason) or "",
                count,
                first_seen,
                last_seen,
            )
            for error_type, handler, reason, count, first_seen, last_seen in rows
        ]


def filter_values(filters: LetterFilters) -> tuple[list[str], list[Any]]:
    """Return the names of filters as statements know them, and the parameters of those with one."""
    names: list[str] = []
    values: list[Any] = []
    for name, value in {"state": "dead", **filters}.items():
        if value is None:
            continue
        if name == "state":
            names.append(str(value))
            continue
        names.append(name)
        if name == "group":
            values.append(group_number(str(value)))
            continue
        values.append(to_text(value) if isinstance(value, str) else value)
    return names, values


def _first(newest_first: bool) -> int:
    return LARGEST if newest_first else -LARGEST


def _size(page: list[DeadLetter]) -> int:
    return sum(len(letter.raw_data) for letter in page)
