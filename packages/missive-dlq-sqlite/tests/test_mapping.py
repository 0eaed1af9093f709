from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import rule
from missive import RawMessage
from missive.dlq.sqlite import SQLiteDLQ, reading
from store_suite import AgainstDict

DEADLINE = 60.0


class SQLiteAgainstDict(AgainstDict):
    """By two handles, and with the file closed in between."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp()
        super().__init__()

    def open(self) -> list[SQLiteDLQ]:
        return [self.open_one(), self.open_one()]

    def open_one(self) -> SQLiteDLQ:
        return SQLiteDLQ(Path(self.folder) / "dlq.db", synchronous="OFF")

    def teardown(self) -> None:
        for handle in self.handles:
            handle.close()
        shutil.rmtree(self.folder)

    @rule()
    def reopen(self) -> None:
        self.handles[0].close()
        self.handles[0] = self.open_one()

    @rule()
    def reopen_all(self) -> None:
        for handle in self.handles:
            handle.close()
        self.handles = self.open()


TestAgainstDict = SQLiteAgainstDict.TestCase
# A fifth of the profile's examples: each opens files, again and again.
TestAgainstDict.settings = settings(
    settings.default,
    max_examples=settings.default.max_examples // 5,  # type: ignore[union-attr]
)


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    where = tmp_path / "dlq.db" if request.param == "file" else ":memory:"
    with SQLiteDLQ(where, synchronous="OFF") as store:
        yield store


@pytest.mark.parametrize("key", ["text", 1, None, ("t",)])
def test_other_keys_are_missing(store: Any, key: object) -> None:
    """What is not bytes is no key: missing on reading, refused on writing."""
    assert key not in store
    for call in (store.__getitem__, store.__delitem__, store.pop):
        with pytest.raises(KeyError):
            call(key)
    assert store.pop(key, "default") == "default"
    for call in (store.__setitem__, store.setdefault):
        with pytest.raises(TypeError, match="key is bytes"):
            call(key, (RawMessage(b""), ""))


def test_unhashable_keys(store: Any) -> None:
    """A key that no dict could look up raises what a dict raises."""
    for call in (store.__contains__, store.__getitem__, store.__delitem__, store.pop):
        with pytest.raises(TypeError):
            call([])


def test_setdefault_without_a_value(store: Any) -> None:
    """A default that is no message with a reason is refused, where it would be put."""
    with pytest.raises(TypeError, match="NoneType"):
        store.setdefault(b"1")
    assert len(store) == 0


def test_empty(store: Any) -> None:
    """From an empty store nothing can be taken."""
    assert not store
    for call in (store.popitem, store.oldest):
        with pytest.raises(KeyError, match="empty"):
            call()
    assert list(store.letters()) == list(store) == store.summary() == []


@pytest.mark.parametrize("over", ["keys", "items", "letters", "reversed"])
def test_changes_while_iterating(store: Any, over: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Iteration gives each letter that stays once and none that came since, across its pages."""
    monkeypatch.setattr(reading, "PAGE_SIZE", 2)
    monkeypatch.setattr(reading, "IDS_PAGE_SIZE", 2)
    ids = [b"%d" % number for number in range(9)]
    for id in ids:
        store[id] = (RawMessage(id), "")
    iterators: dict[str, Callable[[], Any]] = {
        "keys": lambda: iter(store),
        "items": lambda: (id for id, _ in store.items()),
        "letters": lambda: (letter.id for letter in store.letters()),
        "reversed": lambda: reversed(store),
    }
    seen = []
    for id in iterators[over]():
        seen.append(id)
        del store[id]
        store[b"new" + id] = (RawMessage(id), "")
    assert seen == (ids[::-1] if over == "reversed" else ids)
    assert list(store) == [b"new" + id for id in seen]


def test_large_bodies_make_small_pages(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of large letters only a few are in memory at once, and all are given."""
    monkeypatch.setattr(reading, "PAGE_BYTES", 10)
    ids = [b"%d" % number * 3 for number in range(9)]
    for id in ids:
        store[id] = (RawMessage(id * 2), "")
    sizes: list[int] = []
    read = store._reader.page

    def note(*arguments: Any) -> Any:
        page, is_last = read(*arguments)
        sizes.append(len(page))
        return page, is_last

    monkeypatch.setattr(store._reader, "page", note)
    assert [letter.id for letter in store.letters()] == ids
    assert max(sizes) == 2
    assert [letter.id for letter in store.letters(limit=4)] == ids[:4]
    assert list(store) == ids


def test_iteration_holds_nothing(tmp_path: Path) -> None:
    """Half an iteration keeps nobody from writing, and the log from being checkpointed."""
    path = tmp_path / "dlq.db"
    with SQLiteDLQ(path) as store, SQLiteDLQ(path, busy_timeout=0) as other:
        for number in range(300):
            store[b"%d" % number] = (RawMessage(b""), "")
        iterators: list[Any] = [iter(store), store.letters(), iter(store.items())]
        for iterator in iterators:
            next(iterator)
        other[b"x"] = (RawMessage(b""), "")
        with other._database.reading() as connection:
            (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert busy == 0


def test_popitem_by_many_threads(store: Any) -> None:
    """No two threads take the same letter."""
    for number in range(400):
        store[b"%d" % number] = (RawMessage(b""), "")
    taken: list[bytes] = []

    def take() -> None:
        while True:
            try:
                taken.append(store.popitem()[0])
            except KeyError:
                return

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert sorted(taken) == sorted(b"%d" % number for number in range(400))


def test_clear_and_purge_in_several_steps(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removing many letters takes several transactions, and removes all."""
    from datetime import timedelta

    for module in ("mapping", "sqlite_dlq"):
        monkeypatch.setattr(f"missive.dlq.sqlite.{module}.REMOVED_AT_ONCE", 3)
    for remove in (store.clear, lambda: store.purge(older_than=timedelta(0))):
        for number in range(9):
            store[b"%d" % number] = (RawMessage(b""), "")
        remove()
        assert len(store) == 0
