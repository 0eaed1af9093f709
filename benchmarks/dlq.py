"""Dead letters in SQLite: what it costs to keep one, and to find one among a million."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from instrument import Stopwatch, Suite

BODY = b"x" * 1024
BATCH = 100
MILLION = 1_000_000
DUE = datetime(2024, 1, 1, tzinfo=timezone.utc)

RAW_TABLE = "CREATE TABLE messages (id BLOB PRIMARY KEY, body BLOB, reason TEXT, inserted TEXT)"
RAW_INSERT = "INSERT INTO messages VALUES (?, ?, ?, ?)"

#: A table with all that a letter has, as a store written by hand would be.
WIDE_COLUMNS = (
    "id, message_id, stage, error_type, handler, source, first_failed, last_failed, failures,"
    " reason, body, headers, message_class, host, version, traceback"
)
WIDE_TABLE = f"CREATE TABLE letters (position INTEGER PRIMARY KEY, {WIDE_COLUMNS}, UNIQUE (id))"


@contextmanager
def folder() -> Iterator[dict[str, Any]]:
    """Return the suite a folder on the disk that temporary files are on."""
    path = tempfile.mkdtemp(prefix="missive-dlq-")
    try:
        yield {"folder": path}
    finally:
        shutil.rmtree(path)


suite = Suite("dlq", "Dead letters in SQLite", unit="µs a letter", service=folder)


def fresh(folder: str) -> str:
    """Return the path of a file that is not there yet, on the disk that is measured."""
    return str(Path(tempfile.mkdtemp(dir=folder)) / "dlq.db")


def connect(path: str, journal: str) -> sqlite3.Connection:
    """Open a database that a commit is safe in, by one journal or the other."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def raw_put(journal: str) -> Callable[..., Callable[[int], dict[str, float]]]:
    """Measure inserts by hand, so many in a commit."""

    def prepare(folder: str, batch: int) -> Callable[[int], dict[str, float]]:
        connection = connect(fresh(folder), journal)
        connection.execute(RAW_TABLE)

        def run(letters: int) -> dict[str, float]:
            rows = [
                (os.urandom(16), BODY, "it failed", "2026-11-24 12:00:00") for _ in range(letters)
            ]
            watch = Stopwatch()
            for start in range(0, letters, batch):
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(RAW_INSERT, rows[start : start + batch])
                connection.execute("COMMIT")
            return watch.stop()

        return run

    return prepare


suite.variant(
    "sqlite3, WAL",
    environment="limit",
    kind="limit",
    semantics="inserts of id, body, reason and time by hand; WAL and FULL: survives a power cut",
)(raw_put("WAL"))
suite.variant(
    "sqlite3, DELETE",
    environment="limit",
    kind="limit",
    semantics="the same with SQLite's default journal, which 0.8.1 has; survives a power cut",
)(raw_put("DELETE"))


@suite.variant(
    "append and fdatasync",
    environment="limit",
    kind="limit",
    semantics="bytes at the end of a file, synced: the disk and nothing else",
)
def append(folder: str, batch: int) -> Callable[[int], dict[str, float]]:
    """Measure the disk."""
    file = os.open(fresh(folder), os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def run(letters: int) -> dict[str, float]:
        watch = Stopwatch()
        for _ in range(0, letters, batch):
            os.write(file, BODY * batch)
            os.fdatasync(file)
        return watch.stop()

    return run


@suite.variant(
    "missive 0.8.1",
    environment="former",
    kind="former",
    semantics="a pickled message, a commit each; survives a power cut",
)
def former_put(folder: str, batch: int) -> Callable[[int], dict[str, float]]:
    """Measure the store of 0.8.1, whose messages know no ids but their own."""
    import missive
    from missive.dlq.sqlite import SQLiteDLQ

    store: Any = SQLiteDLQ(fresh(folder))

    def run(letters: int) -> dict[str, float]:
        messages = [missive.RawMessage(BODY) for _ in range(letters)]
        watch = Stopwatch()
        for message in messages:
            store[message.message_id] = (message, "it failed")
        return watch.stop()

    return run


def failure() -> Exception:
    """Return an exception as a handler raises it."""
    try:
        raise ValueError("it failed")
    except ValueError as error:
        return error


def letters_of(count: int) -> list[Any]:
    """Make letters as settlement does, with tracebacks."""
    import missive

    error = failure()
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
    semantics="the whole record with its traceback, searchable; survives a power cut",
)
def put(folder: str, batch: int) -> Callable[[int], dict[str, float]]:
    """Measure the store with letters made beforehand."""
    from missive.dlq.sqlite import SQLiteDLQ

    store = SQLiteDLQ(fresh(folder))

    def run(count: int) -> dict[str, float]:
        letters = letters_of(count)
        watch = Stopwatch()
        if batch == 1:
            for letter in letters:
                store.put(letter)
        else:
            for start in range(0, count, batch):
                store.put_many(letters[start : start + batch])
        return watch.stop()

    return run


def storm(one_by_one: bool) -> Callable[..., Iterator[Callable[[int], dict[str, float]]]]:
    """Measure bad messages from matching to the ack, settled singly or in batches."""

    def prepare(folder: str) -> Iterator[Callable[[int], dict[str, float]]]:
        import logging

        import missive
        from missive.dlq.sqlite import SQLiteDLQ

        class Sink(missive.Adapter[missive.RawMessage]):
            def ack(self, message: missive.RawMessage) -> None:
                pass

            nack = ack

        # One line is logged for each, which is part of what it costs.
        logging.basicConfig(filename=os.devnull, format="%(asctime)s %(name)s %(message)s")
        processor: missive.Processor[missive.RawMessage] = missive.Processor()

        @processor.handle_for(lambda message: True)
        def fail(message: Any, ctx: Any) -> None:
            raise ValueError("it failed")

        with (
            SQLiteDLQ(fresh(folder)) as store,
            processor.context(missive.RawMessage, Sink(processor), dlq=store) as ctx,
        ):

            def run(messages: int) -> dict[str, float]:
                watch = Stopwatch()
                for _ in range(0, messages, BATCH):
                    contexts = [ctx.process(missive.Delivery(BODY)) for _ in range(BATCH)]
                    if one_by_one:
                        for context in contexts:
                            ctx.settle((context,))
                    else:
                        ctx.settle(contexts)
                return watch.stop()

            yield run

    return prepare


suite.variant(
    "settled one by one",
    environment="missive",
    kind="missive",
    semantics="matched, failed, kept, acked: a commit for each letter, before its ack",
)(storm(one_by_one=True))
suite.variant(
    "settled in batches",
    environment="missive",
    kind="missive",
    semantics=f"the same: a commit for {BATCH} letters, before the first of their acks",
)(storm(one_by_one=False))


@suite.variant(
    "make a letter",
    environment="missive",
    kind="missive",
    semantics="the record of a failure with its traceback, not kept anywhere",
)
def make(**_: Any) -> Callable[[int], None]:
    """Measure what a storm costs before anything is written."""

    def run(count: int) -> None:
        letters_of(count)

    return run


@suite.variant(
    "defer, claim, remove",
    environment="missive",
    kind="missive",
    semantics="a message deferred, claimed when due, and removed: its whole way through the store",
)
def defer_and_handle(folder: str, batch: int) -> Callable[[int], dict[str, float]]:
    """Measure what it costs to have a message wait."""
    from missive.dlq.sqlite import SQLiteDLQ

    store = SQLiteDLQ(fresh(folder))

    def run(count: int) -> dict[str, float]:
        letters = [letter._replace(due=DUE) for letter in letters_of(count)]
        watch = Stopwatch()
        for start in range(0, count, batch):
            store.defer(letters[start : start + batch])
            for claim, _ in store.claim_due(batch):
                store.remove(claim)
        return watch.stop()

    return run


@suite.variant(
    "empty loop",
    environment="limit",
    kind="limit",
    semantics="what the loop around a look-up costs",
)
def empty_loop(**_: Any) -> Callable[[int], None]:
    """Measure a loop that does nothing."""

    def run(count: int) -> None:
        for _ in range(count):
            pass

    return run


# Among many. The files are made once, by whichever variant comes first, and not measured.


def many_raw(folder: str, letters: int) -> tuple[sqlite3.Connection, list[bytes]]:
    """Return a hand-made table of so many letters, and some of their ids."""
    path = Path(folder) / f"raw-{letters}.db"
    new = not path.exists()
    connection = sqlite3.connect(path, isolation_level=None)
    chance = random.Random(1)
    if new:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(WIDE_TABLE)
        marks = ", ".join("?" * (WIDE_COLUMNS.count(",") + 1))
        traceback = "Traceback (most recent call last):\n" + "x" * 200
        connection.execute("BEGIN")
        connection.executemany(
            f"INSERT INTO letters ({WIDE_COLUMNS}) VALUES ({marks})",  # noqa: S608
            (
                (
                    *(b"%016d" % number, None, "handling", "ValueError", "app.orders.handle", None),
                    *(1_700_000_000_000_000 + number, 1_700_000_000_000_000 + number, 1),
                    *(f"it failed {number % 7}", BODY, None, "missive.RawMessage", "host", "0.1.0"),
                    traceback,
                )
                for number in range(letters)
            ),
        )
        connection.execute("COMMIT")
    return connection, [b"%016d" % chance.randrange(letters) for _ in range(10_000)]


def many_letters(folder: str, letters: int) -> tuple[Any, list[bytes]]:
    """Return a store of so many letters, and some of their ids."""
    from missive.dlq.sqlite import SQLiteDLQ

    path = Path(folder) / f"store-{letters}.db"
    if not path.exists():
        (example,) = letters_of(1)
        with SQLiteDLQ(path, synchronous="OFF") as store:
            for start in range(0, letters, 1000):
                store.put_many(
                    example._replace(
                        id=b"%016d" % number,
                        message_id=b"%016d" % number,
                        reason=f"it failed {number % 7}",
                    )
                    for number in range(start, start + 1000)
                )
    chance = random.Random(1)
    return SQLiteDLQ(path), [b"%016d" % chance.randrange(letters) for _ in range(10_000)]


def raw_read(what: str) -> Callable[..., Callable[[int], None]]:
    """Measure reads by hand, of every column, as tuples."""

    def prepare(folder: str, letters: int = MILLION) -> Callable[[int], None]:
        connection, ids = many_raw(folder, letters)
        columns = f"position, {WIDE_COLUMNS}"
        statements = {
            "oldest": f"SELECT {columns} FROM letters ORDER BY position LIMIT 1",  # noqa: S608
            "get": f"SELECT {columns} FROM letters WHERE id = ?",  # noqa: S608
            "page": f"SELECT {columns} FROM letters WHERE position > ? ORDER BY position LIMIT 100",  # noqa: S608
        }
        statement = statements[what]

        def run(count: int) -> None:
            for number in range(count):
                key = ids[number % len(ids)]
                if what == "get":
                    connection.execute(statement, (key,)).fetchone()
                elif what == "page":
                    connection.execute(statement, (int(key) % (letters - 200),)).fetchall()
                else:
                    connection.execute(statement).fetchone()

        return run

    return prepare


def read(what: str) -> Callable[..., Callable[[int], None]]:
    """Measure the store's own reads."""

    def prepare(folder: str, letters: int = MILLION) -> Callable[[int], None]:
        store, ids = many_letters(folder, letters)

        def run(count: int) -> None:
            for number in range(count):
                key = ids[number % len(ids)]
                if what == "get":
                    store[key]
                elif what == "page":
                    list(store.letters(limit=100, after=int(key) % (letters - 200)))
                elif what == "summary":
                    store.summary()
                elif what == "rare":
                    list(store.letters(reason="nothing like it"))
                elif what == "length":
                    len(store)
                else:
                    store.oldest()

        return run

    return prepare


for what, text in (("oldest", "the first"), ("get", "one by its id"), ("page", "a page of 100")):
    suite.variant(
        f"sqlite3, {what}",
        environment="limit",
        kind="limit",
        semantics=f"{text} of a hand-made table: every column, as tuples",
    )(raw_read(what))
for what, text in (
    ("oldest", "message, reason and time of the first"),
    ("get", "message and reason of one, by its id"),
    ("page", "a page of 100 letters"),
    ("summary", "counts by error, handler and reason"),
    ("rare", "a search that finds nothing, all through"),
    ("length", "how many there are"),
):
    suite.variant(f"Missive, {what}", environment="missive", kind="missive", semantics=f"{text}")(
        read(what)
    )


@suite.variant(
    "Missive, all",
    environment="missive",
    kind="missive",
    semantics="every letter, one by one; the memory that it takes is that of a few",
)
def iterate(folder: str) -> Callable[[int], dict[str, float]]:
    """Measure an iteration over everything."""
    store, _ = many_letters(folder, MILLION)

    def run(letters: int) -> dict[str, float]:
        watch = Stopwatch()
        count = sum(1 for _ in store.letters(limit=letters))
        assert count == letters
        return watch.stop()

    return run


WRITES = ("append and fdatasync", "sqlite3, WAL", "sqlite3, DELETE", "missive 0.8.1", "Missive")
suite.case(
    "1 KB, a commit each",
    (*WRITES, "defer, claim, remove"),
    parameters={"batch": 1},
    items=400,
    quick_items=100,
)
suite.case(
    "1 KB, 100 in a commit",
    [name for name in WRITES if name != "missive 0.8.1"],
    parameters={"batch": BATCH},
    items=5000,
    quick_items=2000,
)
suite.case(
    "a storm of bad messages",
    ("settled one by one", "settled in batches"),
    items=1000,
    quick_items=300,
)
suite.case("before anything is written", ("make a letter",))
for what, text in (
    ("oldest", "the oldest of a million"),
    ("get", "one of a million by its id"),
    ("page", "a page of 100 of a million"),
):
    bottom = ("empty loop",) if what != "page" else ()
    suite.case(text, (f"sqlite3, {what}", f"Missive, {what}", *bottom), quick=False)
suite.case(
    "all through a million",
    ("Missive, summary", "Missive, rare", "Missive, length"),
    items=3,
    quick=False,
    rounds=3,
)
suite.case("a million, one by one", ("Missive, all",), items=MILLION, quick=False, rounds=1)

for what, curve in (("get", "letters, one by its id"), ("page", "letters, a page of 100")):
    for kept in (1000, 10_000, 100_000, MILLION):
        suite.case(
            f"{what} among {kept}",
            (f"sqlite3, {what}", f"Missive, {what}"),
            parameters={"letters": kept},
            curve=curve,
            x=kept,
            quick=False,
            rounds=3,
        )
for kept in (1000, 10_000, 100_000, MILLION):
    suite.case(
        f"counted among {kept}",
        ("Missive, summary",),
        parameters={"letters": kept},
        items=3,
        curve="letters, all counted by reason",
        x=kept,
        quick=False,
        rounds=3,
    )

suite.target(
    "put, of a hand-made insert",
    ("1 KB, a commit each", "Missive"),
    ("1 KB, a commit each", "sqlite3, WAL"),
    at_most=1.15,
)
suite.target(
    "deferred and handled, of a put",
    ("1 KB, a commit each", "defer, claim, remove"),
    ("1 KB, a commit each", "Missive"),
    at_most=2.5,
)
suite.target(
    "a storm one by one, of one in batches",
    ("a storm of bad messages", "settled one by one"),
    ("a storm of bad messages", "settled in batches"),
    at_least=8,
)
for what, text in (("oldest", "the oldest of a million"), ("get", "one of a million by its id")):
    suite.target(
        f"{text}, µs",
        (text, f"Missive, {what}"),
        (text, "empty loop"),
        at_most=25,
        difference=True,
        unit="µs",
        scale=1e6,
    )
suite.target(
    "a page of 100, of a hand-made query",
    ("a page of 100 of a million", "Missive, page"),
    ("a page of 100 of a million", "sqlite3, page"),
    at_most=2,
)
