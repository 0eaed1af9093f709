"""Every statement of the store, made once for the names of its tables."""

from __future__ import annotations

from .schema import Names

#: The columns that are written, and their types.
COLUMNS = {
    "id": "bytea",
    "whole_id": "bytea",
    "message_id": "bytea",
    "source": "text",
    "message_class": "text",
    "stage": "text",
    "error_type": "text",
    "handler": "text",
    "reason": "text",
    "first_failed": "timestamptz",
    "last_failed": "timestamptz",
    "failures": "bigint",
    "kind": "bigint",
    "alike": "bigint",
    "due": "timestamptz",
    "attempt": "bigint",
    "host": "text",
    "version": "text",
    "headers": "json",
    "history": "json",
    "traceback": "text",
    "body": "bytea",
}

#: What is read of a letter, in the order that ``rows.to_letter`` takes it.
SELECTED = ", ".join(
    f"l.{name}::text" if kind == "json" else f"l.{name}"
    for name, kind in {"position": "bigint", **COLUMNS}.items()
    if name not in ("kind", "alike")
)

# For each filter, what it adds to a WHERE. An empty text stands for none at all.
FILTERS = {
    "reason": "l.reason = %s",
    "handler": "coalesce(l.handler, '') = %s",
    "source": "coalesce(l.source, '') = %s",
    "error_type": "coalesce(l.error_type, '') = %s",
    "since": "l.last_failed >= %s",
    "until": "l.last_failed < %s",
    "group": "l.alike = %s",
    "ids": "l.id = ANY(%s::bytea[])",
    # States; they have no parameter.
    "dead": "l.due IS NULL",
    "deferred": "l.due IS NOT NULL",
}


class Statements:
    """The statements of one store.

    :param names: the names of its tables.
    """

    def __init__(self, names: Names) -> None:
        self.letters = names.letters
        self._define_inserting(names.letters)
        self._define_updating(names.letters)
        self._define_reading(names.letters)
        self._define_removing(names.letters)
        self._define_inbox(names)
        self._define_actions(names.actions)

    def _define_inserting(self, letters: str) -> None:
        columns = ", ".join(COLUMNS)
        # A look-up by itself is made by the index. Of =ANY or EXISTS in a table that is small yet, the
        # planner makes a scan, and keeps that plan while the table grows.
        taken = f"(SELECT 1 FROM {letters} WHERE id = %s)"
        one = ", ".join(f"{'%b' if kind == 'bytea' else '%s'}::{kind}" for kind in COLUMNS.values())
        self.insert_new_one = made(
            f"INSERT INTO {letters} ({columns}) SELECT {one}"
            f" WHERE {taken % '%b'} IS NULL AND {taken % '%b'} IS NULL"
        )
        self.copy = made(f"COPY {letters} ({columns}) FROM STDIN (FORMAT BINARY)")
        self.any_taken = made(
            f"SELECT FROM unnest(%b::bytea[]) AS given (id) WHERE {taken % 'given.id'} IS NOT NULL"
            " LIMIT 1"
        )
        self.insert = made(
            f"INSERT INTO {letters} ({columns}) VALUES ({one}) ON CONFLICT (id) DO NOTHING"
        )

    def _define_updating(self, letters: str) -> None:
        # A claim outlasts another failure of a dead letter only, and never a replacement.
        written = ", ".join(
            f"{name} = {'%b' if kind == 'bytea' else '%s'}::{kind}"
            for name, kind in COLUMNS.items()
        )
        self.update = made(f"UPDATE {letters} SET {written} WHERE position = %s")
        self.end_claim = made(
            f"UPDATE {letters} SET claim = NULL, claim_expires = NULL WHERE position = %s"
        )
        self.check = made(
            f"INSERT INTO {letters} (id, stage, reason, first_failed, last_failed, kind, alike,"
            " body) VALUES (gen_random_uuid()::text::bytea, '', '', now(), now(), 0, 0, '')"
        )

    def _define_reading(self, letters: str) -> None:
        select = f"SELECT {SELECTED} FROM {letters} l"
        self.letter = made(f"{select} WHERE l.id = %b")
        self.letter_for_update = made(f"{select} WHERE l.id = %b FOR UPDATE")
        self.lock = made(
            f"SELECT FROM {letters} WHERE id = ANY(%b::bytea[]) ORDER BY id FOR UPDATE"
        )
        self.count = made(f"SELECT count(*) FROM {letters} WHERE due IS NULL")
        self.exists = made(f"SELECT 1 FROM {letters} WHERE id = %b AND due IS NULL")
        self.newest_position = made(f"SELECT max(position) FROM {letters}")

    def _define_removing(self, letters: str) -> None:
        self.take = made(
            f"DELETE FROM {letters} l WHERE l.id = %b AND l.due IS NULL RETURNING {SELECTED}"
        )
        self.take_newest = made(f"""
            DELETE FROM {letters} l WHERE l.position = (
                SELECT position FROM {letters} WHERE due IS NULL
                ORDER BY position DESC LIMIT 1 FOR UPDATE SKIP LOCKED
            ) RETURNING {SELECTED}
        """)
        self.delete_some = made(f"""
            DELETE FROM {letters} WHERE position IN (
                SELECT position FROM {letters} WHERE position <= %s AND due IS NULL
                ORDER BY position LIMIT %s
            )
        """)

    def _define_inbox(self, names: Names) -> None:
        letters, received = names.letters, names.received
        self.receive = made(
            f"INSERT INTO {received} (key) VALUES (%b) ON CONFLICT (key) DO NOTHING"
        )
        self.receive_all = made(f"""
            INSERT INTO {received} (key) SELECT unnest(%b::bytea[]) ON CONFLICT (key) DO NOTHING
        """)
        # Look-ups by themselves, as in _define_inserting.
        self.any_beside = made(f"""
            SELECT FROM unnest(%b::bytea[], %b::bytea[], %b::bytea[]) AS given (own, first, last)
            WHERE (
                SELECT 1 FROM {received} WHERE key BETWEEN first AND last AND key <> own LIMIT 1
            ) IS NOT NULL LIMIT 1
        """)
        self.received_between = made(
            f"SELECT FROM {received} WHERE key BETWEEN %b AND %b AND key <> %b LIMIT 1"
        )
        self.set_received = made(f"""
            UPDATE {received} SET position = (SELECT position FROM {letters} WHERE id = %b)
            WHERE key = %b
        """)
        self.forget_done = made(f"""
            DELETE FROM {received} WHERE key IN (
                SELECT key FROM {received} WHERE done < %s ORDER BY done LIMIT %s
            )
        """)

    def _define_actions(self, actions: str) -> None:
        self.record = made(f"""
            INSERT INTO {actions} (at, who, what, which, letters, result, ids)
            VALUES (%s, %s, %s, %s, %s, %s, %b::bytea[])
        """)
        self.actions = made(f"""
            SELECT number, at, who, what, which, letters, result, ids FROM {actions}
            WHERE number < %s ORDER BY number DESC LIMIT %s
        """)

    def page(self, filters: list[str], *, newest_first: bool) -> bytes:
        """Return the statement that reads letters from a position on, no more than so many bytes.

        Its parameters: the newest position, the position to begin behind, those of the filters, how
        many letters, how many bytes of bodies before the last.

        :param filters: the names of the filters, in the order of their parameters.
        """
        order = "DESC" if newest_first else "ASC"
        columns = ", ".join(f"l.{name}" for name in ("position", *COLUMNS))
        return made(f"""
            SELECT {SELECTED} FROM (
                SELECT *, sum(octet_length(body)) OVER (ORDER BY position {order}) AS size FROM (
                    {self._range(columns, filters, newest_first)}
                ) found
            ) l
            WHERE size - octet_length(body) <= %s ORDER BY position {order}
        """)

    def choose(self, filters: list[str], *, newest_first: bool = False) -> bytes:
        """Return the statement that finds positions, failures and ids of letters, likewise."""
        columns = "l.position, l.failures, coalesce(l.whole_id, l.id)"
        return made(self._range(columns, filters, newest_first))

    def _range(self, columns: str, filters: list[str], newest_first: bool) -> str:
        bounds = ["l.position <= %s", f"l.position {'<' if newest_first else '>'} %s"]
        where = " AND ".join([*bounds, *(FILTERS[name] for name in filters)])
        order = "DESC" if newest_first else "ASC"
        return (
            f"SELECT {columns} FROM {self.letters} l WHERE {where}"
            f" ORDER BY l.position {order} LIMIT %s"
        )

    def remove_chosen(self, filters: list[str]) -> bytes:
        """Return the statement that removes letters that have so many failures and match filters."""
        where = " AND ".join(FILTERS[name] for name in filters) or "true"
        return made(f"""
            DELETE FROM {self.letters} l USING unnest(%s::bigint[], %s::bigint[])
                AS chosen (position, failures)
            WHERE l.position = chosen.position AND l.failures = chosen.failures AND {where}
        """)

    def summary(self, state: str | None) -> bytes:
        """Return the statement that counts letters by kind; how many rows is its parameter."""
        where = "WHERE " + FILTERS[state] if state else ""
        return made(f"""
            WITH kinds AS (
                SELECT l.kind, min(l.position) AS example, count(*) AS number,
                    min(l.first_failed) AS first_seen, max(l.last_failed) AS last_seen
                FROM {self.letters} l {where} GROUP BY l.kind
                ORDER BY number DESC, example LIMIT %s
            )
            SELECT error_type, handler, reason, number, first_seen, last_seen
            FROM kinds JOIN {self.letters} ON position = example ORDER BY number DESC, example
        """)

    def groups(self, state: str | None) -> bytes:
        """Return the statement that counts letters by group; how many rows is its parameter."""
        where = "WHERE " + FILTERS[state] if state else ""
        return made(f"""
            WITH groups AS (
                SELECT l.alike, min(l.position) AS example, count(*) AS number,
                    min(l.first_failed) AS first_seen, max(l.last_failed) AS last_seen
                FROM {self.letters} l {where} GROUP BY l.alike
                ORDER BY number DESC, alike LIMIT %s
            )
            SELECT error_type, handler, reason, traceback, number, first_seen, last_seen
            FROM groups JOIN {self.letters} ON position = example
            ORDER BY number DESC, groups.alike
        """)

    def tally(self, filters: list[str]) -> bytes:
        """Return the statement that counts letters between times.

        Its parameters: those of the filters, the beginnings, the ends.
        """
        where = " AND ".join(
            ["l.last_failed >= since", "l.last_failed < until", *(FILTERS[f] for f in filters)]
        )
        return made(f"""
            SELECT (SELECT count(*) FROM {self.letters} l WHERE {where})
            FROM unnest(%s::timestamptz[], %s::timestamptz[]) WITH ORDINALITY
                AS times (since, until, number) ORDER BY number
        """)


def made(text: str) -> bytes:
    """Return a statement as psycopg takes what is no literal, without needless spaces."""
    return " ".join(text.split()).encode()
