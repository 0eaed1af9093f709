from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from missive import ConfigurationError, DeadLetterStoreError, RawMessage, dlq_from_url
from missive.dlq.sqlite import SQLiteDLQ, schema
from missive.errors import DeadLetterStoreBusy, DeadLetterStoreRefused

VALUE = (RawMessage(b"body"), "reason")


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Be a user whom permissions bind."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def make_sqlite(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def make_wal_of_another(path: Path) -> None:
    make_sqlite(path, "PRAGMA journal_mode = WAL", "CREATE TABLE t (x)")


def make_newer(path: Path) -> None:
    SQLiteDLQ(path).close()
    make_sqlite(path, f"PRAGMA user_version = {schema.VERSION + 1}")


FOREIGN: dict[str, Any] = {
    "garbage": lambda path: path.write_bytes(b"\x00garbage" * 1000),
    "text": lambda path: path.write_text("a file\n"),
    "truncated": lambda path: path.write_bytes(b"SQLite format 3\x00"),
    "other": lambda path: make_sqlite(path, "CREATE TABLE t (x)"),
    "other with id": lambda path: make_sqlite(path, "PRAGMA application_id = 7"),
    "other in WAL": make_wal_of_another,
    "version 0.8 of missive": lambda path: make_sqlite(
        path, "CREATE TABLE messages (message_id BLOB, message_bytes BLOB, reason, inserted)"
    ),
    "newer": make_newer,
}


class TestForeign:
    @pytest.mark.parametrize("kind", FOREIGN)
    def test_is_refused_and_not_touched(self, kind: str, tmp_path: Path) -> None:
        """A file that is not ours is refused by name, and stays as it is, with nothing beside it."""
        path = tmp_path / "dlq.db"
        FOREIGN[kind](path)
        before = (path.read_bytes(), path.stat().st_mtime_ns)
        with pytest.raises(DeadLetterStoreRefused, match=str(path)) as caught:
            SQLiteDLQ(path)
        assert caught.value.place == str(path)
        assert isinstance(caught.value, ConfigurationError)
        assert (path.read_bytes(), path.stat().st_mtime_ns) == before
        assert list(tmp_path.iterdir()) == [path]

    def test_newer_names_both_versions(self, tmp_path: Path) -> None:
        """A newer schema is refused with its version and the remedy."""
        make_newer(tmp_path / "dlq.db")
        both = rf"version {schema.VERSION + 1}.*{schema.VERSION}; upgrade missive-dlq-sqlite"
        with pytest.raises(DeadLetterStoreRefused, match=both):
            SQLiteDLQ(tmp_path / "dlq.db")

    def test_directory(self, tmp_path: Path) -> None:
        """A directory is refused, and nothing is put into it."""
        with pytest.raises(DeadLetterStoreRefused, match="directory"):
            SQLiteDLQ(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_missing_parent(self, tmp_path: Path) -> None:
        """A path in a directory that is not there is refused, and the directory not made."""
        with pytest.raises(DeadLetterStoreRefused, match="no directory"):
            SQLiteDLQ(tmp_path / "missing" / "dlq.db")
        assert list(tmp_path.iterdir()) == []

    def test_parent_is_a_file(self, tmp_path: Path) -> None:
        """A path below a file is refused."""
        (tmp_path / "file").touch()
        with pytest.raises(DeadLetterStoreRefused):
            SQLiteDLQ(tmp_path / "file" / "dlq.db")

    def test_no_regular_file(self, tmp_path: Path) -> None:
        """A pipe is refused without being opened, which would wait for ever."""
        os.mkfifo(tmp_path / "dlq.db")
        with pytest.raises(DeadLetterStoreRefused, match="not a regular file"):
            SQLiteDLQ(tmp_path / "dlq.db")

    def test_name_too_long(self, tmp_path: Path) -> None:
        """A path that the system refuses is refused."""
        with pytest.raises(DeadLetterStoreRefused, match="too long"):
            SQLiteDLQ(tmp_path / ("x" * 300))

    def test_changed_after_the_first_look(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file that became another's between the look at it and its opening is refused too."""
        path = tmp_path / "dlq.db"
        make_sqlite(path, "CREATE TABLE t (x)")
        before = path.read_bytes()
        from missive.dlq.sqlite import opening

        monkeypatch.setattr(opening, "refuse_foreign", lambda path: None)
        with pytest.raises(DeadLetterStoreRefused, match="another application"):
            SQLiteDLQ(path)
        assert path.read_bytes() == before


@pytest.mark.usefixtures("as_nobody")
class TestPermissions:
    @pytest.fixture
    def folder(self, tmp_path_factory: pytest.TempPathFactory, request: Any) -> Iterator[Path]:
        """Return a folder that this user owns, whatever is above it."""
        import tempfile

        path = Path(tempfile.mkdtemp(dir="/tmp"))
        yield path
        path.chmod(0o700)
        for file in path.iterdir():
            file.unlink()
        path.rmdir()

    def test_read_only_file(self, folder: Path) -> None:
        """A file that may not be written is refused, and stays as it is."""
        path = folder / "dlq.db"
        SQLiteDLQ(path).close()
        path.chmod(0o444)
        before = path.read_bytes()
        with pytest.raises(DeadLetterStoreRefused, match="not writable"):
            SQLiteDLQ(path)
        assert path.read_bytes() == before
        assert list(folder.iterdir()) == [path]

    def test_read_only_folder(self, folder: Path) -> None:
        """A folder in which no file may be made is refused, since SQLite must make some."""
        path = folder / "dlq.db"
        SQLiteDLQ(path).close()
        folder.chmod(0o555)
        with pytest.raises(DeadLetterStoreRefused, match="may not create files"):
            SQLiteDLQ(path)
        assert list(folder.iterdir()) == [path]


class TestOpening:
    def test_new_file(self, tmp_path: Path) -> None:
        """A new file carries our application id and version, and is in WAL mode."""
        path = tmp_path / "dlq.db"
        SQLiteDLQ(path).close()
        header = path.read_bytes()[:100]
        assert header[68:72] == b"Mdlq"
        assert int.from_bytes(header[60:64], "big") == schema.VERSION
        assert header[18:20] == b"\x02\x02"
        assert list(tmp_path.iterdir()) == [path], "something was left beside it"

    def test_empty_file(self, tmp_path: Path) -> None:
        """An empty file, as mktemp makes it, becomes ours."""
        path = tmp_path / "dlq.db"
        path.touch()
        with SQLiteDLQ(path) as store:
            store[b"1"] = VALUE
            assert len(store) == 1

    def test_settings(self, tmp_path: Path) -> None:
        """Every connection has WAL and full synchronisation unless another was asked for."""
        for options, expected in (({}, 2), ({"synchronous": "normal"}, 1)):
            with (
                SQLiteDLQ(tmp_path / "dlq.db", **options) as store,  # type: ignore[arg-type]
                store._database.reading() as connection,
            ):
                assert connection.execute("PRAGMA synchronous").fetchone() == (expected,)
                assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
                assert connection.execute("PRAGMA trusted_schema").fetchone() == (0,)

    def test_odd_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A name may hold whatever a file system takes; a relative path stays what it was."""
        monkeypatch.chdir(tmp_path)
        for name in ("a?b=c#d%20.db", "ü ß.db", os.fsdecode(b"\xff.db")):
            with SQLiteDLQ(name) as store:
                store[b"1"] = VALUE
                monkeypatch.chdir("/")
                with SQLiteDLQ(tmp_path / name) as again:
                    assert list(again) == [b"1"]
                monkeypatch.chdir(tmp_path)
            assert (tmp_path / name).is_file()

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ({"synchronous": "MAYBE"}, "synchronous"),
            ({"busy_timeout": -1}, "busy_timeout"),
            ({"busy_timeout": float("nan")}, "busy_timeout"),
            ({"max_traceback": -1}, "max_traceback"),
            ({"connection_str": ""}, "path"),
            ({"connection_str": "a\0b"}, "path"),
            ({"connection_str": "sqlite:///x.db"}, "dlq_from_url"),
            ({"connection_str": "file:x.db"}, "dlq_from_url"),
        ],
        ids=str,
    )
    def test_senseless_arguments(
        self, arguments: dict[str, Any], named: str, tmp_path: Path, monkeypatch: Any
    ) -> None:
        """Arguments that cannot work are refused by name, and no file is made."""
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigurationError, match=named):
            SQLiteDLQ(**{"connection_str": "dlq.db", **arguments})
        assert list(tmp_path.iterdir()) == []

    def test_older_schema_migrates(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A schema of an older version becomes the one of today, its letters kept."""
        path = tmp_path / "dlq.db"
        with SQLiteDLQ(path) as store:
            store[b"1"] = VALUE
        version = schema.VERSION
        monkeypatch.setattr(schema, "VERSION", version + 2)
        migrations = {
            version: "ALTER TABLE contents ADD COLUMN colour TEXT;",
            version + 1: "CREATE TABLE more (x);\nINSERT INTO more VALUES ('a;b');",
        }
        monkeypatch.setattr(schema, "MIGRATIONS", migrations)
        with SQLiteDLQ(path) as store:
            assert store[b"1"] == VALUE
            with store._database.reading() as connection:
                assert connection.execute("PRAGMA user_version").fetchone() == (version + 2,)
                assert connection.execute("SELECT x FROM more").fetchall() == [("a;b",)]

    def test_migration_that_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A migration that fails changes nothing."""
        path = tmp_path / "dlq.db"
        SQLiteDLQ(path).close()
        before = path.read_bytes()
        broken = {schema.VERSION: "CREATE TABLE t (x);\nSELECT nonsense;"}
        monkeypatch.setattr(schema, "MIGRATIONS", broken)
        monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
        with pytest.raises(DeadLetterStoreError, match="nonsense"):
            SQLiteDLQ(path)
        assert path.read_bytes() == before

    def test_locked_where_sqlite_does_not_wait(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An opening that SQLite refuses at once, where two make a file together, is tried again."""
        from missive.dlq.sqlite import opening

        prepare = opening._prepare
        refusals = ["database is locked", "database table is locked"]

        def refuse_twice(connection: sqlite3.Connection, settings: opening.Settings) -> None:
            if refusals:
                raise sqlite3.OperationalError(refusals.pop())
            prepare(connection, settings)

        monkeypatch.setattr(opening, "_prepare", refuse_twice)
        with SQLiteDLQ(tmp_path / "dlq.db") as store:
            assert refusals == []
            store[b"1"] = VALUE

    def test_locked_while_opening(self, tmp_path: Path) -> None:
        """A new file that somebody holds locked is waited for, then refused as busy."""
        path = tmp_path / "dlq.db"
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DeadLetterStoreBusy) as caught:
            SQLiteDLQ(path, busy_timeout=0.1)
        assert caught.value.seconds == 0.1
        holder.close()
        SQLiteDLQ(path).close()


class TestURL:
    def test_forms(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """URLs are SQLAlchemy's: three slashes are relative, four absolute, none in memory."""
        monkeypatch.chdir(tmp_path)
        for url, path in (
            ("sqlite:///relative.db", tmp_path / "relative.db"),
            (f"sqlite:///{tmp_path}/absolute%20name.db", tmp_path / "absolute name.db"),
            ("sqlite:///:memory:", ":memory:"),
            ("sqlite://", ":memory:"),
        ):
            with dlq_from_url(url) as store:
                assert isinstance(store, SQLiteDLQ)
                assert store.path == str(path)
                assert repr(store) == f"<SQLiteDLQ {path}>"

    def test_options(self, tmp_path: Path) -> None:
        """The settings may stand in the query."""
        url = f"sqlite:///{tmp_path}/x.db?synchronous=NORMAL&busy_timeout=0.5&max_traceback=10"
        with SQLiteDLQ.from_url(url) as store:
            assert store.max_traceback == 10
            assert store._database.settings.busy_timeout == 0.5

    @pytest.mark.parametrize("seconds", ["inf", "1e10", "3e6"])
    def test_endless_waiting(self, seconds: str, tmp_path: Path) -> None:
        """Who asks to wait for longer than can be counted waits for as long as that."""
        with SQLiteDLQ.from_url(f"sqlite:///{tmp_path}/x.db?busy_timeout={seconds}") as store:
            store[b"1"] = VALUE
            with store._database.reading() as connection:
                (milliseconds,) = connection.execute("PRAGMA busy_timeout").fetchone()
        assert milliseconds > 20 * 86_400_000

    @pytest.mark.parametrize(
        "url",
        [
            "sqlite://host/x.db",
            "sqlite:x.db",
            "sqlite:///",
            "sqlite:///?synchronous=OFF",
            "sqlite:///x.db#y",
            "sqlite:///x.db?mode=ro",
        ],
    )
    def test_refused(self, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A URL with a host, no path, a fragment or an unknown option is refused."""
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigurationError):
            SQLiteDLQ.from_url(url)
        assert list(tmp_path.iterdir()) == []


class TestClosing:
    def test_close_leaves_one_file(self, tmp_path: Path) -> None:
        """After close there is nothing beside the file, and using the store says so."""
        store = SQLiteDLQ(tmp_path / "dlq.db")
        store[b"1"] = VALUE
        store.close()
        store.close()
        assert [file.name for file in tmp_path.iterdir()] == ["dlq.db"]
        for use in (lambda: len(store), lambda: store.put_many([]), store.check):
            with pytest.raises(DeadLetterStoreError, match="was closed"):
                use()

    def test_forgotten_store(self, tmp_path: Path) -> None:
        """A store that nobody refers to any more closes its files."""
        SQLiteDLQ(tmp_path / "dlq.db")[b"1"] = VALUE
        assert [file.name for file in tmp_path.iterdir()] == ["dlq.db"]

    @pytest.mark.parametrize("how", ["removed", "replaced"])
    def test_file_is_removed(self, how: str, tmp_path: Path) -> None:
        """When the file is removed or replaced under it, a store refuses to write into nowhere."""
        path = tmp_path / "dlq.db"
        with SQLiteDLQ(path) as store:
            store[b"1"] = VALUE
            path.rename(tmp_path / "elsewhere.db")
            if how == "replaced":
                path.touch()
            for write in (store.check, lambda: store.__setitem__(b"2", VALUE)):
                with pytest.raises(DeadLetterStoreError, match="removed or replaced"):
                    write()

    def test_no_new_file_for_a_new_thread(self, tmp_path: Path) -> None:
        """A thread that comes after the file was removed makes no other in its place."""
        path = tmp_path / "dlq.db"
        with SQLiteDLQ(path) as store:
            store[b"1"] = VALUE
            path.rename(tmp_path / "elsewhere.db")
            errors: list[Exception] = []

            def read() -> None:
                try:
                    len(store)
                except DeadLetterStoreError as error:
                    errors.append(error)

            thread = threading.Thread(target=read)
            thread.start()
            thread.join()
            assert len(errors) == 1
            assert "removed or replaced" in str(errors[0])
            assert not path.exists()

    def test_mode_of_the_file(self, tmp_path: Path) -> None:
        """A new file has the mode that the umask of its maker allows."""
        former = os.umask(0o077)
        try:
            SQLiteDLQ(tmp_path / "dlq.db").close()
        finally:
            os.umask(former)
        assert stat.S_IMODE((tmp_path / "dlq.db").stat().st_mode) == 0o600


class TestOpeningWhatIsThere:
    def test_makes_no_file(self, tmp_path: Path) -> None:
        """A command that only looks makes no store where the path is wrong, and says so."""
        with pytest.raises(DeadLetterStoreRefused, match="no such file"):
            dlq_from_url(f"sqlite:///{tmp_path}/nothere.db", existing=True)
        assert list(tmp_path.iterdir()) == []

    def test_opens_a_file(self, tmp_path: Path) -> None:
        """A store that is there is opened, options of its URL and all."""
        with SQLiteDLQ(tmp_path / "odd name.db") as store:
            store[b"1"] = VALUE
        url = f"sqlite:///{tmp_path}/odd%20name.db?synchronous=NORMAL"
        with dlq_from_url(url, existing=True) as store:
            assert list(store) == [b"1"]
