"""What the PostgreSQL store keeps, and how."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from missive import ConfigurationError, DeadLetter, Envelope, RawMessage, dlq_from_url
from missive.dlq.postgresql import PostgreSQLDLQ
from missive.errors import DeadLetterStoreRefused
from missive.letters import Receipt, received_letter, utc_now
from patience import eventually
from postgresql_server import PostgreSQLServer
from psycopg_pool import ConnectionPool

Opener = Callable[..., PostgreSQLDLQ]
THEN = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)


def letter(number: int = 1, body: bytes = b"body", **fields: Any) -> DeadLetter:
    """Return a dead letter with an id that follows from a number."""
    given: dict[str, Any] = {
        "id": b"letter-%d" % number,
        "message_id": b"letter-%d" % number,
        "raw_data": body,
        "reason": "it failed",
        "stage": "handling",
        "first_failed": THEN,
        "last_failed": THEN,
        **fields,
    }
    return DeadLetter(**given)


def deferred(number: int = 1, due: datetime = THEN, **fields: Any) -> DeadLetter:
    """Return a deferred message, long due unless told."""
    return letter(number, state="deferred", due=due, **fields)


def test_text_that_postgresql_cannot_hold(store: Opener) -> None:
    """NUL, lone surrogates and the escape itself come back as they were, wherever they stand."""
    hostile = "\0 \udcff \x1a0041 \x1a"
    kept = letter(
        headers={"nul\0": "\0", "surrogate": "\udcff", hostile: hostile},
        **dict.fromkeys(
            ("reason", "source", "handler", "error_type", "message_class", "host"), hostile
        ),
        traceback=hostile * 1000,
    )
    opened = store()
    opened.put(kept)
    found = opened.letter(kept.id)
    assert found == kept._replace(position=found.position).with_history()
    assert [one.id for one in opened.letters(reason=hostile, handler=hostile)] == [kept.id]
    assert not list(opened.letters(reason=hostile + " "))
    opened.put(kept)
    assert [failure.reason for failure in opened.letter(kept.id).history] == [hostile, hostile]
    assert opened.summary()[0].handler == hostile


@pytest.mark.parametrize("size", [1024, 1025, 5000, 300_000])
def test_long_ids(store: Opener, size: int) -> None:
    """An id of any length is a key, told apart to its last byte."""
    one, other = (os.urandom(size) for _ in range(2))
    close = one[:-1] + bytes([one[-1] ^ 1])
    opened = store()
    opened.put_many([letter(id=id, message_id=id) for id in (one, other, close)])
    assert list(opened) == [one, other, close]
    claim, claimed = opened.claim(close) or pytest.fail("it cannot be claimed")
    assert claimed.id == claim.id == close
    assert opened.remove(claim)
    assert close not in opened
    assert opened.pop(one)[0].message_id == one
    assert list(opened) == [other]


def test_a_batch_is_one_statement(server: PostgreSQLServer, database: str, store: Opener) -> None:
    """New letters are written by one statement, however many there are."""
    opened = store()
    server.execute(
        "CREATE TABLE statements (id bigint);"
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO statements VALUES (txid_current()); RETURN NULL; END $$;"
        "CREATE TRIGGER note AFTER INSERT ON missive_letters"
        " FOR EACH STATEMENT EXECUTE FUNCTION note()",
        database,
    )
    opened.put_many(letter(number) for number in range(500))
    opened.defer(deferred(number) for number in range(500, 800))
    assert server.execute("SELECT count(*) FROM statements", database) == [(2,)]
    assert opened.counts()[:2] == (500, 300)


def test_a_batch_with_one_that_is_known(store: Opener) -> None:
    """New letters, known ones and those of other messages come in one batch, in their order."""
    opened = store()
    opened.put(letter(1))
    opened.put_many([letter(2), letter(1), letter(1, b"other"), letter(2), letter(3)])
    assert [(one.message_id, one.raw_data, one.failures) for one in opened.letters()] == [
        (b"letter-1", b"body", 2),
        (b"letter-2", b"body", 2),
        (b"letter-1", b"other", 1),
        (b"letter-3", b"body", 1),
    ]


def test_a_batch_too_large_for_one_statement(
    store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Letters beyond the bound of a statement are written all the same."""
    monkeypatch.setattr("missive.dlq.postgresql.keeping.MAX_STATEMENT", 1000)
    opened = store()
    opened.put_many(letter(number, b"x" * 400) for number in range(5))
    assert len(opened) == 5


def test_a_page_ends_where_it_is_large(store: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of large letters has few of them, and none is left out."""
    sizes: list[int] = []
    opened = store()
    opened.put_many(letter(number, os.urandom(400_000)) for number in range(10))
    read = opened._reader._page

    def counted(statement: bytes, values: tuple[Any, ...]) -> list[DeadLetter]:
        page = read(statement, values)
        sizes.append(len(page))
        return page

    monkeypatch.setattr(opened._reader, "_page", counted)
    for newest_first in (False, True):
        found = [one.id for one in opened.letters(newest_first=newest_first)]
        assert sorted(found) == sorted(b"letter-%d" % number for number in range(10))
    assert max(sizes) <= 4


def test_leases_go_by_the_servers_clock(store: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose clock is far ahead takes no message whose lease another holds."""
    opened = store()
    opened.defer([deferred()])
    assert opened.claim_due(1, 60.0)
    ahead = utc_now() + timedelta(days=1)
    monkeypatch.setattr("missive.dlq.postgresql.claims.utc_now", lambda: ahead)
    assert not opened.claim_due(1, 60.0)
    assert not opened.claim_due(1, 60.0, now=ahead)


def test_the_session_has_another_time_zone(server: PostgreSQLServer, database: str) -> None:
    """Times are in UTC and to the microsecond, whatever zone the server is in, to the last year."""
    server.execute(f"ALTER DATABASE {database} SET timezone = 'Pacific/Kiritimati'")
    last = datetime.max.replace(tzinfo=timezone.utc)
    first = datetime(1, 1, 1, tzinfo=timezone.utc)
    with PostgreSQLDLQ(server.conninfo(database)) as opened:
        opened.restore(letter(first_failed=first, last_failed=last))
        found = opened.letter(b"letter-1")
    assert (found.first_failed, found.last_failed) == (first, last)
    assert found.last_failed.tzinfo is timezone.utc


def test_what_a_stranger_wrote_can_be_read(
    server: PostgreSQLServer, database: str, store: Opener
) -> None:
    """Whatever somebody wrote into a row, the letter can be read, and the others beside it."""
    opened = store()
    opened.put_many([letter(1), letter(2)])
    server.execute(
        "UPDATE missive_letters SET last_failed = 'infinity', first_failed = '4000-01-01 BC',"
        " headers = '[1]', history = '[[1], 2]', stage = 'elsewhere', kind = 0"
        " WHERE id = 'letter-1'",
        database,
    )
    first, second = opened.letters()
    assert (first.raw_data, first.headers, len(first.history)) == (b"body", {}, 1)
    assert second.id == b"letter-2"
    assert len(opened.summary()) == 2


def test_one_table_beside_another(server: PostgreSQLServer, database: str) -> None:
    """Stores of other names, and in other schemas, know nothing of each other."""
    url = server.url(database)
    urls = [url, f"{url}&table=others", f"{url}&schema=apart", f"{url}&schema=apart&table=others"]
    stores = [dlq_from_url(one) for one in urls]
    for number, opened in enumerate(stores):
        opened.put(letter(number))
    for number, opened in enumerate(stores):
        assert list(opened) == [b"letter-%d" % number]
        opened.close()
    with dlq_from_url(urls[3], existing=True) as again:
        assert len(again) == 1


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql://h/d?table=", "not a plain name"),
        ('postgresql://h/d?table=a"b', "not a plain name"),
        (f"postgresql://h/d?table={'x' * 51}", "not a plain name"),
        ("postgresql://h/d?schema=a.b", "not a plain name"),
        ("postgresql://h/d?busy_timeout=soon", "busy_timeout"),
        ("postgresql://h/d?busy_timeout=-1", "busy_timeout"),
        ("postgresql://h/d?max_traceback=-1", "max_traceback"),
        ("postgresql://h/d?table=a&table=b", "twice"),
        ("postgresql://u:secret@h/d?sslnode=require", "cannot be read"),
        ("postgresql://u:secret@[h/d", "cannot be read"),
    ],
)
def test_a_url_that_cannot_be_read(url: str, problem: str) -> None:
    """What is wrong with a URL is told, and its password is not."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        dlq_from_url(url)
    assert "secret" not in str(caught.value)


def test_a_password_is_not_shown(server: PostgreSQLServer, database: str) -> None:
    """The repr of a store names server, database and table, and no password."""
    with PostgreSQLDLQ(server.conninfo(database) + " password=secret") as opened:
        assert "secret" not in repr(opened)
        assert database in repr(opened)
        assert "missive_letters" in repr(opened)


def test_a_users_pool(server: PostgreSQLServer, database: str) -> None:
    """A user's pool lends the connections, which have their settings back, whatever they are."""
    kwargs = {"row_factory": psycopg.rows.dict_row, "autocommit": False}
    with ConnectionPool(
        server.conninfo(database), min_size=1, max_size=2, kwargs=kwargs, open=True
    ) as pool:
        with PostgreSQLDLQ(pool=pool, busy_timeout=7.0) as opened:
            opened.put_many([letter(1), letter(1), letter(2)])
            opened.defer([deferred(3)])
            opened.check()
            ((claim, _),) = opened.claim_due(5)
            assert opened.remove(claim)
            assert [one.failures for one in opened.letters()] == [2, 1]
        with pool.connection() as connection:
            assert connection.autocommit is False
            shown = connection.execute("SHOW lock_timeout").fetchone()
            assert shown == {"lock_timeout": "0"}


@pytest.mark.parametrize(
    "kwargs",
    [
        {"prepare_threshold": 0},
        {"client_encoding": "latin1"},
        {"client_encoding": "sql_ascii"},
        {"cursor_factory": psycopg.ClientCursor},
    ],
    ids=lambda kwargs: "-".join(map(str, *kwargs.items())),
)
def test_a_users_pool_of_other_settings(
    server: PostgreSQLServer, database: str, kwargs: dict[str, Any]
) -> None:
    """Whatever a pool's connections are set to, the tables are made, and every text is kept."""
    with ConnectionPool(
        server.conninfo(database), min_size=1, max_size=1, kwargs=kwargs, open=True
    ) as pool:
        with pool.connection() as connection:
            encoding = connection.info.parameter_status("client_encoding")
        given = letter(1)._replace(headers={"Name": "grün € 😀 \0"}, reason="€")
        with PostgreSQLDLQ(pool=pool) as opened:
            opened.put(given)
            kept = opened.letter(given.id)
        assert (kept.headers, kept.reason) == (given.headers, given.reason)
        with pool.connection() as connection:
            assert connection.info.parameter_status("client_encoding") == encoding


def test_a_pool_or_a_connection_string(server: PostgreSQLServer) -> None:
    """Both at once are refused."""
    pool = ConnectionPool(server.conninfo(), open=False)
    with pytest.raises(ConfigurationError, match="not both"):
        PostgreSQLDLQ(server.conninfo(), pool=pool)


def test_no_connection_is_carried_across_a_fork(store: Opener) -> None:
    """A forked child opens connections of its own, and leaves the parent's as they are."""
    opened = store()
    opened.put(letter(1))
    child = os.fork()
    if child == 0:  # pragma: no cover
        try:
            opened.put(letter(2))
            opened.close()
        finally:
            os._exit(0 if len(opened._database.connections._open) == 0 else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    opened.put(letter(3))
    assert list(opened) == [b"letter-1", b"letter-2", b"letter-3"]


def test_a_store_that_is_forgotten_closes_its_connections(
    server: PostgreSQLServer, database: str
) -> None:
    """A store that nobody refers to any more leaves no session behind."""
    opened = PostgreSQLDLQ(server.conninfo(database))
    opened.put(letter())
    del opened
    sessions = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'"
    eventually(lambda: server.execute(sessions) == [(0,)], "the session is still there")


def test_each_message_of_an_inbox_once(store: Opener) -> None:
    """A received message is known while its letter is stored and after that, until forgotten."""

    def received(body: bytes = b"body", id: bytes = b"id") -> DeadLetter:
        message = RawMessage(body)
        message.put_in(Envelope(id, {"Colour": "blue"}, "/hook"))
        return received_letter(message)

    opened = store()
    receipts = opened.receive([received(), received(), received(b"other"), received(id=b"2")])
    assert receipts == [Receipt.NEW, Receipt.KNOWN, Receipt.BESIDE, Receipt.NEW]
    found = opened.claim_due(10)
    assert [(one.failures, one.attempt) for _, one in found] == [(0, 0)] * 3
    for claim, _ in found:
        assert opened.remove(claim)
    assert opened.receive([received()]) == [Receipt.KNOWN]
    later = utc_now() + timedelta(hours=1)
    assert opened.forget_done(utc_now() - timedelta(hours=1)) == 0
    assert [opened.forget_done(later, limit=limit) for limit in (-1, 2, 1000)] == [0, 2, 1]
    opened.put(received().given_up())
    assert opened.receive([received()]) == [Receipt.KNOWN]
    opened.clear()
    assert opened.receive([received(), received(b"other")]) == [Receipt.KNOWN, Receipt.BESIDE]


def test_a_message_that_two_receive_at_once(store: Opener) -> None:
    """Of many that receive the same message at once, one is told that it is new."""
    opened = store()
    message = RawMessage(b"body")
    message.put_in(Envelope(b"id", {}, "/hook"))
    start = threading.Barrier(8)
    receipts: list[Receipt] = []

    def receive() -> None:
        start.wait(60)
        receipts.extend(opened.receive([received_letter(message)]))

    threads = [threading.Thread(target=receive) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(map(str, receipts)) == ["Receipt.KNOWN"] * 7 + ["Receipt.NEW"]
    assert opened.counts().deferred == 1


def test_a_database_in_another_encoding(server: PostgreSQLServer) -> None:
    """A database that cannot hold every text is refused, with the remedy."""
    server.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    try:
        with pytest.raises(DeadLetterStoreRefused, match="UTF8"):
            PostgreSQLDLQ(server.conninfo("latin"))
    finally:
        server.drop_database("latin")
