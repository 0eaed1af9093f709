"""How the table is found, made and migrated, and with which privileges."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import psycopg
import pytest
from missive import dlq_from_url
from missive.dlq.postgresql import PostgreSQLDLQ
from missive.errors import DeadLetterStoreRefused
from missive.letters import Action, utc_now
from postgresql_server import PostgreSQLServer
from test_store import deferred, letter

Opener = Callable[..., PostgreSQLDLQ]

#: Opens a store and writes a letter, when a line on standard input says so.
PROGRAM = """
import sys
from missive import RawMessage
from missive.dlq.postgresql import PostgreSQLDLQ
from missive.letters import DeadLetter
sys.stdin.readline()
with PostgreSQLDLQ(sys.argv[1]) as store:
    store.put(DeadLetter.from_failure(RawMessage(b"x"), stage="handling", reason="it failed"))
"""


@pytest.fixture
def user(server: PostgreSQLServer, database: str) -> Iterator[str]:
    """Return a user who may connect to the database and may make nothing in it."""
    name = f"plain_{database}"
    server.execute(f"CREATE ROLE {name} LOGIN")
    server.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database)
    yield name
    server.execute(f"DROP OWNED BY {name}", database)
    server.execute(f"DROP ROLE {name}")


def test_many_processes_that_start_at_once(server: PostgreSQLServer, database: str) -> None:
    """Of many processes that open a new store at once each finds it made, and made once."""
    command = [sys.executable, "-c", PROGRAM, server.conninfo(database)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    try:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            _, errors = process.communicate(timeout=150)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert server.execute("SELECT count(*) FROM missive_letters", database) == [(4,)]
    assert server.execute("SELECT count(*) FROM missive_letters_version", database) == [(1,)]


def test_an_older_store_is_migrated(
    server: PostgreSQLServer, database: str, store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store of an older version is brought up to date, step by step, when it is opened."""
    store().put(letter())
    monkeypatch.setattr("missive.dlq.postgresql.schema.VERSION", 3)
    monkeypatch.setattr("missive.dlq.postgresql.opening.VERSION", 3)
    steps = {
        1: "ALTER TABLE {letters} ADD COLUMN colour text DEFAULT 'blue';",
        2: "ALTER TABLE {letters} RENAME COLUMN colour TO tint;",
    }
    monkeypatch.setattr("missive.dlq.postgresql.schema.MIGRATIONS", steps)
    assert len(store()) == 1
    assert server.execute("SELECT tint FROM missive_letters", database) == [("blue",)]
    assert server.execute("SELECT version FROM missive_letters_version", database) == [(3,)]
    monkeypatch.undo()
    with pytest.raises(DeadLetterStoreRefused, match="upgrade missive-dlq-postgresql"):
        store()


def test_a_migration_that_fails_changes_nothing(
    server: PostgreSQLServer, database: str, store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a later step of a migration fails, the store is as it was."""
    store().put(letter())
    monkeypatch.setattr("missive.dlq.postgresql.schema.VERSION", 3)
    monkeypatch.setattr("missive.dlq.postgresql.opening.VERSION", 3)
    steps = {1: "ALTER TABLE {letters} ADD COLUMN colour text;", 2: "SELECT 1/0;"}
    monkeypatch.setattr("missive.dlq.postgresql.schema.MIGRATIONS", steps)
    with pytest.raises(RuntimeError, match="22012"):
        store()
    monkeypatch.undo()
    assert len(store()) == 1
    found = server.execute(
        "SELECT count(*) FROM information_schema.columns WHERE column_name = 'colour'", database
    )
    assert found == [(0,)]


def test_a_user_who_may_make_no_table(server: PostgreSQLServer, database: str, user: str) -> None:
    """A user without the right to make tables is told what to do, and nothing is made."""
    with pytest.raises(DeadLetterStoreRefused, match="missive dlq migrate"):
        PostgreSQLDLQ(server.conninfo(database, user))
    assert server.execute("SELECT to_regclass('missive_letters') IS NULL", database) == [(True,)]


def test_the_least_privileges(server: PostgreSQLServer, database: str, user: str) -> None:
    """With SELECT, INSERT, UPDATE and DELETE on the tables, all that a store does works."""
    PostgreSQLDLQ(server.conninfo(database)).close()
    server.execute(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON missive_letters, missive_letters_received"
        f" TO {user}; GRANT SELECT, INSERT ON missive_letters_actions TO {user};"
        f"GRANT SELECT ON missive_letters_version TO {user}",
        database,
    )
    with PostgreSQLDLQ(server.conninfo(database, user)) as opened:
        opened.check()
        opened.put_many([letter(1), letter(2), letter(1)])
        opened.defer([deferred(3), deferred(4)])
        opened.receive([deferred(5)])
        opened.restore(letter(6))
        opened[b"7"] = opened[b"letter-6"]
        for claim, _ in opened.claim_due(2):
            renewed = opened.renew(claim)
            assert renewed is not None
            assert opened.claim_of(claim.id) is not None
            opened.release(renewed)
        opened.record(Action(utc_now(), "ada", "delete", "all", 0))
        assert [action.who for action in opened.actions()] == ["ada"]
        assert opened.retry_now() == 3
        assert opened.give_up([b"letter-3"]) == 1
        assert opened.counts().dead == 5
        opened.forget_done(utc_now())
        assert opened.popitem()[0] == b"7"
        opened.clear()
        assert len(opened) == 0
        assert len(opened.summary()) == 0


def test_rows_with_policies(server: PostgreSQLServer, database: str, user: str) -> None:
    """Where policies on rows forbid COPY, a batch is kept all the same."""
    PostgreSQLDLQ(server.conninfo(database)).close()
    server.execute(
        "ALTER TABLE missive_letters ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY every ON missive_letters USING (true) WITH CHECK (true);"
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {user}",
        database,
    )
    with PostgreSQLDLQ(server.conninfo(database, user)) as opened:
        opened.put_many(letter(number) for number in range(3))
        assert list(opened) == [b"letter-0", b"letter-1", b"letter-2"]


def test_a_user_who_may_only_look(server: PostgreSQLServer, database: str, user: str) -> None:
    """With SELECT alone letters can be looked at; what writes is refused by name."""
    with PostgreSQLDLQ(server.conninfo(database)) as opened:
        opened.put(letter())
    server.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}", database)
    with dlq_from_url(server.url(database, user), existing=True) as looked:
        assert list(looked) == [b"letter-1"]
        assert looked.summary()[0].count == 1
        with pytest.raises(DeadLetterStoreRefused, match="privilege"):
            looked.put(letter(2))
        with pytest.raises(DeadLetterStoreRefused, match="privilege"):
            looked.check()


def test_no_store_is_made_by_looking(server: PostgreSQLServer, database: str) -> None:
    """A URL that is opened to look, with a table that is not there, makes none."""
    with pytest.raises(DeadLetterStoreRefused, match="there is no such table"):
        dlq_from_url(server.url(database), existing=True)
    assert server.execute("SELECT to_regclass('missive_letters') IS NULL", database) == [(True,)]


@pytest.mark.parametrize(
    ("conninfo", "problem"),
    [("dbname=nowhere", "check user, password"), ("user=nobody_at_all", "check user, password")],
)
def test_a_refusal_is_told_at_once(server: PostgreSQLServer, conninfo: str, problem: str) -> None:
    """What trying again does not mend is told without waiting."""
    given = psycopg.conninfo.make_conninfo(server.conninfo(), **dict([conninfo.split("=")]))
    with pytest.raises(DeadLetterStoreRefused, match=problem):
        PostgreSQLDLQ(given, busy_timeout=1e6)


def test_a_table_that_was_dropped(server: PostgreSQLServer, database: str, store: Opener) -> None:
    """A table that is dropped while the store is open is named, with the remedy."""
    opened = store()
    server.execute("DROP TABLE missive_letters", database)
    with pytest.raises(DeadLetterStoreRefused, match="missive dlq migrate"):
        opened.put(letter())
