"""Accounts: groups, counts over time, and the record of actions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from missive import DeadLetterStore
from missive.letters import (
    MAX_ACTION_IDS,
    Action,
    Group,
    Kind,
    LetterFilters,
    LetterState,
    check_filters,
    check_tally,
    kind_from,
    numbered,
    shown_reason,
)

from .database import Database
from .reading import LARGEST, filter_values
from .rows import from_text, to_text
from .session import Session
from .statements import Statements

if TYPE_CHECKING:
    from typing_extensions import Unpack


class PostgreSQLAccounts(DeadLetterStore):
    """What a database tells about its letters together, and about what was done to them."""

    _database: Database
    _sql: Statements

    def groups(
        self, *, limit: int | None = None, state: LetterState | None = "dead"
    ) -> list[Group]:
        """Group the letters by error type, handler and raising line, the most frequent first."""
        check_filters({"state": state})
        shown = LARGEST if limit is None else max(0, min(limit, LARGEST))
        statement = self._sql.groups(state)
        rows = self._database.rows(statement, (shown,))
        return numbered(map(_group, rows))

    def tally(self, times: Sequence[datetime], **filters: Unpack[LetterFilters]) -> list[int]:
        """Count the letters whose last failure is between each two consecutive times."""
        check_tally(times, filters)
        names, values = filter_values(filters)
        given = (*values, list(times[:-1]), list(times[1:]))
        statement = self._sql.tally(names)
        rows = self._database.rows(statement, given)
        return [count for (count,) in rows]

    def record(self, action: Action) -> None:
        """Record what somebody did; on return it is committed.

        :raises DeadLetterStoreError: it was not recorded.
        """
        values = (
            action.at,
            to_text(action.who),
            to_text(action.what),
            to_text(action.which),
            action.letters,
            to_text(action.result),
            list(action.ids[:MAX_ACTION_IDS]),
        )

        def record(session: Session, again: bool) -> None:
            session.execute(self._sql.record, values)

        self._database.run(record)

    def actions(self, *, limit: int = 100, before: int | None = None) -> list[Action]:
        """Return what was recorded, the newest first."""
        newest = LARGEST if before is None else max(-LARGEST, min(before, LARGEST))
        values = (newest, max(0, min(limit, LARGEST)))
        rows = self._database.rows(self._sql.actions, values)
        return list(map(_action, rows))


def _group(row: tuple[Any, ...]) -> tuple[Kind, tuple[str, int, datetime, datetime]]:
    *texts, count, first_seen, last_seen = row
    error_type, handler, reason, traceback = map(from_text, texts)
    kind = kind_from(error_type, handler, reason or "", traceback)
    return kind, (shown_reason(reason or ""), count, first_seen, last_seen)


def _action(row: tuple[Any, ...]) -> Action:
    number, at, who, what, which, letters, result, ids = row
    return Action(
        at,
        from_text(who) or "",
        from_text(what) or "",
        from_text(which) or "",
        letters,
        from_text(result) or "",
        tuple(ids),
        number,
    )
