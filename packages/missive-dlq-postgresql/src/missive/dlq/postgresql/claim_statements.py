"""The statements about claims and deferred messages, made once for the names of a store's tables."""

from __future__ import annotations

from missive.letters import MAX_LEASE

from .schema import Names
from .statements import FILTERS, SELECTED, made

#: The time to go by: the server's, so that machines whose clocks differ agree on leases, and so
#: much more as the caller's differs from that of its machine.
_NOW = "clock_timestamp() + %(offset)s"
_WITH_NOW = f"WITH clock AS MATERIALIZED (SELECT {_NOW} AS now)"
# A claim that would hold for longer than any claim may was made by a clock that was far ahead, and
# does not count.
_ENDED = f"""(
    l.claim_expires <= (SELECT now FROM clock)
    OR l.claim_expires > (SELECT now FROM clock) + interval '{MAX_LEASE} seconds'
)"""
_FREE = f"(l.claim_expires IS NULL OR {_ENDED})"


class ClaimStatements:
    """The statements about claims on the letters of one store.

    :param names: the names of its tables.
    """

    def __init__(self, names: Names) -> None:
        self.letters = names.letters
        self._define_claiming(names.letters)
        self._define_holding(names.letters)
        self._define_counting(names.letters)

    def _define_claiming(self, letters: str) -> None:
        claimed = "claim = %(token)s, claim_expires = (SELECT now FROM clock) + %(lease)s"
        self.claim = made(f"""
            {_WITH_NOW}
            UPDATE {letters} l SET {claimed}
            WHERE l.id = %(id)b AND ({_FREE} OR l.claim = %(token)s)
            RETURNING l.claim_expires, {SELECTED}
        """)
        # The claims that have ended, then those that nobody has claimed: each by an index, and
        # each passing over what another process is claiming at this moment.
        due = f"""
            SELECT l.position, l.due FROM {letters} l
            WHERE l.due <= (SELECT now FROM clock) AND %s
            ORDER BY l.due LIMIT %%(limit)s FOR UPDATE SKIP LOCKED
        """
        self.claim_due = made(f"""
            {_WITH_NOW},
            ended AS MATERIALIZED ({due % f"l.claim_expires IS NOT NULL AND {_ENDED}"}),
            waiting AS MATERIALIZED ({due % "l.claim_expires IS NULL"}),
            chosen AS (
                SELECT position FROM (TABLE ended UNION ALL TABLE waiting) found
                ORDER BY due LIMIT %(limit)s
            )
            UPDATE {letters} l SET {claimed} FROM chosen WHERE l.position = chosen.position
            RETURNING l.claim_expires, {SELECTED}
        """)
        self.unclaim = made(f"""
            UPDATE {letters} SET claim = NULL, claim_expires = NULL
            WHERE claim_expires IS NOT NULL AND claim = %s
        """)

    def _define_holding(self, letters: str) -> None:
        self.claim_of = made(f"""
            {_WITH_NOW} SELECT l.failures, l.claim, l.claim_expires FROM {letters} l
            WHERE l.id = %(id)b AND NOT {_FREE}
        """)
        self.renew = made(f"""
            {_WITH_NOW} UPDATE {letters} SET claim_expires = (SELECT now FROM clock) + %(lease)s
            WHERE id = %(id)b AND claim = %(token)s RETURNING claim_expires
        """)
        self.release = made(f"""
            UPDATE {letters} SET claim = NULL, claim_expires = NULL WHERE id = %b AND claim = %s
        """)
        self.remove = made(f"DELETE FROM {letters} WHERE id = %b AND claim = %s AND failures = %s")

    def _define_counting(self, letters: str) -> None:
        self.exists = made(f"SELECT FROM {letters} WHERE id = %b")
        self.next_due = made(f"""
            {_WITH_NOW} SELECT least(
                (SELECT min(due) FROM {letters} WHERE due IS NOT NULL AND claim_expires IS NULL),
                (SELECT min(l.due) FROM {letters} l
                    WHERE l.due IS NOT NULL AND l.claim_expires IS NOT NULL AND {_ENDED})
            )
        """)
        self.counts = made(f"""
            {_WITH_NOW} SELECT
                (SELECT count(*) FROM {letters} WHERE due IS NULL),
                (SELECT count(*) FROM {letters} WHERE due IS NOT NULL),
                (SELECT count(*) FROM {letters}
                    WHERE due <= (SELECT now FROM clock) AND claim_expires IS NULL)
                + (SELECT count(*) FROM {letters} l WHERE l.claim_expires IS NOT NULL
                    AND l.due <= (SELECT now FROM clock) AND {_ENDED}),
                (SELECT count(*) FROM {letters} l
                    WHERE l.claim_expires IS NOT NULL AND NOT {_ENDED})
        """)

    def retry_now(self, filters: list[str]) -> bytes:
        """Return the statement that makes deferred messages due now."""
        where = " AND ".join(FILTERS[name] for name in ("deferred", *filters))
        now = "clock_timestamp()"
        return made(f"UPDATE {self.letters} l SET due = least(l.due, {now}) WHERE {where}")

    def give_up(self, filters: list[str]) -> bytes:
        """Return the statement that makes those dead letters that are not claimed."""
        where = " AND ".join(FILTERS[name] for name in ("deferred", *filters))
        free = _FREE.replace("(SELECT now FROM clock)", "clock_timestamp()")
        return made(f"""
            UPDATE {self.letters} l SET due = NULL, claim = NULL, claim_expires = NULL
            WHERE {where} AND {free}
        """)
