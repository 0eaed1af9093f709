"""Opening a database: is it ours, may we write to it, and with what settings."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from random import uniform
from time import monotonic, sleep
from typing import NamedTuple
from urllib.parse import quote

from missive import DeadLetterStoreBusy, DeadLetterStoreError, DeadLetterStoreRefused

from . import schema
from .errors import is_busy, translated


class Settings(NamedTuple):
    """What a connection is opened with.

    :ivar path: an absolute path, or ``:memory:``.
    :ivar synchronous: as SQLite's pragma of that name.
    :ivar busy_timeout: how long to wait for others, in seconds.
    """

    path: str
    synchronous: str
    busy_timeout: float

    @property
    def in_memory(self) -> bool:
        """Whether there is no file."""
        return self.path == ":memory:"


class Place:
    """The file that a store has open, as the system tells it from others.

    SQLite goes on writing to a file that was removed, where nobody will find it again; and a new
    connection beside old ones would make another file, whose log the old ones then remove.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._identity: tuple[int, int] | None = None

    def open(self) -> sqlite3.Connection:
        """Open a connection, to the same file as those before it.

        :raises DeadLetterStoreError: see :func:`open_connection` and :meth:`check`.
        """
        self.check()
        connection = open_connection(self._settings)
        if self._identity is None:
            self._identity = self._identify()
        return connection

    def check(self) -> None:
        """Make sure that the path still leads to the file that was opened first.

        :raises DeadLetterStoreError: it does not.
        """
        if self._identity is not None and self._identify() != self._identity:
            raise DeadLetterStoreError(
                f"{self._settings.path} was removed or replaced while it was in use; put it back,"
                " or stop every program that uses it and start them again"
            )

    def _identify(self) -> tuple[int, int] | None:
        if self._settings.in_memory:
            return None
        try:
            found = os.stat(self._settings.path)  # noqa: PTH116 (at each put; a Path is slower)
        except OSError:
            return (0, 0)
        return (found.st_dev, found.st_ino)


def open_connection(settings: Settings) -> sqlite3.Connection:
    """Open a connection with all its settings, to a database that has the schema of today.

    :raises DeadLetterStoreRefused: the file is not ours, or cannot be written; it was not touched.
    :raises DeadLetterStoreError: it cannot be opened.
    """
    if not settings.in_memory:
        refuse_foreign(settings.path)
    deadline = monotonic() + settings.busy_timeout
    while True:
        connection = sqlite3.connect(
            settings.path,
            timeout=settings.busy_timeout,
            isolation_level=None,  # transactions are begun and ended by name
            check_same_thread=False,  # each is used by one thread at a time, which a lock ensures
        )
        try:
            _prepare(connection, settings)
            return connection
        except BaseException as error:
            connection.close()
            if not is_busy(error):
                if isinstance(error, sqlite3.Error):
                    raise translated(error, settings.path, settings.busy_timeout) from error
                raise
            # Where a file is new, or its journal is just being changed, SQLite does not wait.
            if monotonic() >= deadline:
                raise DeadLetterStoreBusy(settings.path, settings.busy_timeout) from error
        sleep(uniform(0.001, 0.02))


def refuse_foreign(path: str) -> None:
    """Look at a file without touching it or what stands beside it, and refuse what is not ours.

    :raises DeadLetterStoreRefused: it is not ours, or we could not write to it.
    """
    parent = Path(path).parent
    if not parent.is_dir():
        raise DeadLetterStoreRefused(path, f"there is no directory {parent}; make it first")
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        found = None
    except OSError as error:
        raise DeadLetterStoreRefused(path, f"{error.strerror}; choose another path") from error
    if found is not None:
        if stat.S_ISDIR(found.st_mode):
            raise DeadLetterStoreRefused(path, "it is a directory; name a file in it")
        if not stat.S_ISREG(found.st_mode):
            raise DeadLetterStoreRefused(path, "it is no regular file; choose another path")
        if not _may(path, os.W_OK | os.R_OK):
            raise DeadLetterStoreRefused(
                path, "it is not writable by this user; change its permissions"
            )
    if not _may(parent, os.W_OK | os.X_OK):
        raise DeadLetterStoreRefused(
            path,
            f"this user may not create files in {parent}, as SQLite must beside a database;"
            " change its permissions",
        )
    if found is not None and found.st_size:
        _refuse_foreign_content(path)


def _may(path: str | Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _refuse_foreign_content(path: str) -> None:
    # Through SQLite, since closing a file that this process has open in SQLite too would drop the
    # locks of that; and "immutable", so that nothing is locked, created or recovered.
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?mode=ro&immutable=1", uri=True, isolation_level=None
    )
    try:
        # Lets a file pass that is shorter than its header says: a full disk or a power cut may
        # leave it so, and the log beside it, which is not looked at here, has the rest.
        connection.execute("PRAGMA writable_schema = ON")
        application_id, version = _read_stamp(connection)
    except sqlite3.DatabaseError as error:
        if _was_half_made(path):
            return
        raise translated(error, path, 0) from error
    finally:
        connection.close()
    refuse_stamp(path, application_id, version)


def _was_half_made(path: str) -> bool:
    """Tell whether SQLite was interrupted while it made this file, and will empty it.

    Then there is a rollback journal beside it, which begins with these eight bytes and says, in the
    fifth of its 32-bit numbers, that the file had no pages before.
    (https://www.sqlite.org/fileformat2.html#the_rollback_journal)
    """
    try:
        with Path(f"{path}-journal").open("rb") as journal:
            header = journal.read(20)
    except OSError:
        return False
    return header[:8] == b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" and header[16:] == bytes(4)


def refuse_stamp(path: str, application_id: int, version: int) -> None:
    """Refuse a database by what its header says.

    :raises DeadLetterStoreRefused: it is another application's, or of a newer version.
    """
    if application_id != schema.APPLICATION_ID:
        raise DeadLetterStoreRefused(
            path, "it is an SQLite database of another application; choose another path"
        )
    if version > schema.VERSION:
        raise DeadLetterStoreRefused(
            path,
            f"its schema has version {version}, and this missive-dlq-sqlite knows versions up to"
            f" {schema.VERSION}; upgrade missive-dlq-sqlite",
        )


def _read_stamp(connection: sqlite3.Connection) -> tuple[int, int]:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return application_id, version


def _prepare(connection: sqlite3.Connection, settings: Settings) -> None:
    """Make every setting that a connection has, and the schema if the database lacks it."""
    execute = connection.execute
    # Nothing in the file is trusted: its views and triggers may call no function of effect.
    execute("PRAGMA trusted_schema = OFF")
    execute(f"PRAGMA synchronous = {settings.synchronous}")
    # On macOS, fsync alone leaves data in the drive's cache. Elsewhere this does nothing.
    execute("PRAGMA fullfsync = ON")
    execute("PRAGMA checkpoint_fullfsync = ON")
    stamp = _read_stamp(connection)
    if stamp != (schema.APPLICATION_ID, schema.VERSION):
        # Before the file is switched to WAL: so its header, which tells that it is ours, is in the
        # file itself and not only in the log beside it.
        execute("BEGIN EXCLUSIVE")
        try:
            _make_current(connection, settings)
            execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                execute("ROLLBACK")
            raise
    if not settings.in_memory:
        execute("PRAGMA journal_mode = WAL")
        # What the log grew to in a storm is given back.
        execute("PRAGMA journal_size_limit = 67108864")


def _make_current(connection: sqlite3.Connection, settings: Settings) -> None:
    application_id, version = _read_stamp(connection)  # somebody may have been quicker
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if (application_id, version, tables) == (0, 0, 0):
        schema.create(connection)
        return
    refuse_stamp(settings.path, application_id, version)
    if version < schema.VERSION:
        schema.migrate(connection, version)
