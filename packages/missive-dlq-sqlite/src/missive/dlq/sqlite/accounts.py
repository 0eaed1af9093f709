"""Accounts: groups, counts over time, and the record of actions."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, cast

from missive.letters import (
    MAX_ACTION_IDS,
    Action,
    Group,
    LetterFilters,
    LetterState,
    kind_from,
    numbered,
    shown_reason,
)

from . import statements as sql
from .reading import filter_values
from .rows import from_micros, from_text, to_micros, to_text


def groups(connection: sqlite3.Connection, limit: int, state: LetterState | None) -> list[Group]:
    """Group letters by error type, handler and raising line, the most frequent first."""
    counted = connection.execute(sql.groups(state), (limit,)).fetchall()
    statement = sql.example(state)
    found: list[tuple[Any, tuple[str, int, datetime, datetime]]] = []
    for number, count, first_seen, last_seen in counted:
        row = connection.execute(statement, (number,)).fetchone()
        if row is None:  # removed since it was counted
            continue
        error_type, handler, reason, traceback = map(from_text, row)
        seen = from_micros(first_seen), from_micros(last_seen)
        kind = kind_from(error_type, handler, reason or "", traceback)
        found.append((kind, (shown_reason(reason or ""), count, *seen)))
    return numbered(found)


def tally(
    connection: sqlite3.Connection, times: Sequence[datetime], filters: LetterFilters
) -> list[int]:
    """Count the letters whose last failure is between each two consecutive times."""
    names, values = filter_values(filters)
    statement = sql.tally(names)
    return [
        connection.execute(statement, (to_micros(since), to_micros(until), *values)).fetchone()[0]
        for since, until in pairwise(times)
    ]


def record(connection: sqlite3.Connection, action: Action) -> None:
    """Record an action."""
    ids = json.dumps([id.hex() for id in action.ids[:MAX_ACTION_IDS]])
    texts = map(to_text, (action.who, action.what, action.which))
    values = (to_micros(action.at), *texts, action.letters, to_text(action.result), ids)
    connection.execute(sql.INSERT_ACTION, values)


def actions(connection: sqlite3.Connection, limit: int, before: int) -> list[Action]:
    """Return what was recorded, the newest first."""
    return [
        Action(
            from_micros(at),
            from_text(who) or "",
            from_text(what) or "",
            from_text(which) or "",
            letters if isinstance(letters, int) else 0,
            from_text(result) or "",
            _ids(ids),
            number,
        )
        for number, at, who, what, which, letters, result, ids in connection.execute(
            sql.ACTIONS, (before, limit)
        )
    ]


def _ids(text: Any) -> tuple[bytes, ...]:
    """Return ids; none where what stands there is not a list of them."""
    try:
        return tuple(bytes.fromhex(id) for id in cast("list[str]", json.loads(text)))
    except (ValueError, TypeError, RecursionError):
        return ()
