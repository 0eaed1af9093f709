"""What the store does while its server is away, full, or held by somebody else."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

import psycopg
import pytest
from missive import DeadLetterStoreError, Processor, RawMessage
from missive.dlq.postgresql import PostgreSQLDLQ
from missive.dlq.postgresql.session import Session
from missive.errors import (
    DeadLetterStoreBusy,
    DeadLetterStoreFull,
    DeadLetterStoreRefused,
    DeadLetterWriteFailed,
)
from patience import DEADLINE, eventually
from postgresql_server import PostgreSQLServer
from psycopg_pool import ConnectionPool
from test_store import THEN, deferred, letter

T = TypeVar("T")


@pytest.fixture
def own(own_server: PostgreSQLServer) -> Iterator[PostgreSQLServer]:
    """Return this module's server, running, whatever the test before did to it."""
    if own_server.process is None:
        own_server.start()
    return own_server


@pytest.fixture
def name(own: PostgreSQLServer) -> str:
    """Return the name of an empty database on that server."""
    return own.new_database()


@pytest.fixture
def opened(own: PostgreSQLServer, name: str) -> Iterator[PostgreSQLDLQ]:
    """Return a store in that database, which waits as long as it takes."""
    with PostgreSQLDLQ(own.conninfo(name), busy_timeout=DEADLINE) as store:
        yield store


def meanwhile(
    action: Callable[[], T], mend: Callable[[], object], log: pytest.LogCaptureFixture
) -> T:
    """Do something that has to wait, mend what it waits for once it does, and return its result."""
    log.set_level(logging.INFO, logger="missive.dlq.postgresql")
    result: list[Any] = []

    def act() -> None:
        try:
            result.append(action())
        except BaseException as error:  # raised below, in the test's thread
            result.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    eventually(lambda: result or "trying again" in log.text, "it neither waits nor comes to an end")
    assert not result, f"it did not wait: {result!r}"
    mend()
    thread.join(DEADLINE)
    assert result, "it waits although there is nothing to wait for"
    if isinstance(result[0], BaseException):
        raise result[0]
    found: T = result[0]
    return found


def test_a_restart(
    own: PostgreSQLServer, opened: PostgreSQLDLQ, caplog: pytest.LogCaptureFixture
) -> None:
    """A restart of the server is waited out by whatever writes or reads, with one line in the log."""
    opened.put(letter(1))
    own.stop()
    again = letter(1, last_failed=THEN + timedelta(minutes=1))
    meanwhile(lambda: opened.put_many([again, letter(2)]), own.start, caplog)
    assert [one.failures for one in opened.letters()] == [2, 1]
    assert caplog.text.count("trying again") == 1
    assert caplog.text.count("can be used again") == 1
    caplog.clear()
    own.stop()
    assert meanwhile(lambda: len(opened), own.start, caplog) == 2


def test_a_crash(
    own: PostgreSQLServer, opened: PostgreSQLDLQ, caplog: pytest.LogCaptureFixture
) -> None:
    """After a crash of the server everything that was confirmed is there, and writing goes on."""
    opened.defer([deferred(number) for number in range(50)])
    own.kill()
    found = meanwhile(lambda: opened.claim_due(10), own.start, caplog)
    assert len(found) == 10
    assert opened.counts() == (0, 50, 40, 10)


def test_sessions_that_an_operator_ends(own: PostgreSQLServer, opened: PostgreSQLDLQ) -> None:
    """Sessions that are ended are replaced, whatever is done next."""
    opened.put(letter(1))
    calls: list[Callable[[], object]] = [
        lambda: opened.put(letter(2)),
        lambda: opened.letter(b"letter-1"),
        lambda: opened.claim(b"letter-1"),
        lambda: opened.restore(letter(3)),
        lambda: opened.check(),
        lambda: list(opened),
        lambda: opened.pop(b"letter-2"),
    ]
    for call in calls:
        assert own.end_sessions(opened._database.place.split("/")[-1].split()[0]) >= 1
        call()
    assert list(opened) == [b"letter-1", b"letter-3"]


def test_sessions_of_a_pool_that_an_operator_ends(own: PostgreSQLServer, name: str) -> None:
    """Ended sessions of a user's pool are replaced too."""
    with (
        ConnectionPool(own.conninfo(name), min_size=2, max_size=2, open=True) as pool,
        PostgreSQLDLQ(pool=pool, busy_timeout=DEADLINE) as opened,
    ):
        for number in range(3):
            opened.put(letter(number))
            own.end_sessions(name)
        assert len(opened) == 3


def test_a_server_that_stays_away(own: PostgreSQLServer, name: str) -> None:
    """When busy_timeout is over, the message is left unsettled by DeadLetterWriteFailed."""
    processor: Processor[RawMessage] = Processor()
    with PostgreSQLDLQ(own.conninfo(name), busy_timeout=0.2) as opened:
        processor.set_dlq(opened)
        own.stop()
        with processor.test_client() as client:
            with pytest.raises(DeadLetterWriteFailed) as caught:
                client.send(b"PAYLOAD", message_id=b"m-1")
            assert isinstance(caught.value.__cause__, DeadLetterStoreError)
            assert "busy_timeout" in str(caught.value.__cause__)
            assert not client.acked
        own.start()
        assert len(opened) == 0


def test_a_transaction_that_somebody_leaves_open(
    own: PostgreSQLServer, opened: PostgreSQLDLQ, name: str
) -> None:
    """A letter that another transaction holds is waited for, and written when that has ended."""
    opened.put(letter(1))
    with PostgreSQLDLQ(own.conninfo(name), busy_timeout=0.2) as hasty:
        with own.locked(name):
            with pytest.raises(DeadLetterStoreBusy):
                hasty.put(letter(2))
            with pytest.raises(DeadLetterStoreBusy):
                list(hasty)
        with psycopg.connect(own.conninfo(name)) as other:
            other.execute("UPDATE missive_letters SET reason = 'held'")
            with pytest.raises(DeadLetterStoreBusy):
                hasty.put_many([letter(3), letter(1)])
            waiting = threading.Thread(target=opened.put_many, args=([letter(3), letter(1)],))
            waiting.start()
            blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            eventually(lambda: own.execute(blocked) == [(1,)], "it does not wait")
            other.rollback()
            waiting.join(DEADLINE)
        assert [one.failures for one in hasty.letters()] == [2, 1]


def test_a_statement_timeout(
    own: PostgreSQLServer, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A statement that the server cancels is tried again."""
    PostgreSQLDLQ(own.conninfo(name)).close()
    own.execute(f"ALTER DATABASE {name} SET statement_timeout = '50ms'")
    with PostgreSQLDLQ(own.conninfo(name), busy_timeout=DEADLINE) as opened:
        holder = psycopg.connect(own.conninfo(name))
        holder.execute("LOCK TABLE missive_letters")
        meanwhile(lambda: opened.put(letter(1)), holder.close, caplog)
        assert len(opened) == 1


def test_a_full_disk(
    own: PostgreSQLServer, opened: PostgreSQLDLQ, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk is waited out, then told; a batch of which some would fit is not half written."""
    opened.put(letter(1))
    large = letter(3, os.urandom(50_000))
    own.fill_disk(name)
    with PostgreSQLDLQ(own.conninfo(name), busy_timeout=0.2) as hasty:
        for batch in ([letter(2), large], [letter(1), large]):
            with pytest.raises(DeadLetterStoreFull):
                hasty.put_many(batch)
        assert [(one.id, one.failures) for one in hasty.letters()] == [(b"letter-1", 1)]
    meanwhile(lambda: opened.put_many([letter(2), large]), lambda: own.make_room(name), caplog)
    assert list(opened) == [b"letter-1", b"letter-2", b"letter-3"]


def test_a_server_that_only_reads(
    own: PostgreSQLServer, opened: PostgreSQLDLQ, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A standby can be looked at; what writes waits until there is a primary, with new sessions."""
    opened.put(letter(1))

    def read_only(value: str) -> None:
        own.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {value}")

    read_only("on")
    own.end_sessions(name)
    with PostgreSQLDLQ(own.conninfo(name), busy_timeout=0.2) as hasty:
        assert len(hasty) == 1
        with pytest.raises(DeadLetterStoreRefused, match="only reads"):
            hasty.put(letter(2))
    meanwhile(lambda: opened.put(letter(2)), lambda: read_only("off"), caplog)
    assert len(opened) == 2


def test_a_real_standby(own: PostgreSQLServer, name: str) -> None:
    """A server in recovery can be looked at, and is not written to."""
    with PostgreSQLDLQ(own.conninfo(name)) as opened:
        opened.put(letter(1))
    own.stop()
    (own.data / "standby.signal").touch()
    try:
        own.start(hot_standby="on")
        with PostgreSQLDLQ(own.conninfo(name), busy_timeout=0.2) as opened:
            assert list(opened) == [b"letter-1"]
            with pytest.raises(DeadLetterStoreRefused, match="only reads"):
                opened.put(letter(2))
    finally:
        own.stop()
        (own.data / "standby.signal").unlink(missing_ok=True)


def lose_answer(monkeypatch: pytest.MonkeyPatch, statement: bytes, way: str = "execute") -> None:
    """Have the connection end between a statement's commit and its answer, the first time.

    :param way: the method of a session that executes the statement.
    """
    execute = getattr(Session, way)
    lost: list[bytes] = []

    def executed(self: Session, given: bytes, values: Any = ()) -> Any:
        result = execute(self, given, values)
        if given == statement and not lost:
            lost.append(given)
            self.close()
            raise psycopg.OperationalError("the connection is lost")
        return result

    monkeypatch.setattr(Session, way, executed)


def test_an_answer_that_is_lost(opened: PostgreSQLDLQ, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was committed and not answered is not done twice: neither a failure nor a claim."""
    sql, claims = opened._sql, opened._claim_sql
    lose_answer(monkeypatch, sql.insert_new_one)
    opened.put(letter(1))
    assert opened.letter(b"letter-1").failures == 1
    lose_answer(monkeypatch, sql.copy, "copy")
    opened.put_many([letter(2), letter(3)])
    assert [one.failures for one in opened.letters()] == [1, 1, 1]
    lose_answer(monkeypatch, claims.claim)
    claimed = opened.claim(b"letter-1")
    assert claimed is not None
    lose_answer(monkeypatch, claims.remove)
    assert opened.remove(claimed[0]) is True
    opened.defer([deferred(number) for number in range(4, 14)])
    lose_answer(monkeypatch, claims.claim_due)
    assert len(opened.claim_due(5)) == 5
    assert opened.counts() == (2, 10, 5, 5)


def test_no_content_in_errors(own: PostgreSQLServer, name: str) -> None:
    """What PostgreSQL says of a row that it refuses is not in the text of the error."""
    with PostgreSQLDLQ(own.conninfo(name)) as opened:
        own.execute("ALTER TABLE missive_letters ADD CHECK (octet_length(body) < 5)", name)
        with pytest.raises(DeadLetterStoreError) as caught:
            opened.put(letter(1, b"PAYLOAD", reason="SECRET"))
        error: BaseException | None = caught.value
        while error is not None:
            for secret in ("PAYLOAD", "SECRET", b"PAYLOAD".hex()):
                assert secret not in str(error)
            error = error.__cause__


def test_a_store_that_is_closed_while_it_waits(
    own: PostgreSQLServer, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing a store ends the wait for its server."""
    opened = PostgreSQLDLQ(own.conninfo(name), busy_timeout=1e6)
    own.stop()
    with pytest.raises(DeadLetterStoreError):
        meanwhile(lambda: opened.put(letter(1)), opened.close, caplog)


def test_a_wrong_address_is_waited_for_and_told() -> None:
    """A server that is not there is waited for until busy_timeout; the error says how long."""
    started = time.monotonic()
    with pytest.raises(DeadLetterStoreError, match="could not be reached"):
        PostgreSQLDLQ("host=/nowhere/at/all dbname=x", busy_timeout=0.3)
    assert time.monotonic() - started < DEADLINE
