"""Claims: who handles a letter, and the deferred messages that are due."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from missive import DeadLetter, DeadLetterStore
from missive.letters import (
    Claim,
    Counts,
    LetterFilters,
    check_filters,
    check_lease,
    this_process,
    utc_now,
)

from .claim_statements import ClaimStatements
from .database import Database
from .reading import LARGEST, filter_values
from .rows import to_key, to_letter
from .session import Session

if TYPE_CHECKING:
    from typing_extensions import Unpack

Claimed = tuple[Claim, DeadLetter]

_NO_OFFSET = timedelta(0)


class PostgreSQLClaims(DeadLetterStore):
    """Claims on the letters of a database.

    Leases begin and end by the server's clock, so that machines whose clocks differ agree on them.
    """

    _database: Database
    _claim_sql: ClaimStatements

    def claim(self, id: bytes, *, lease: float = 300.0) -> Claimed | None:
        """Claim a letter and read it; None where it is gone or claimed by another."""
        token = _token()
        values = {
            "id": to_key(id),
            "lease": check_lease(lease),
            "token": token,
            "offset": _NO_OFFSET,
        }
        row = self._database.row(self._claim_sql.claim, values)
        return None if row is None else _claimed(row, token)

    def claim_due(
        self, limit: int, lease: float = 300.0, *, now: datetime | None = None
    ) -> list[Claimed]:
        """Claim deferred messages that are due, those that were due earliest first."""
        token = _token()
        values = {
            "limit": max(0, min(limit, LARGEST)),
            "lease": check_lease(lease),
            "token": token,
            "offset": _NO_OFFSET if now is None else now - utc_now(),
        }

        def claim(session: Session, again: bool) -> list[tuple[Any, ...]]:
            if again:  # what was claimed by the try whose answer was lost
                session.execute(self._claim_sql.unclaim, (token,))
            return session.execute(self._claim_sql.claim_due, values).fetchall()

        found = [_claimed(row, token) for row in self._database.run(claim)]
        return sorted(found, key=lambda claimed: claimed[1].due or claimed[1].last_failed)

    def next_due(self) -> datetime | None:
        """Return when the next unclaimed deferred message is due; None without one."""
        due: datetime | None = self._row(self._claim_sql.next_due)[0]
        return due

    def claim_of(self, id: bytes) -> Claim | None:
        """Return the claim that is in force on a letter, or None."""
        values = {"id": to_key(id), "offset": _NO_OFFSET}
        row = self._database.row(self._claim_sql.claim_of, values)
        if row is None:
            return None
        failures, token, expires = row
        return Claim(id, token, failures, expires, token.partition(" ")[2])

    def renew(self, claim: Claim, *, lease: float = 300.0) -> Claim | None:
        """Hold a claim for longer; None where it was no longer held."""
        values = {
            "id": to_key(claim.id),
            "token": claim.token,
            "lease": check_lease(lease),
            "offset": _NO_OFFSET,
        }
        row = self._database.row(self._claim_sql.renew, values)
        return None if row is None else claim._replace(expires=row[0])

    def release(self, claim: Claim) -> bool:
        """Release a claim without removing the letter; return False if the claim had ended."""
        return self._count(self._claim_sql.release, (to_key(claim.id), claim.token)) > 0

    def remove(self, claim: Claim) -> bool:
        """Remove a claimed letter, unless the claim was lost or the letter failed again since."""
        key = to_key(claim.id)
        values = (key, claim.token, claim.failures)

        def remove(session: Session, again: bool) -> bool:
            if session.execute(self._claim_sql.remove, values).rowcount:
                return True
            # A try whose answer was lost has removed it, where it is gone.
            return again and not session.execute(self._claim_sql.exists, (key,)).rowcount

        return self._database.run(remove)

    def counts(self) -> Counts:
        """Count the letters by state."""
        return Counts(*self._row(self._claim_sql.counts))

    def retry_now(
        self, ids: Iterable[bytes] | None = None, **filters: Unpack[LetterFilters]
    ) -> int:
        """Make deferred messages due now; return how many."""
        names, values = _chosen(ids, filters)
        return self._count(self._claim_sql.retry_now(names), values)

    def give_up(self, ids: Iterable[bytes] | None = None, **filters: Unpack[LetterFilters]) -> int:
        """Make deferred messages dead letters; return how many. Claimed ones are left."""
        names, values = _chosen(ids, filters)
        return self._count(self._claim_sql.give_up(names), values)

    def _row(self, statement: bytes) -> tuple[Any, ...]:
        values = {"offset": _NO_OFFSET}
        (row,) = self._database.rows(statement, values)
        return row

    def _count(self, statement: bytes, values: Sequence[Any]) -> int:
        return self._database.count(statement, values)


def _chosen(ids: Iterable[bytes] | None, filters: LetterFilters) -> tuple[list[str], list[Any]]:
    check_filters(filters)
    names, values = filter_values({"state": "deferred", **filters})
    if ids is None:
        return names, values
    return [*names, "ids"], [*values, list({to_key(id) for id in ids})]


def _token() -> str:
    return f"{secrets.token_hex(16)} {this_process()}"


def _claimed(row: tuple[Any, ...], token: str) -> Claimed:
    expires, *columns = row
    letter = to_letter(columns)
    return Claim(letter.id, token, letter.failures, expires, token.partition(" ")[2]), letter
