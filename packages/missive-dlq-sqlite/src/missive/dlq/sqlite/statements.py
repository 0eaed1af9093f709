"""Every statement that the store executes on letters, by name.

A letter is deferred where it has a ``due`` time, and dead where it has none.
"""

from __future__ import annotations

from missive.letters import MAX_LEASE, LetterState

_SELECT = """
    SELECT letters.position, origin, failures, id, message_id, first_failed, source, last_failed,
        reason, body, headers, traceback, due, attempt
    FROM letters LEFT JOIN contents ON contents.position = letters.position
"""

INSERT_LETTER = """
    INSERT INTO letters
        (position, origin, id, message_id, first_failed, failures, source, last_failed, kind, reason,
        due, attempt, failed_alike)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO NOTHING
"""
INSERT_CONTENT = "INSERT INTO contents (position, body, headers, traceback) VALUES (?, ?, ?, ?)"
INSERT_HISTORY = """
    INSERT INTO history (position, number, origin, at, reason) VALUES (?, ?, ?, ?, ?)
"""

INSERT_ORIGIN = """
    INSERT INTO origins (stage, error_type, handler, message_class, host, version)
    VALUES (?, ?, ?, ?, ?, ?)
"""
FIND_ORIGIN = """
    SELECT origin FROM origins WHERE stage IS ? AND error_type IS ? AND handler IS ?
        AND message_class IS ? AND host IS ? AND version IS ?
"""
ORIGIN = """
    SELECT stage, error_type, handler, message_class, host, version FROM origins WHERE origin = ?
"""

#: Whether any letter stands under another id than its message's.
ANY_BESIDE = "SELECT 1 FROM letters WHERE message_id IS NOT NULL LIMIT 1"
#: Where a letter stands, and whether it is about the same source and body.
FIND = """
    SELECT letters.position, source IS ? AND body = ?
    FROM letters LEFT JOIN contents ON contents.position = letters.position WHERE id = ?
"""
NEXT_POSITION = """
    SELECT max(ifnull((SELECT max(position) FROM letters), 0), (SELECT max(newest) FROM removed)) + 1
"""
NEWEST_POSITION = "SELECT max(position) FROM letters"
POSITION = "SELECT position FROM letters WHERE id = ?"

APPEND_HISTORY = """
    INSERT OR IGNORE INTO history (position, number, origin, at, reason)
    SELECT position, failures, origin, last_failed, reason FROM letters WHERE position = ?
"""
#: Keeps so many failures before the last.
BOUND_HISTORY = """
    DELETE FROM history WHERE position = ?
        AND number <= (SELECT failures FROM letters WHERE position = ?) - ?
"""
DELETE_HISTORY = "DELETE FROM history WHERE position = ?"
#: A claim outlasts another failure of a dead letter only: ?6 is the new due time.
FAIL_AGAIN = """
    UPDATE letters SET failures = failures + 1, origin = ?1, source = ?2,
        last_failed = max(last_failed, ?3), kind = ?4, reason = ?5, due = ?6, attempt = ?7,
        failed_alike = ?8,
        claim = CASE WHEN due IS NULL AND ?6 IS NULL THEN claim END,
        claimed = CASE WHEN due IS NULL AND ?6 IS NULL THEN claimed END,
        claim_expires = CASE WHEN due IS NULL AND ?6 IS NULL THEN claim_expires END
    WHERE position = ?9
"""
SET_MESSAGE_ID = "UPDATE letters SET message_id = ? WHERE position = ?"
REPLACE_LETTER = """
    UPDATE letters SET origin = ?, message_id = ?, first_failed = ?, failures = ?, source = ?,
        last_failed = ?, kind = ?, reason = ?, due = ?, attempt = ?, failed_alike = ?,
        claim = NULL, claimed = NULL, claim_expires = NULL
    WHERE position = ?
"""
REPLACE_CONTENT = """
    INSERT OR REPLACE INTO contents (body, headers, traceback, position) VALUES (?, ?, ?, ?)
"""
DELETE = "DELETE FROM letters WHERE id = ? AND due IS NULL"
DELETE_AT = "DELETE FROM letters WHERE position = ?"
DELETE_SOME = """
    DELETE FROM letters WHERE position IN (
        SELECT position FROM letters WHERE position <= ? AND due IS NULL ORDER BY position LIMIT ?
    )
"""

WAS_RECEIVED = "SELECT 1 FROM received WHERE key = ?"
RECEIVED_BETWEEN = "SELECT 1 FROM received WHERE key BETWEEN ? AND ? LIMIT 1"
INSERT_RECEIVED = "INSERT INTO received (key, position) VALUES (?, ?)"
FORGET_DONE = """
    DELETE FROM received WHERE key IN (
        SELECT key FROM received WHERE done < ? ORDER BY done LIMIT ?
    )
"""

LETTER = _SELECT + "WHERE id = ?"
NEWEST = _SELECT + "WHERE due IS NULL ORDER BY letters.position DESC LIMIT 1"
HISTORY = """
    SELECT number, origin, at, reason FROM history WHERE position = ? ORDER BY number
"""
EXISTS = "SELECT 1 FROM letters WHERE id = ? AND due IS NULL"
COUNT = "SELECT ifnull(sum(letters), 0) FROM alike"
IDS = """
    SELECT position, id FROM letters WHERE position > ? AND position <= ? AND due IS NULL
    ORDER BY position
"""
IDS_REVERSED = """
    SELECT position, id FROM letters WHERE position < ? AND position <= ? AND due IS NULL
    ORDER BY position DESC
"""

# For each filter, what it adds to a WHERE. An empty text stands for none at all.
FILTERS = {
    "reason": "reason = ?",
    "handler": "origin IN (SELECT origin FROM origins WHERE ifnull(handler, '') = ?)",
    "source": "ifnull(source, '') = ?",
    "error_type": "origin IN (SELECT origin FROM origins WHERE ifnull(error_type, '') = ?)",
    "since": "last_failed >= ?",
    "until": "last_failed < ?",
    "group": "failed_alike = ?",
    "id": "id = ?",
    # States; they have no parameter.
    "dead": "due IS NULL",
    "deferred": "due IS NOT NULL",
}


def page(filters: list[str], *, newest_first: bool) -> str:
    """Return the statement that reads letters from a position on; which and how many are parameters.

    :param filters: the names of the filters, in the order of their parameters.
    """
    return _page(_SELECT, filters, newest_first)


def choose(filters: list[str]) -> str:
    """Return the statement that finds letters from a position on and their failures, likewise."""
    return _page(
        "SELECT position, CAST(failures AS INTEGER) FROM letters ", filters, newest_first=False
    )


def _page(select: str, filters: list[str], newest_first: bool) -> str:
    # By position even where an index would find the letters sooner: they come in order, nothing is
    # sorted, and a page of a few begins at once.
    bounds = ["letters.position <= ?", f"letters.position {'<' if newest_first else '>'} ?"]
    where = " AND ".join([*bounds, *(FILTERS[name] for name in filters)])
    order = " DESC" if newest_first else ""
    return f"{select} WHERE {where} ORDER BY letters.position{order} LIMIT ?"


def summary(state: LetterState | None) -> str:
    """Return the statement that counts letters by kind; how many rows is its parameter."""
    by_kind = "INDEXED BY letters_by_kind" if state == "dead" else ""
    where = "WHERE " + FILTERS[state] if state else ""
    return f"""
        WITH kinds AS (
            SELECT kind, min(position) AS example, count(*) AS number,
                min(first_failed) AS first_seen, max(last_failed) AS last_seen
            FROM letters {by_kind} {where} GROUP BY kind
            ORDER BY number DESC, example LIMIT ?
        )
        SELECT error_type, handler, reason, number, first_seen, last_seen
        FROM kinds JOIN letters ON letters.position = example
            LEFT JOIN origins ON origins.origin = letters.origin
        ORDER BY number DESC, example
    """  # noqa: S608 (of constants)


#: The groups of dead letters: how many are in each, when the first and the last of them failed.
GROUPS = """
    SELECT failed_alike, letters, first_seen,
        (SELECT max(last_failed) FROM letters INDEXED BY letters_alike
            WHERE letters.failed_alike = alike.failed_alike AND due IS NULL)
    FROM alike ORDER BY letters DESC, failed_alike LIMIT ?
"""


def groups(state: LetterState | None) -> str:
    """Return the statement that counts the letters of each group; how many is its parameter."""
    if state == "dead":
        return GROUPS
    where = "WHERE " + FILTERS[state] if state else ""
    return f"""
        SELECT failed_alike, count(*) AS number, min(first_failed), max(last_failed)
        FROM letters {where} GROUP BY failed_alike
        ORDER BY number DESC, failed_alike LIMIT ?
    """  # noqa: S608 (of constants)


def example(state: LetterState | None) -> str:
    """Return the statement that reads the oldest letter of a group."""
    where = "AND " + FILTERS[state] if state else ""
    return f"""
        SELECT error_type, handler, reason, traceback
        FROM letters INDEXED BY letters_of_group
            LEFT JOIN contents ON contents.position = letters.position
            LEFT JOIN origins ON origins.origin = letters.origin
        WHERE failed_alike = ? {where} ORDER BY letters.position LIMIT 1
    """  # noqa: S608 (of constants)


def tally(filters: list[str]) -> str:
    """Return the statement that counts letters whose last failure is between two times."""
    where = " AND ".join(["last_failed >= ?", "last_failed < ?", *(FILTERS[f] for f in filters)])
    return f"SELECT count(*) FROM letters WHERE {where}"  # noqa: S608 (of constants)


INSERT_ACTION = """
    INSERT INTO actions (at, who, what, which, letters, result, ids) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
ACTIONS = """
    SELECT number, at, who, what, which, letters, result, ids FROM actions
    WHERE number < ? ORDER BY number DESC LIMIT ?
"""

#: How long a claim may hold.
_LONGEST = MAX_LEASE * 1_000_000

# Claims. One that would hold for longer than any claim may was made by a clock that was far ahead,
# and does not count. The parameter is the time.
_CLAIMED = f"ifnull(claim_expires, 0) - ? BETWEEN 1 AND {_LONGEST}"
FREE = f"NOT ({_CLAIMED})"

CLAIM_OF = f"SELECT failures, claim, claim_expires FROM letters WHERE id = ? AND {_CLAIMED}"  # noqa: S608
CLAIMABLE = _SELECT + f"WHERE id = ? AND {FREE}"
CLAIM = "UPDATE letters SET claim = ?, claimed = ?, claim_expires = ? WHERE position = ?"
RENEW = "UPDATE letters SET claimed = ?, claim_expires = ? WHERE id = ? AND claim = ?"
RELEASE = """
    UPDATE letters SET claim = NULL, claimed = NULL, claim_expires = NULL WHERE id = ? AND claim = ?
"""
REMOVE = "DELETE FROM letters WHERE id = ? AND claim = ? AND failures = ?"

# Deferred messages. The unclaimed are found at once, however many are claimed: the index begins with
# them. Those whose claims have ended are few; each of their two ranges is a query of its own, since
# SQLite looks through the whole index for an OR.
_ENDED = f"""
    SELECT position, due FROM letters WHERE due IS NOT NULL AND claim_expires <= :now
    UNION ALL
    SELECT position, due FROM letters WHERE due IS NOT NULL AND claim_expires > :now + {_LONGEST}
"""  # noqa: S608 (of constants)
DUE = f"""
    {_SELECT}
    WHERE letters.position IN (
        SELECT position FROM (
            SELECT position, due FROM (
                SELECT position, due FROM letters
                WHERE due IS NOT NULL AND claim_expires IS NULL AND due <= :now
                ORDER BY due LIMIT :limit
            )
            UNION ALL {_ENDED}
        )
        WHERE due <= :now ORDER BY due LIMIT :limit
    )
    ORDER BY due
"""  # noqa: S608
NEXT_DUE = f"""
    SELECT min(due) FROM (
        SELECT min(due) AS due FROM letters WHERE due IS NOT NULL AND claim_expires IS NULL
        UNION ALL SELECT min(due) FROM ({_ENDED})
    )
"""  # noqa: S608
COUNTS = f"""
    SELECT
        (SELECT ifnull(sum(letters), 0) FROM alike),
        (SELECT count(*) FROM letters WHERE due IS NOT NULL),
        (SELECT count(*) FROM letters WHERE due <= :now AND claim_expires IS NULL)
            + (SELECT count(*) FROM ({_ENDED}) WHERE due <= :now),
        (SELECT count(*) FROM letters
            WHERE due IS NOT NULL AND claim_expires BETWEEN :now + 1 AND :now + {_LONGEST})
            + (SELECT count(*) FROM letters
                WHERE due IS NULL AND claim_expires BETWEEN :now + 1 AND :now + {_LONGEST})
"""  # noqa: S608


def retry_now(filters: list[str]) -> str:
    """Return the statement that makes deferred messages due at a time."""
    return f"UPDATE letters SET due = min(due, ?) WHERE {_deferred(filters)}"  # noqa: S608


def give_up(filters: list[str]) -> str:
    """Return the statement that makes those dead letters that are not claimed at a time."""
    return f"""
        UPDATE letters SET due = NULL, claim = NULL, claimed = NULL, claim_expires = NULL
        WHERE {FREE} AND {_deferred(filters)}
    """  # noqa: S608


def _deferred(filters: list[str]) -> str:
    return " AND ".join(["due IS NOT NULL", *(FILTERS[name] for name in filters)])
