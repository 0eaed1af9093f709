from __future__ import annotations

import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from missive import DeadLetter, DeadLetterStoreError, RawMessage
from missive.dlq.sqlite import SQLiteDLQ
from missive.letters import MAX_LEASE, MAX_TRACEBACK, Failure
from store_suite import FILTERED, NOON, fill, make_letter


def whole_letter(**fields: Any) -> DeadLetter:
    """Make a letter with something in every field."""
    return make_letter(
        headers={"Name": "Wert ß", "raw": "\udcff"},
        source="orders",
        message_class="app.Order",
        error_type="app.Broken",
        traceback="Traceback…\n",
        handler="app.handle",
        host="a-host",
        version="0.1.0",
        **fields,
    )


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SQLiteDLQ]:
    where = tmp_path / "dlq.db" if request.param == "file" else ":memory:"
    with SQLiteDLQ(where, synchronous="OFF") as store:
        yield store


class TestPut:
    def test_nothing(self, store: SQLiteDLQ) -> None:
        """Putting no letters does nothing."""
        store.put_many([])
        assert not store

    def test_same_message_twice_in_a_batch(self, store: SQLiteDLQ) -> None:
        """Within one batch, too, the same message is one letter."""
        store.put_many([make_letter(), make_letter(b"2"), make_letter(), make_letter()])
        assert [letter.failures for letter in store.letters()] == [3, 1]

    def test_traceback_is_capped(self, tmp_path: Path) -> None:
        """Of a traceback the end is kept, as much as the store was asked for."""
        for number, (limit, kept) in enumerate(((3, "end"), (0, ""))):
            with SQLiteDLQ(tmp_path / f"{number}.db", max_traceback=limit) as store:
                store.put(make_letter(traceback="begin…end"))
                assert store.letter(b"1").traceback == kept
                store.restore(make_letter(traceback="begin…end"))
                assert store.letter(b"1").traceback == "begin…end", "an import lost something"

    def test_all_or_none(self, store: SQLiteDLQ) -> None:
        """Where one letter of a batch cannot be kept, none is."""
        bad = make_letter(b"2", raw_data=1.5j)  # what SQLite cannot hold
        with pytest.raises(DeadLetterStoreError):
            store.put_many([make_letter(), bad])
        assert not store
        store.put(make_letter())
        assert len(store) == 1


class TestExtremes:
    @pytest.mark.parametrize("key", [b"", b"\0", b"a\0b", b"\xff" * 10, b"k" * 65_536], ids=len)
    def test_keys(self, store: SQLiteDLQ, key: bytes) -> None:
        """A key may be any bytes of any length."""
        store[key] = (RawMessage(b"body"), "reason")
        assert list(store) == [key]
        assert store[key][1] == "reason"
        assert key in store
        del store[key]
        assert not store

    @pytest.mark.parametrize("size", [0, 1, 4096, 16 * 1024 * 1024])
    def test_bodies(self, store: SQLiteDLQ, size: int) -> None:
        """A body of any length comes back whole, and counts as the same when it is redelivered."""
        body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        store.put_many([make_letter(body=body), make_letter(b"2")])
        store.put(make_letter(body=body))
        letter = store.letter(b"1")
        assert letter.raw_data == body
        assert letter.failures == 2

    @pytest.mark.parametrize(
        "text",
        ["", "\0", "a\0b", "ß€𝄞", "\ud800", "a\udc80b", "x" * 1_048_576],
        ids=["empty", "NUL", "NUL within", "Unicode", "surrogate", "byte", "1 MiB"],
    )
    def test_texts(self, store: SQLiteDLQ, text: str) -> None:
        """Any text comes back as it was wherever it may stand, and is found by."""
        letter = make_letter(
            reason=text,
            handler=text,
            source=text,
            traceback=text,
            message_class=text,
            host=text,
            headers={"name": text},
        )
        store.put_many([letter, letter, make_letter(b"2")])
        letter = letter._replace(traceback=text[-MAX_TRACEBACK:])
        (found,) = store.letters(reason=text, **({"handler": text} if text else {}))  # type: ignore[arg-type]
        assert found == letter._replace(
            failures=2, position=1, history=letter.with_history().history * 2
        )
        assert {row.reason for row in store.summary()} == {text, "reason"}

    @pytest.mark.parametrize(
        "at",
        [
            datetime.min.replace(tzinfo=timezone.utc),
            datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc),
            datetime.max.replace(tzinfo=timezone.utc),
            datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=5))),
        ],
        ids=str,
    )
    def test_moments(self, store: SQLiteDLQ, at: datetime) -> None:
        """A moment comes back to the microsecond, in UTC."""
        store.put(make_letter(first_failed=at, last_failed=at))
        letter = store.letter(b"1")
        assert letter.first_failed == letter.last_failed == at
        assert letter.first_failed.utcoffset() == timedelta(0)

    def test_too_large(self, tmp_path: Path) -> None:
        """A letter that SQLite cannot hold is refused by a typed error without its content."""
        with SQLiteDLQ(tmp_path / "dlq.db") as store:
            if not hasattr(sqlite3.Connection, "setlimit"):
                pytest.skip("setlimit came with Python 3.11")
            with store._database.reading() as connection:
                connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000)
            with pytest.raises(DeadLetterStoreError, match="of that size") as caught:
                store.put(make_letter(body=b"secret" * 10_000))
            assert "secret" not in str(caught.value)
            assert not store


class TestReading:
    @pytest.fixture
    def filled(self, store: SQLiteDLQ) -> SQLiteDLQ:
        fill(store)
        return store

    @pytest.mark.parametrize(("filters", "ids"), FILTERED)
    @pytest.mark.parametrize("page_size", [1, 100])
    def test_filters(
        self,
        filled: SQLiteDLQ,
        filters: dict[str, Any],
        ids: bytes,
        page_size: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Letters are found by every filter given, in order, from a position on, in pages."""
        monkeypatch.setattr("missive.dlq.sqlite.reading.PAGE_SIZE", page_size)
        assert b"".join(letter.id for letter in filled.letters(**filters)) == ids

    @pytest.mark.parametrize("number", [2**63, 2**70])
    def test_very_large_numbers(self, filled: SQLiteDLQ, number: int) -> None:
        """A limit or a position that is too large for SQLite is as good as its largest."""
        assert len(list(filled.letters(limit=number, after=-number))) == 4
        assert len(list(filled.letters(newest_first=True, after=number))) == 4
        assert list(filled.letters(after=number)) == []
        assert filled.summary(limit=number) == filled.summary()

    def test_number_that_cannot_be_kept(self, store: SQLiteDLQ) -> None:
        """A number too large for SQLite is not taken for a letter that is too large."""
        with pytest.raises(DeadLetterStoreError, match="too large to convert"):
            store.restore(make_letter(failures=2**70))

    def test_hostile_filters(self, filled: SQLiteDLQ) -> None:
        """What a filter asks for is never taken for SQL."""
        for text in ("a' OR 1=1 --", "%", "*", "?"):
            assert list(filled.letters(reason=text, handler=text)) == []

    def test_positions_are_never_used_twice(self, filled: SQLiteDLQ) -> None:
        """A letter that comes after the newest was removed stands behind where that was."""
        removals: list[Callable[[], object]] = [
            lambda: filled.__delitem__(b"4"),
            filled.popitem,
            lambda: filled.purge(older_than=timedelta(0)),
            filled.clear,
        ]
        for number, remove in enumerate(removals):
            (newest,) = filled.letters(newest_first=True, limit=1)
            remove()
            ids = [b"new %d" % number, b"newer %d" % number]
            filled.put_many([make_letter(id) for id in ids])
            assert [letter.id for letter in filled.letters(after=newest.position)] == ids

    def test_memory_is_flat(self, tmp_path: Path) -> None:
        """Iterating over many letters takes the memory of a few."""
        with SQLiteDLQ(tmp_path / "dlq.db", synchronous="OFF") as store:
            for start in range(0, 3000, 100):
                store.put_many(
                    make_letter(b"%d" % number, b"x" * 10_000)
                    for number in range(start, start + 100)
                )
            tracemalloc.start()
            try:
                assert sum(len(letter.raw_data) for letter in store.letters()) == 30_000_000
                assert sum(len(message.raw_data) for message, _ in store.values()) == 30_000_000
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        assert peak < 5_000_000


class TestRemoving:
    def test_history_of_another_make(self, store: SQLiteDLQ) -> None:
        """A history whose last failure is not the letter's own comes back as it was given."""
        history = tuple(Failure(NOON, "settling", f"time {number}") for number in range(3))
        store.restore(make_letter(failures=5, history=history))
        assert store.letter(b"1").history == history
        store.put(make_letter(minutes=1))
        assert store.letter(b"1").failures == 6
        assert store.letter(b"1").history[:3] == history

    def test_nothing_is_left_behind(self, store: SQLiteDLQ) -> None:
        """With a letter go its content and its history, also where it is deleted by SQL."""
        store.put_many([make_letter(), make_letter(), make_letter(b"2"), make_letter(b"2")])
        del store[b"1"]
        with store._database.reading() as connection:
            connection.execute("DELETE FROM letters")
            for table in ("letters", "contents", "history"):
                assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


class TestClaims:
    def test_clock_set_back(self, store: SQLiteDLQ) -> None:
        """A claim that holds for longer than any may, by a clock that was far ahead, does not count."""
        store.put(make_letter())
        assert store.claim(b"1", lease=60) is not None
        with store._database.reading() as connection:
            ahead = (MAX_LEASE + 86_400) * 1_000_000
            connection.execute(
                "UPDATE letters SET claimed = claimed + ?, claim_expires = claim_expires + ?",
                (ahead, ahead),
            )
        assert store.claim(b"1") is not None


class TestView:
    def test_is_readable(self, tmp_path: Path) -> None:
        """The view shows ids, times and texts as people read them."""
        path = tmp_path / "dlq.db"
        with SQLiteDLQ(path) as store:
            store.put(whole_letter(first_failed=NOON, raw_data=b'{"a": 1}'))
            store.put(make_letter(b"0x1", b"\xff", reason="\ud800"))
            store.put(make_letter(b"\xff\0", b""))
            store.put(make_letter(b"a\0b", b""))
        connection = sqlite3.connect(path)
        connection.text_factory = lambda raw: raw.decode(errors="replace")
        cursor = connection.execute("SELECT * FROM dead_letters")
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor]
        connection.close()
        assert [row["id"] for row in rows] == ["1", "0x307831", "0xff00", "0x610062"]
        assert rows[0]["first_failed"] == "2024-05-01T12:00:00.000000Z"
        assert rows[0]["body"] == '{"a": 1}'
        assert rows[0]["size"] == 8
        assert (rows[0]["handler"], rows[0]["failures"]) == ("app.handle", 1)
        assert '"Name"' in rows[0]["headers"]


class TestHostile:
    """What somebody else wrote into the file is read as far as it goes, and never executed."""

    HOSTILE = (
        ("letters", "reason = CAST(x'ff00fe' AS TEXT)"),
        ("letters", "reason = 12, source = x'ff', origin = 'none'"),
        ("letters", "origin = 99"),
        ("letters", "first_failed = 'soon', last_failed = 9223372036854775807"),
        ("letters", "failures = 'many'"),
        ("letters", "id = 'text'"),
        ("letters", "message_id = 7"),
        ("letters", "claim = 1, claimed = 'x', claim_expires = 'y'"),
        ("letters", "kind = 'x'"),
        ("origins", "stage = 'nowhere', error_type = x'80', handler = 1.5"),
        ("origins", "host = 1, version = x'ff', message_class = CAST(x'ff' AS TEXT)"),
        ("contents", "headers = 'no json'"),
        ("contents", "headers = '[1]'"),
        ("contents", """headers = '{"a": {"b": 1}}'"""),
        ("contents", "headers = x'ff'"),
        ("contents", "headers = printf('%.*c', 100000, '[')"),
        ("contents", "body = 'text', traceback = x'ff'"),
        ("contents", "traceback = CAST(x'ff' AS TEXT)"),
    )

    @pytest.mark.parametrize(("table", "change"), HOSTILE, ids=str)
    def test_is_read_as_far_as_it_goes(self, store: SQLiteDLQ, table: str, change: str) -> None:
        """Whatever the types of what stands there, the letter can be read, claimed and removed."""
        store.put_many([whole_letter(), make_letter(b"2")])
        with store._database.reading() as connection:
            connection.execute(f"UPDATE {table} SET {change} WHERE rowid = 1")
        store._database.origins.known.clear()
        first, second = store.letters()
        assert isinstance(first.id, bytes)
        assert isinstance(first.raw_data, bytes)
        for text in (first.reason, first.stage, first.host, first.version):
            assert isinstance(text, str)
        for maybe in (first.handler, first.source, first.error_type, first.traceback):
            assert maybe is None or isinstance(maybe, str)
        assert all(isinstance(value, str) for value in first.headers.values())
        assert isinstance(first.first_failed, datetime)
        assert isinstance(first.failures, int)
        assert second == make_letter(b"2").with_history()._replace(position=2)
        assert store.summary()
        assert [message.raw_data for message, _ in store.values()][1] == b"body"
        if change != "id = 'text'":
            assert store.claim(first.id) is not None
            store.put(make_letter(first.id))
        store.clear()
        assert not store

    def test_content_is_missing(self, store: SQLiteDLQ) -> None:
        """A letter whose content somebody deleted is there with what is left."""
        store.put(whole_letter())
        with store._database.reading() as connection:
            connection.execute("DELETE FROM contents")
        letter = store.letter(b"1")
        assert (letter.raw_data, letter.reason) == (b"", "reason")
        assert [found.id for found in store.letters()] == [b"1"]
        store.put(whole_letter())
        assert store.letter(whole_letter().beside_id()).raw_data == b"body"
        store.restore(whole_letter())
        assert store.letter(b"1").raw_data == b"body"

    def test_origin_of_a_letter_that_was_not_kept(self, store: SQLiteDLQ) -> None:
        """What was written in a transaction that failed is not taken for written later."""
        bad = make_letter(b"2", raw_data=1.5j)  # what SQLite cannot hold
        with pytest.raises(DeadLetterStoreError):
            store.put_many([whole_letter(), bad])
        store.put(make_letter(handler="another"))
        store.put(whole_letter(id=b"2"))
        assert [letter.handler for letter in store.letters()] == ["another", "app.handle"]

    def test_nothing_is_imported(self, store: SQLiteDLQ) -> None:
        """The class that a letter names is neither imported nor called."""
        import sys

        store.put(make_letter(message_class="antigravity.Message"))
        store.letter(b"1")
        store[b"1"]
        assert "antigravity" not in sys.modules


class TestDamage:
    def test_damaged_file(self, tmp_path: Path) -> None:
        """A damaged file is reported as such, with what to do."""
        path = tmp_path / "dlq.db"
        with SQLiteDLQ(path) as store:
            store.put_many(make_letter(b"%d" % number) for number in range(500))
        content = bytearray(path.read_bytes())
        for place in range(4096, len(content)):
            content[place] ^= 0xA5
        path.write_bytes(content)
        with pytest.raises(DeadLetterStoreError, match=r"\.recover"), SQLiteDLQ(path) as store:
            list(store.letters())

    def test_missing_table(self, tmp_path: Path) -> None:
        """A file that is ours by its header and lacks a table gives a typed error."""
        path = tmp_path / "dlq.db"
        with SQLiteDLQ(path) as store:
            with store._database.reading() as connection:
                connection.execute("DROP TABLE contents")
            with pytest.raises(DeadLetterStoreError, match="no such table"):
                store.put(make_letter())


def test_a_database_in_memory_ends_with_the_process(store: SQLiteDLQ) -> None:
    """A run knows from the store whether it has to make its retries before it ends."""
    assert store.outlives_process == (store.path != ":memory:")


def test_letters_are_removed_together(store: SQLiteDLQ) -> None:
    """Each as it would be alone: one whose claim is lost stays, and the answer says which."""
    store.put_many([whole_letter(id=b"%d" % number) for number in range(3)])
    held = [found[0] for found in (store.claim(b"%d" % number) for number in range(3)) if found]
    assert store.release(held[1])
    assert store.remove_many(held) == [True, False, True]
    assert [letter.id for letter in store.letters()] == [b"1"]
    assert store.remove_many([]) == []
