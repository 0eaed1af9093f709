"""Claims: who handles a letter, and the deferred messages that are due."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from missive import DeadLetter
from missive.letters import Claim, Counts, LetterFilters, this_process

from . import statements as sql
from .database import read_any_text
from .reading import LARGEST, Reader, filter_values
from .rows import Value, from_micros, from_text, to_micros

Claimed = tuple[Claim, DeadLetter]


def claim(
    connection: sqlite3.Connection, reader: Reader, id: bytes, now: datetime, lease: timedelta
) -> Claimed | None:
    """Claim a letter; None where it is gone or claimed."""
    values = (id, to_micros(now))
    letters = read_any_text(connection, reader.found, sql.CLAIMABLE, values)
    return _claim(connection, letters, now, lease)[0] if letters else None


def claim_due(
    connection: sqlite3.Connection, reader: Reader, limit: int, now: datetime, lease: timedelta
) -> list[Claimed]:
    """Claim deferred messages that are due, the earliest first."""
    values = {"now": to_micros(now), "limit": max(0, min(limit, LARGEST))}
    letters = read_any_text(connection, reader.found, sql.DUE, values)
    return _claim(connection, letters, now, lease)


def _claim(
    connection: sqlite3.Connection, letters: list[DeadLetter], now: datetime, lease: timedelta
) -> list[Claimed]:
    expires, owner = now + lease, this_process()
    claims = [
        Claim(letter.id, f"{secrets.token_hex(16)} {owner}", letter.failures, expires, owner)
        for letter in letters
    ]
    connection.executemany(
        sql.CLAIM,
        [
            (claim.token, to_micros(now), to_micros(expires), letter.position)
            for claim, letter in zip(claims, letters, strict=True)
        ],
    )
    return list(zip(claims, letters, strict=True))


def claim_of(connection: sqlite3.Connection, id: bytes, now: datetime) -> Claim | None:
    """Return the claim in force on a letter."""
    found = connection.execute(sql.CLAIM_OF, (id, to_micros(now))).fetchone()
    if found is None:
        return None
    failures, token, expires = found
    text = from_text(token) or ""
    return Claim(id, text, failures, from_micros(expires), text.partition(" ")[2])


def counts(connection: sqlite3.Connection, now: datetime) -> Counts:
    """Count the letters by state."""
    return Counts(*connection.execute(sql.COUNTS, {"now": to_micros(now)}).fetchone())


def next_due(connection: sqlite3.Connection, now: datetime) -> datetime | None:
    """Return when the next unclaimed deferred message is due."""
    (due,) = connection.execute(sql.NEXT_DUE, {"now": to_micros(now)}).fetchone()
    return None if due is None else from_micros(due)


def retry_now(
    connection: sqlite3.Connection,
    ids: Iterable[bytes] | None,
    filters: LetterFilters,
    now: datetime,
) -> int:
    """Make deferred messages due now."""
    names, values = filter_values({"state": "deferred", **filters})
    return _update(connection, sql.retry_now, ids, names, [to_micros(now), *values])


def give_up(
    connection: sqlite3.Connection,
    ids: Iterable[bytes] | None,
    filters: LetterFilters,
    now: datetime,
) -> int:
    """Make deferred messages dead letters, those that are not claimed."""
    names, values = filter_values({"state": "deferred", **filters})
    return _update(connection, sql.give_up, ids, names, [to_micros(now), *values])


def _update(
    connection: sqlite3.Connection,
    statement: Callable[[list[str]], str],
    ids: Iterable[bytes] | None,
    names: list[str],
    values: list[Value],
) -> int:
    if ids is None:
        return connection.execute(statement(names), values).rowcount
    by_id = statement([*names, "id"])
    return sum(connection.execute(by_id, (*values, id)).rowcount for id in dict.fromkeys(ids))
