"""Reading letters: one, page by page, or counted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime
from typing import Any

from missive import DeadLetter
from missive.letters import LetterFilters, LetterState, SummaryRow, group_number

from . import statements as sql
from .database import Database
from .origins import Origin, Origins
from .rows import Value, from_micros, from_text, to_failure, to_letter, to_micros, to_text

#: How many letters a page has at most, and how many bytes of bodies and reasons, when letters are
#: iterated over. Between pages nothing of the database is held.
PAGE_SIZE, PAGE_BYTES = 100, 1_048_576
#: How many ids a page has when only these are asked for.
IDS_PAGE_SIZE = 1000
#: How many letters are chosen at once.
CHOSEN_AT_ONCE = 10_000

#: SQLite's largest integer.
LARGEST = 2**63 - 1


class Reader:
    """Reads letters from a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._origins: Origins = database.origins

    def letter(self, connection: sqlite3.Connection, id: bytes) -> DeadLetter | None:
        """Return the letter with an id."""
        row = connection.execute(sql.LETTER, (id,)).fetchone()
        return None if row is None else self.complete(connection, row)

    def found(
        self,
        connection: sqlite3.Connection,
        statement: str,
        values: tuple[Value, ...] | Mapping[str, Value],
    ) -> list[DeadLetter]:
        """Return the letters that a statement finds."""
        rows = connection.execute(statement, values).fetchall()
        return [self.complete(connection, row) for row in rows]

    def complete(self, connection: sqlite3.Connection, row: tuple[Any, ...]) -> DeadLetter:
        """Make the letter of a row, with the history that it may have."""
        position, number, failures = row[:3]
        origin = self._origin(connection, number)
        if failures == 1:
            return to_letter(row, origin)
        history = connection.execute(sql.HISTORY, (position,)).fetchall()
        earlier = [
            to_failure(at, reason, self._origin(connection, number))
            for _, number, at, reason in history
        ]
        letter = to_letter(row, origin, earlier)
        if history and history[-1][0] == failures:  # the last is there as it was given
            letter = letter._replace(history=letter.history[:-1])
        return letter

    def _origin(self, connection: sqlite3.Connection, number: int) -> Origin:
        return self._origins.known.get(number) or self._origins.read(connection, number)

    def pages(
        self, limit: int | None, after: int | None, newest_first: bool, filters: LetterFilters
    ) -> Iterator[DeadLetter]:
        """Return the letters that match every filter, page by page."""
        names, values = filter_values(filters)
        statement = sql.page(names, newest_first=newest_first)
        if after is None:
            after = LARGEST if newest_first else -LARGEST
        last = max(-LARGEST, min(after, LARGEST))
        with self._database.reading() as connection:
            newest = newest_position(connection)
        left = LARGEST if limit is None else limit
        while left > 0:
            wanted = min(left, PAGE_SIZE)
            page, is_last = self._database.read(
                self.page, statement, (newest, last, *values, wanted), wanted
            )
            yield from page
            if is_last:
                return
            left -= len(page)
            last = page[-1].position or 0

    def page(
        self,
        connection: sqlite3.Connection,
        statement: str,
        values: tuple[Value, ...],
        wanted: int,
    ) -> tuple[list[DeadLetter], bool]:
        """Read a page, and return whether it is the last; one of few letters where they are large."""
        page: list[DeadLetter] = []
        size = 0
        with closing(connection.execute(statement, values)) as rows:
            known = self._origins.known
            for row in rows:
                origin = known.get(row[1])
                if row[2] == 1 and origin is not None:
                    letter = to_letter(row, origin)
                else:
                    letter = self.complete(connection, row)
                page.append(letter)
                size += len(letter[1]) + len(letter[2])  # body and reason
                if size > PAGE_BYTES:
                    return page, False
        return page, len(page) < wanted

    def ids(self, *, newest_first: bool) -> Iterator[bytes]:
        """Return the ids of the dead letters, page by page."""
        statement, last = (sql.IDS_REVERSED, LARGEST) if newest_first else (sql.IDS, -LARGEST)
        with self._database.reading() as connection:
            newest = newest_position(connection)
        while True:
            page: list[bytes] = []
            size = 0
            with (
                self._database.reading() as connection,
                closing(connection.execute(statement, (last, newest))) as rows,
            ):
                for position, id in rows:
                    last = position
                    page.append(id)
                    size += len(id)
                    if len(page) >= IDS_PAGE_SIZE or size > PAGE_BYTES:
                        break
            yield from page
            if len(page) < IDS_PAGE_SIZE and size <= PAGE_BYTES:
                return

    def chosen(self, filters: LetterFilters) -> Iterator[tuple[int, int]]:
        """Return position and failures of each letter that matches; no body is read for that."""
        names, values = filter_values(filters)
        statement, last = sql.choose(names), -LARGEST
        with self._database.reading() as connection:
            newest = newest_position(connection)
        while True:
            with self._database.reading() as connection:
                page = connection.execute(
                    statement, (newest, last, *values, CHOSEN_AT_ONCE)
                ).fetchall()
            yield from page
            if len(page) < CHOSEN_AT_ONCE:
                return
            last = page[-1][0]


def summary(
    connection: sqlite3.Connection, limit: int, state: LetterState | None
) -> list[SummaryRow]:
    """Count letters by error type, handler and reason, the most frequent first."""
    rows = connection.execute(sql.summary(state), (limit,))
    return [
        SummaryRow(
            from_text(error_type),
            from_text(handler),
            from_text(reason) or "",
            count,
            from_micros(first_seen),
            from_micros(last_seen),
        )
        for error_type, handler, reason, count, first_seen, last_seen in rows
    ]


def newest_position(connection: sqlite3.Connection) -> int:
    """Return the highest position there is."""
    (newest,) = connection.execute(sql.NEWEST_POSITION).fetchone()
    return newest if isinstance(newest, int) else -LARGEST


def filter_values(filters: LetterFilters) -> tuple[list[str], list[Value]]:
    """Return the names of filters as statements know them, and the parameters of those with one."""
    names: list[str] = []
    values: list[Value] = []
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
        values.append(to_micros(value) if isinstance(value, datetime) else to_text(str(value)))
    return names, values
