"""Dead letters in PostgreSQL: what it costs to keep one, and to find one among a million."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from instrument import Stopwatch, Suite
from postgresql_service import postgresql_service

BODY = b"x" * 1024
BATCH = 1000
MILLION = 1_000_000
#: How many of the million are deferred messages, all of them due.
DEFERRED = 300_000
CLAIMED = 100
DUE = datetime(2024, 1, 1, tzinfo=timezone.utc)
#: The letters of the million that are read.
SEED = 1

suite = Suite(
    "postgresql", "Dead letters in PostgreSQL", unit="µs a letter", service=postgresql_service
)


@suite.variant(
    "psycopg",
    environment="limit",
    kind="limit",
    semantics="id, body, reason and time inserted and committed by hand, a transaction each",
)
def raw_put(conninfo: str, batch: int) -> Callable[[int], dict[str, float]]:
    """Measure inserts by hand."""
    import psycopg

    connection = psycopg.connect(conninfo)
    connection.execute(
        "CREATE TABLE IF NOT EXISTS messages"
        " (id bytea PRIMARY KEY, body bytea, reason text, inserted timestamptz)"
    )
    connection.commit()

    def run(letters: int) -> dict[str, float]:
        now = datetime.now(timezone.utc)
        rows = [(os.urandom(16), BODY, "it failed", now) for _ in range(letters)]
        watch = Stopwatch()
        for row in rows:
            connection.execute("INSERT INTO messages VALUES (%b, %b, %s, %s)", row)
            connection.commit()
        return watch.stop()

    return run


def letters_of(count: int) -> list[Any]:
    """Return letters as settlement makes them, with tracebacks."""
    import missive

    try:
        raise ValueError("it failed")
    except ValueError as raised:
        error = raised
    return [
        missive.DeadLetter.from_failure(
            missive.RawMessage(BODY),
            stage="handling",
            reason=str(error),
            error=error,
            handler="app.orders.handle",
        )
        for _ in range(count)
    ]


@suite.variant(
    "Missive",
    environment="missive",
    kind="missive",
    semantics="the whole record with its traceback, searchable; committed when put returns",
)
def put(conninfo: str, batch: int) -> Callable[[int], dict[str, float]]:
    """Measure the store with letters made beforehand."""
    from missive.dlq.postgresql import PostgreSQLDLQ

    store = PostgreSQLDLQ(conninfo, table="put")

    def run(count: int) -> dict[str, float]:
        letters = letters_of(count)
        watch = Stopwatch()
        for start in range(0, count, batch):
            store.put_many(letters[start : start + batch])
        return watch.stop()

    return run


# Among a million: the same table, read by hand and by the store. It is filled once, by the variant
# that comes first, and not measured.


def filled(conninfo: str) -> None:
    """Fill the table ``many``, unless that was done."""
    import psycopg

    with psycopg.connect(conninfo, autocommit=True) as connection:
        there = connection.execute("SELECT to_regclass('filled') IS NOT NULL").fetchone()
        if there == (True,):
            return
    from missive.dlq.postgresql import PostgreSQLDLQ

    (example,) = letters_of(1)
    with PostgreSQLDLQ(conninfo + " options='-c synchronous_commit=off'", table="many") as store:
        for start in range(0, MILLION, BATCH):
            letters = [
                example._replace(
                    id=b"%016d" % number,
                    message_id=b"%016d" % number,
                    reason=f"it failed {number % 7}",
                    handler=f"app.orders.handle_{number % 50}",
                )
                for number in range(start, start + BATCH)
            ]
            if start < MILLION - DEFERRED:
                store.put_many(letters)
            else:  # due in another order than they came
                store.defer(
                    letter._replace(due=DUE + timedelta(seconds=int(letter.id) * 7919 % 1_000_003))
                    for letter in letters
                )
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE many")
        connection.execute("CREATE TABLE filled ()")


#: By hand: every column of a letter, or what a group shows.
COLUMNS = (
    "position, id, whole_id, message_id, source, message_class, stage, error_type, handler, reason,"
    " first_failed, last_failed, failures, due, attempt, host, version, headers, history, traceback,"
    " body"
)
CLAIM = """
    UPDATE many SET claim = 'x', claim_expires = now() + interval '600 s' FROM (
        SELECT position AS found FROM many WHERE due <= now() AND claim_expires IS NULL
        ORDER BY due LIMIT 100 FOR UPDATE SKIP LOCKED
    ) waiting WHERE position = found RETURNING many.*
"""
BY_HAND = {
    "get": f"SELECT {COLUMNS} FROM many WHERE id = %b",  # noqa: S608
    "page": f"SELECT {COLUMNS} FROM many WHERE position > %s ORDER BY position LIMIT 100",  # noqa: S608
    "groups": "SELECT alike, count(*), min(first_failed), max(last_failed) FROM many"
    " WHERE due IS NULL GROUP BY alike ORDER BY 2 DESC",
    "claim": CLAIM,
}


def places() -> list[int]:
    """Return positions of letters that are read."""
    chance = random.Random(SEED)
    return [chance.randrange(MILLION - DEFERRED - 200) for _ in range(10_000)]


def by_hand(what: str) -> Callable[..., Callable[[int], None]]:
    """Measure a statement by hand, its rows as tuples."""

    def prepare(conninfo: str) -> Callable[[int], None]:
        import psycopg

        filled(conninfo)
        connection = psycopg.connect(conninfo, autocommit=True)
        chosen = places()

        def run(count: int) -> None:
            step = CLAIMED if what == "claim" else 1
            for number in range(0, count, step):
                place = chosen[number % len(chosen)]
                values = {"get": (b"%016d" % place,), "page": (place,)}.get(what, ())
                connection.execute(BY_HAND[what], values, binary=True).fetchall()

        return run

    return prepare


def by_store(what: str) -> Callable[..., Callable[[int], None]]:
    """Measure the store."""

    def prepare(conninfo: str) -> Callable[[int], None]:
        from missive.dlq.postgresql import PostgreSQLDLQ

        filled(conninfo)
        store = PostgreSQLDLQ(conninfo, table="many")
        chosen = places()

        def run(count: int) -> None:
            step = CLAIMED if what == "claim" else 1
            for number in range(0, count, step):
                place = chosen[number % len(chosen)]
                if what == "get":
                    store.letter(b"%016d" % place)
                elif what == "page":
                    assert len(list(store.letters(limit=100, after=place))) == 100
                elif what == "groups":
                    assert len(store.groups()) == 50
                else:
                    assert len(store.claim_due(CLAIMED, 600.0)) == CLAIMED

        return run

    return prepare


CASES = {
    "get": ("one of a million by its id", "every column of a row, as a tuple", 500),
    "page": ("a page of 100 of a million", "every column of 100 rows, as tuples", 50),
    "groups": ("the groups of a million", "counts and times by the same index", 1),
    "claim": (f"due, of a million, {CLAIMED} at once", "rows claimed in one statement", 1000),
}
for what, (text, semantics, _) in CASES.items():
    suite.variant(f"psycopg, {what}", environment="limit", kind="limit", semantics=semantics)(
        by_hand(what)
    )
    suite.variant(f"Missive, {what}", environment="missive", kind="missive", semantics=text)(
        by_store(what)
    )

suite.case("1 KB, a commit each", ("psycopg", "Missive"), parameters={"batch": 1}, items=400)
suite.case("1 KB, 1000 in a statement", ("Missive",), parameters={"batch": BATCH}, items=5000)
for what, (text, _, items) in CASES.items():
    # The store fills the table, and so comes first.
    suite.case(text, (f"Missive, {what}", f"psycopg, {what}"), items=items, quick=False)

suite.target(
    "put, of an insert and a commit by hand",
    ("1 KB, a commit each", "Missive"),
    ("1 KB, a commit each", "psycopg"),
    at_most=1.15,
)
suite.target(
    "put singly, of 1000 in a statement",
    ("1 KB, a commit each", "Missive"),
    ("1 KB, 1000 in a statement", "Missive"),
    at_least=20,
)
for what, (text, _, _) in CASES.items():
    suite.target(
        f"{text}, of the query by hand",
        (text, f"Missive, {what}"),
        (text, f"psycopg, {what}"),
        at_most=2,
    )
