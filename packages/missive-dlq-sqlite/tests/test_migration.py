"""Databases of older versions become those of today, in place."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from missive import DeadLetterStoreError
from missive.dlq.sqlite import SQLiteDLQ, schema
from missive.letters import Claim, Counts, Receipt, SummaryRow, utc_now

SCHEMA_1 = (Path(__file__).parent / "schema_1.sql").read_text()
SCHEMA_2 = (Path(__file__).parent / "schema_2.sql").read_text()
NOON = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)
MICROS = int(NOON.timestamp()) * 1_000_000


def make_version_1(path: Path, letters: int = 3, reason: str = "it failed") -> None:
    """Make a store as the first version left it; the first letter failed twice and is claimed."""
    connection = sqlite3.connect(path)
    connection.executescript(SCHEMA_1)
    connection.execute(
        "INSERT INTO origins VALUES (1, 'handling', 'E', 'app.handle', 'M', 'host', '0.1.0')"
    )
    connection.executemany(
        "INSERT INTO letters (position, id, origin, source, first_failed, last_failed, failures,"
        " kind, reason) VALUES (?, ?, 1, 's', ?, ?, 1, 7, ?)",
        [(number, b"%d" % number, MICROS, MICROS, reason) for number in range(1, letters + 1)],
    )
    connection.executemany(
        "INSERT INTO contents VALUES (?, ?, NULL, 'Traceback')",
        [(number, b"body %d" % number) for number in range(1, letters + 1)],
    )
    far = int((datetime.now(timezone.utc) + timedelta(days=1)).timestamp()) * 1_000_000
    connection.execute(
        "UPDATE letters SET failures = 2, claim = 'token', claimed = ?, claim_expires = ?"
        " WHERE position = 1",
        (far - 2 * 86_400_000_000, far),
    )
    connection.execute("INSERT INTO history VALUES (1, 1, ?, 1, 'before')", (MICROS,))
    connection.commit()
    connection.close()


def make_version_2(path: Path) -> None:
    """Make a store of the second version, with a dead letter and a deferred message."""
    connection = sqlite3.connect(path)
    connection.executescript(SCHEMA_2)
    connection.execute(
        "INSERT INTO origins VALUES (1, 'handling', NULL, NULL, 'M', 'host', '0.1.0')"
    )
    for number, due in ((1, None), (2, MICROS)):
        connection.execute(
            "INSERT INTO letters (position, id, origin, source, first_failed, last_failed, failures,"
            " kind, reason, due) VALUES (?, ?, 1, 's', ?, ?, 1, 7, 'it failed', ?)",
            (number, b"%d" % number, MICROS, MICROS, due),
        )
        connection.execute(
            "INSERT INTO contents VALUES (?, ?, NULL, NULL)", (number, b"body %d" % number)
        )
    connection.commit()
    connection.close()


def schema_of(path: Path) -> dict[str, str]:
    """Return what is in a database by name, white space aside."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    found = {name: " ".join(sql.split()) for name, sql in rows}
    connection.close()
    return found


def test_from_version_1(tmp_path: Path) -> None:
    """A store of the first version keeps its letters, histories and claims, and can defer."""
    path = tmp_path / "dlq.db"
    make_version_1(path)
    with SQLiteDLQ(path) as store:
        letters = list(store.letters())
        assert [letter.id for letter in letters] == [b"1", b"2", b"3"]
        assert {(one.state, one.due, one.attempt) for one in letters} == {("dead", None, 1)}
        assert [failure.reason for failure in letters[0].history] == ["before", "it failed"]
        assert store.summary() == [SummaryRow("E", "app.handle", "it failed", 3, NOON, NOON)]
        assert store.claim(b"1") is None
        assert store.counts() == Counts(dead=3, deferred=0, due=0, claimed=1)
        store.defer([letters[1]._replace(due=NOON)])
        ((claim, letter),) = store.claim_due(10)
        assert (letter.id, letter.state, letter.failures) == (b"2", "deferred", 2)
        assert store.remove(claim)
        assert store.remove(Claim(b"1", "token", 2, NOON))
        assert list(store) == [b"3"]


def test_from_version_2(tmp_path: Path) -> None:
    """A store of the second version keeps its letters, and can take an inbox's messages."""
    path = tmp_path / "dlq.db"
    make_version_2(path)
    with SQLiteDLQ(path) as store:
        assert store.counts() == Counts(dead=1, deferred=1, due=1, claimed=0)
        again = store.letter(b"2")
        assert store.receive([again]) == [Receipt.KNOWN]
        ((claim, _),) = store.claim_due(10)
        assert store.remove(claim)
        assert store.receive([again]) == [Receipt.KNOWN]
        assert store.forget_done(utc_now() + timedelta(hours=1)) == 1
        assert store.receive([again]) == [Receipt.NEW]


@pytest.mark.parametrize("make", [make_version_1, make_version_2])
def test_the_schema_is_that_of_a_new_store(make: Callable[[Path], None], tmp_path: Path) -> None:
    """Tables, indexes, views and triggers are those that a new store has."""
    make(tmp_path / "old.db")
    SQLiteDLQ(tmp_path / "old.db").close()
    SQLiteDLQ(tmp_path / "new.db").close()
    old, new = schema_of(tmp_path / "old.db"), schema_of(tmp_path / "new.db")
    # SQLite appends the columns to the text of the table as they were given.
    for table in (old, new):
        del table["letters"]
    assert old == new
    columns = []
    for path in (tmp_path / "old.db", tmp_path / "new.db"):
        connection = sqlite3.connect(path)
        columns.append(connection.execute("PRAGMA table_info(letters)").fetchall())
        connection.close()
    assert columns[0] == columns[1]


def test_a_migration_that_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a statement of the migration fails, the file is as it was, and can be migrated later."""
    path = tmp_path / "dlq.db"
    make_version_1(path)
    before = path.read_bytes()
    with monkeypatch.context() as patched:
        broken = {1: schema.MIGRATIONS[1] + "SELECT nonsense;"}
        patched.setattr(schema, "MIGRATIONS", broken)
        with pytest.raises(DeadLetterStoreError, match="nonsense"):
            SQLiteDLQ(path)
    assert path.read_bytes() == before
    with SQLiteDLQ(path) as store:
        assert len(store) == 3


def test_an_older_store_is_not_looked_at(tmp_path: Path) -> None:
    """A store that needs a migration is refused to one who may only look."""
    path = tmp_path / "dlq.db"
    make_version_1(path)
    with pytest.raises(DeadLetterStoreError, match="opened for writing"):
        SQLiteDLQ(path, read_only=True)


def test_letters_of_version_1_are_grouped(tmp_path: Path) -> None:
    """The letters of an older store are in groups once it is opened, and can be counted."""
    path = tmp_path / "dlq.db"
    make_version_1(path)
    with SQLiteDLQ(path) as store:
        (group,) = store.groups()
        assert (group.letters, group.reason) == (3, "it failed")
        assert (group.first_seen, group.last_seen) == (NOON, NOON)
        assert len(list(store.letters(group=group.kind.digits()))) == 3
        assert store.tally([NOON, NOON + timedelta(seconds=1)]) == [3]
        assert len(store) == 3
        assert store.actions() == []
