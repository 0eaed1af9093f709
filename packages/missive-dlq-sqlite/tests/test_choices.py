"""Choosing letters, and acting on just these."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from missive import DeadLetter
from missive.dlq.sqlite import SQLiteDLQ, reading, sqlite_dlq

NOON = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)


def make_letter(number: int, **fields: object) -> DeadLetter:
    id = b"%d" % number
    return DeadLetter(id, b"body", "reason", "handling", NOON, NOON)._replace(**fields)


def test_only_what_was_chosen_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed again, was replaced, left or arrived since stays, also in another process."""
    monkeypatch.setattr(reading, "CHOSEN_AT_ONCE", 3)
    monkeypatch.setattr(sqlite_dlq, "REMOVED_AT_ONCE", 4)
    path = tmp_path / "dlq.db"
    with SQLiteDLQ(path) as store, SQLiteDLQ(path) as other:
        store.put_many(make_letter(number) for number in range(20))
        del other[b"0"]
        choice = store.choose(until=NOON + timedelta(hours=1), reason="reason")
        assert list(choice) == [(position, 1) for position in range(2, 21)]
        other.put(make_letter(3))  # failed again, and still matches
        other.put(make_letter(5, last_failed=NOON + timedelta(days=1)))  # and no longer
        other.restore(make_letter(7, reason="another"))
        other.put(make_letter(20))
        del other[b"9"]
        assert store.remove_chosen(choice) == 15
        assert sorted(store, key=int) == [b"3", b"5", b"7", b"20"]
        assert store.remove_chosen(choice) == 0


def test_by_ids(tmp_path: Path) -> None:
    """Letters are chosen by ids too; a filter leaves out what it does not match."""
    with SQLiteDLQ(tmp_path / "dlq.db") as store:
        store.put_many(make_letter(number, handler=f"h{number % 2}") for number in range(4))
        assert list(store.choose([b"3", b"x", b"0", b"1"], handler="h1")) == [(2, 1), (4, 1)]


def test_the_owner_of_a_claim(tmp_path: Path) -> None:
    """A claim says which process holds it, on which machine, and until when; in any process."""
    path = tmp_path / "dlq.db"
    with SQLiteDLQ(path) as store, SQLiteDLQ(path) as other:
        assert other.claim_of(b"1") is None
        store.put(make_letter(1))
        assert other.claim_of(b"1") is None
        found = store.claim(b"1", lease=60)
        assert found is not None
        claim, _ = found
        assert other.claim_of(b"1") == claim
        assert claim.owner == f"process {os.getpid()} on {os.uname().nodename}"
        assert store.release(claim)
        assert other.claim_of(b"1") is None
