"""Looking at a store that may not be written to."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from missive import ConfigurationError, RawMessage, dlq_from_url
from missive.dlq.sqlite import SQLiteDLQ, opening, schema
from missive.errors import DeadLetterStoreRefused

VALUE = (RawMessage(b"body"), "reason")

LOOK = """
import os, sys, missive
from missive.dlq.sqlite import SQLiteDLQ
with SQLiteDLQ(":memory:") as warm:  # all is imported before the permissions change
    list(warm.letters())
if os.geteuid() == 0:
    os.setegid(65534)
    os.seteuid(65534)
try:
    with SQLiteDLQ.open_existing("sqlite:///" + sys.argv[1]) as store:
        print(len(store), len(list(store.letters())), len(store.summary()))
        try:
            store[b"new"] = (missive.RawMessage(b""), "")
        except missive.errors.DeadLetterStoreRefused as error:
            print(error)
except missive.errors.DeadLetterStoreRefused as error:
    print(error)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that every user may read, and only its owner write."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    path.chmod(0o755)
    yield path
    path.chmod(0o755)
    shutil.rmtree(path)


def look_as_another(path: Path) -> str:
    """Look at a store as a user who may write neither to the file nor beside it."""
    if os.geteuid() != 0:  # no other user is to be had: permissions do the same
        for file in path.parent.iterdir():
            file.chmod(0o444)
        path.parent.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_that_is_closed(folder: Path) -> None:
    """Another user sees the letters; nothing is made beside the file, and a change is refused."""
    path = folder / "dlq.db"
    with SQLiteDLQ(path) as store:
        store[b"1"] = VALUE
    before = path.read_bytes()
    counts, refusal = look_as_another(path).splitlines()
    assert counts == "1 1 1"
    assert "open to be looked at only" in refusal
    assert "change its permissions" not in refusal
    assert (path.read_bytes(), list(folder.iterdir())) == (before, [path])


def test_one_in_use(folder: Path) -> None:
    """Another user sees also what is only in the log of a store in use."""
    path = folder / "dlq.db"
    with SQLiteDLQ(path) as store:
        store[b"1"] = VALUE
        store[b"2"] = VALUE
        assert look_as_another(path).startswith("2 2 1\n")


def test_one_whose_process_was_killed(folder: Path) -> None:
    """Letters that a killed process left in the log are seen; without the log's index, that is said."""
    path, copy = folder / "dlq.db", folder / "copy.db"
    with SQLiteDLQ(path) as store:
        store[b"1"] = VALUE
        for suffix in ("", "-wal", "-shm"):
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    assert look_as_another(copy).startswith("1 1 1\n")
    folder.chmod(0o755)
    Path(f"{copy}-shm").unlink()
    assert "copy both" in look_as_another(copy)


def test_asked_for(tmp_path: Path) -> None:
    """A store can be opened to look only, by name and by URL; reading does all it does otherwise."""
    path = tmp_path / "dlq.db"
    with SQLiteDLQ(path) as store:
        store[b"1"] = VALUE
    for looked in (
        SQLiteDLQ(path, read_only=True),
        dlq_from_url(f"sqlite:///{path}?read_only=true", existing=True),
    ):
        with looked:
            assert list(looked.items()) == [(b"1", VALUE)]
            assert len(looked.choose()) == 1
            assert looked.claim_of(b"1") is None
            for change in (looked.clear, looked.check, looked.popitem):
                with pytest.raises(DeadLetterStoreRefused, match="looked at only"):
                    change()
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_looked_at(tmp_path: Path) -> None:
    """A missing file, one in memory, another's and an older schema are refused by name."""
    path = tmp_path / "dlq.db"
    with pytest.raises(DeadLetterStoreRefused, match="no such file"):
        SQLiteDLQ(path, read_only=True)
    with pytest.raises(ConfigurationError, match="in memory"):
        SQLiteDLQ(":memory:", read_only=True)
    path.touch()
    with pytest.raises(DeadLetterStoreRefused, match="another application"):
        SQLiteDLQ(path, read_only=True)
    path.write_bytes(b"garbage" * 1000)
    with pytest.raises(DeadLetterStoreRefused, match="not a SQLite database"):
        SQLiteDLQ(path, read_only=True)
    path.unlink()
    SQLiteDLQ(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 0")
    connection.commit()
    connection.close()
    with pytest.raises(DeadLetterStoreRefused, match="opened for writing"):
        SQLiteDLQ(path, read_only=True)


def test_mounted_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file on a read-only mount is refused for writing with that cause, and read by a look."""
    path = tmp_path / "dlq.db"
    with SQLiteDLQ(path) as store:
        store[b"1"] = VALUE
    monkeypatch.setattr(opening, "_may", lambda path, mode: not mode & os.W_OK)
    monkeypatch.setattr(opening, "_is_mounted_read_only", lambda path: True)
    with pytest.raises(DeadLetterStoreRefused, match=r"mounted read-only.*read_only=true"):
        SQLiteDLQ(path)
    with SQLiteDLQ.open_existing(f"sqlite:///{path}") as looked:
        assert list(looked) == [b"1"]


def test_restored_from_a_text_dump(tmp_path: Path) -> None:
    """A database that a text dump restored is told how to be marked again, and then is ours."""
    with SQLiteDLQ(tmp_path / "old.db") as store:
        store[b"1"] = VALUE
    old = sqlite3.connect(tmp_path / "old.db")
    new = sqlite3.connect(tmp_path / "new.db")
    new.executescript("\n".join(old.iterdump()))
    old.close()
    with pytest.raises(DeadLetterStoreRefused, match="text dump") as caught:
        SQLiteDLQ(tmp_path / "new.db")
    new.executescript(str(caught.value).split("'")[1])
    new.close()
    with SQLiteDLQ(tmp_path / "new.db") as again:
        assert list(again.items()) == [(b"1", VALUE)]
        with again._database.reading() as connection:
            assert schema.version_of(connection) == schema.VERSION
