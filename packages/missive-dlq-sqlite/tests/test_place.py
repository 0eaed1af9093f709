"""What becomes of a store whose files are touched while it is in use."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from missive import (
    DeadLetterStoreError,
    DeadLetterWriteFailed,
    HandlingContext,
    Processor,
    RawMessage,
)
from missive.dlq.sqlite import SQLiteDLQ

BODY = b"x" * 5000


def fill(store: SQLiteDLQ, start: int, count: int) -> list[bytes]:
    ids = [b"%d" % number for number in range(start, start + count)]
    for id in ids:
        store[id] = (RawMessage(BODY), "reason")
    return ids


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def replace(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


TOUCHED: dict[str, tuple[Callable[[Path], None], str]] = {
    "file removed": (lambda path: path.unlink(), r"dlq\.db was removed"),
    "file emptied": (lambda path: os.truncate(path, 0), r"dlq\.db was cut"),
    "file cut": (lambda path: os.truncate(path, 3 * 4096), r"dlq\.db was cut"),
    "log removed": (lambda path: beside(path, "-wal").unlink(), r"dlq\.db-wal was removed"),
    "log replaced": (lambda path: replace(beside(path, "-wal")), r"dlq\.db-wal was removed"),
    "log emptied": (lambda path: os.truncate(beside(path, "-wal"), 0), r"dlq\.db was cut"),
    "index removed": (lambda path: beside(path, "-shm").unlink(), r"dlq\.db-shm was removed"),
}


@pytest.mark.parametrize("kind", TOUCHED)
def test_the_next_put_is_refused(kind: str, tmp_path: Path) -> None:
    """Where a file was removed or cut under a running store, no further letter is taken."""
    path = tmp_path / "dlq.db"
    touch, named = TOUCHED[kind]
    with SQLiteDLQ(path) as store:
        fill(store, 0, 60)
        with store._database.reading() as connection:
            connection.execute("PRAGMA wal_checkpoint")
        fill(store, 60, 20)
        touch(path)
        for _ in range(2):
            with pytest.raises(DeadLetterStoreError, match=named):
                fill(store, 1000, 1)
        with pytest.raises(DeadLetterStoreError, match=named):
            store.check()


def test_a_processor_acks_nothing_then(tmp_path: Path) -> None:
    """What fails while the log is gone is not acked."""
    path = tmp_path / "dlq.db"
    processor: Processor[RawMessage] = Processor()

    @processor.handle_for(lambda message: True)
    def fail(message: RawMessage, ctx: HandlingContext[RawMessage]) -> None:
        raise ValueError("it failed")

    with SQLiteDLQ(path) as store:
        processor.set_dlq(store)
        client = processor.test_client()
        client.send(b"before")
        beside(path, "-wal").unlink()
        with pytest.raises(DeadLetterWriteFailed):
            client.send(b"after")
    with SQLiteDLQ(path) as again:
        assert [message.raw_data for message, _ in again.values()] == [b"before"]


def test_what_was_put_before_is_saved_by_an_orderly_end(tmp_path: Path) -> None:
    """After its log was removed, a store that is closed has all that was put."""
    path = tmp_path / "dlq.db"
    with SQLiteDLQ(path) as store:
        ids = fill(store, 0, 50)
        beside(path, "-wal").unlink()
        with pytest.raises(DeadLetterStoreError):
            fill(store, 50, 1)
    with SQLiteDLQ(path) as again:
        assert list(again) == ids


def test_upkeep_by_others_is_allowed(tmp_path: Path) -> None:
    """VACUUM, checkpoints that empty the log, and backups during a run are no damage."""
    path = tmp_path / "dlq.db"
    with SQLiteDLQ(path) as store:
        ids = fill(store, 0, 200)
        for id in ids[20:]:
            del store[id]
        for statement in (
            "PRAGMA wal_checkpoint(TRUNCATE)",
            "VACUUM",
            "PRAGMA wal_checkpoint(TRUNCATE)",
            f"VACUUM INTO '{tmp_path / 'backup.db'}'",
        ):
            other = sqlite3.connect(path, isolation_level=None)
            other.execute(statement).fetchall()
            other.close()
            ids += fill(store, len(ids), 1)
        assert list(store) == ids[:20] + ids[200:]


def test_each_opening_has_its_own_log(tmp_path: Path) -> None:
    """A store whose connections were all closed takes the log that is there then for its own."""
    path = tmp_path / "dlq.db"
    with SQLiteDLQ(path) as store:
        fill(store, 0, 1)
        store._database.connections.before_fork()
        store._database.connections.after_fork()
        assert not beside(path, "-wal").exists()
        fill(store, 1, 1)
        assert len(store) == 2
