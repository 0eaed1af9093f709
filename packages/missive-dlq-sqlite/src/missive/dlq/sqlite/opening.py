"""Opening a database: is it ours, may we write to it, and with what settings."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from random import uniform
from time import monotonic, sleep
from urllib.parse import quote

from missive.errors import DeadLetterStoreBusy, DeadLetterStoreRefused

from . import schema
from .errors import is_busy, translated
from .settings import Settings


def open_connection(settings: Settings) -> sqlite3.Connection:
    """Open a connection with all its settings, to a database that has the schema of today.

    :raises DeadLetterStoreRefused: the file is not ours, or cannot be written; it was not touched.
    :raises DeadLetterStoreError: it cannot be opened.
    """
    if settings.read_only:
        return _open_to_look(settings)
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


def _open_to_look(settings: Settings) -> sqlite3.Connection:
    """Open a connection that writes nothing, and makes no file beside the database.

    :raises DeadLetterStoreError: see :func:`open_connection`.
    """
    path = settings.path
    refuse_unreadable(path)
    # Without a log nobody has the database open, so it can be read as a file that does not change;
    # SQLite could not read it otherwise where it may make no files.
    with_log = Path(f"{path}-wal").exists()
    if with_log and not Path(f"{path}-shm").exists() and not _may(Path(path).parent, os.W_OK):
        raise DeadLetterStoreRefused(
            path,
            f"its newest letters are in {path}-wal, which cannot be read where no files can be made;"
            " copy both to a folder of your own and look there",
        )
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?mode=ro{'' if with_log else '&immutable=1'}",
        uri=True,
        timeout=settings.busy_timeout,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        application_id, version = _read_stamp(connection)
        refuse_stamp(path, application_id, version, connection)
        if version < schema.VERSION:
            raise DeadLetterStoreRefused(
                path,
                f"its schema has version {version}, and becomes version {schema.VERSION} when it is"
                " opened for writing; do that first, or look with the missive-dlq-sqlite that wrote it",
            )
        return connection
    except sqlite3.Error as error:
        connection.close()
        raise translated(error, path, settings.busy_timeout) from error
    except BaseException:
        connection.close()
        raise


def may_write(path: str) -> bool:
    """Return whether this user could open a database for writing, as far as permissions say."""
    return (not Path(path).exists() or _may(path, os.W_OK)) and _may(
        Path(path).parent, os.W_OK | os.X_OK
    )


def refuse_unreadable(path: str) -> bool:
    """Look at the kind of a file, and refuse one that cannot be a database; return if it is there.

    :raises DeadLetterStoreRefused: it is not a regular file, or this user may not read it.
    """
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise DeadLetterStoreRefused(path, f"{error.strerror}; choose another path") from error
    if stat.S_ISDIR(found.st_mode):
        raise DeadLetterStoreRefused(path, "it is a directory; name a file in it")
    if not stat.S_ISREG(found.st_mode):
        raise DeadLetterStoreRefused(path, "it is not a regular file; choose another path")
    if not _may(path, os.R_OK):
        raise DeadLetterStoreRefused(path, f"this user may not read it; {_as_owner(path)}")
    return True


def _as_owner(path: str | Path) -> str:
    """Say whose permissions would do."""
    try:
        return f"run this as {Path(path).owner()}, who owns {path}"
    except (KeyError, OSError, NotImplementedError):  # a user without a name, or no such thing
        return f"run this as the user who owns {path}"


def _to_look(path: str | Path) -> str:
    """Say how to go on where nothing can be written."""
    return f"{_as_owner(path)}, or only look at it, with read_only=True or ?read_only=true"


def refuse_foreign(path: str) -> None:
    """Look at a file without touching it or what stands beside it, and refuse what is not ours.

    :raises DeadLetterStoreRefused: it is not ours, or we could not write to it.
    """
    parent = Path(path).parent
    if not parent.is_dir():
        raise DeadLetterStoreRefused(path, f"there is no directory {parent}; make it first")
    exists = refuse_unreadable(path)
    if exists and not _may(path, os.W_OK):
        if _is_mounted_read_only(path):
            raise DeadLetterStoreRefused(
                path,
                "its file system is mounted read-only; only look at it, with read_only=True or"
                " ?read_only=true",
            )
        raise DeadLetterStoreRefused(path, f"it is not writable by this user; {_to_look(path)}")
    if not _may(parent, os.W_OK | os.X_OK):
        raise DeadLetterStoreRefused(
            path,
            f"this user may not create files in {parent}, as SQLite must beside a database;"
            f" {_to_look(parent)}",
        )
    if exists and Path(path).stat().st_size:
        _refuse_foreign_content(path)


def _is_mounted_read_only(path: str) -> bool:
    return hasattr(os, "statvfs") and bool(os.statvfs(path).f_flag & os.ST_RDONLY)


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
        refuse_stamp(path, application_id, version, connection)
    except sqlite3.DatabaseError as error:
        if _was_half_made(path):
            return
        raise translated(error, path, 0) from error
    finally:
        connection.close()


def _was_half_made(path: str) -> bool:
    """Return whether SQLite was interrupted while it made this file, and will empty it.

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


def refuse_stamp(
    path: str, application_id: int, version: int, connection: sqlite3.Connection
) -> None:
    """Refuse a database by what its header says.

    :param connection: to see whether its tables say otherwise.
    :raises DeadLetterStoreRefused: it is another application's, or of a newer version.
    """
    if application_id != schema.APPLICATION_ID:
        former = schema.version_of(connection) if (application_id, version) == (0, 0) else None
        if former is not None:
            raise DeadLetterStoreRefused(
                path,
                "it has the tables of a dead letter store and lacks its mark, as a database does that"
                " was restored from a text dump; mark it again: sqlite3 FILE"
                f" 'PRAGMA application_id = {schema.APPLICATION_ID};"
                f" PRAGMA user_version = {former}'",
            )
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
        execute("PRAGMA user_version").fetchone()  # makes the log, so that it can be watched
        # What the log grew to in a storm is given back.
        execute("PRAGMA journal_size_limit = 67108864")


def _make_current(connection: sqlite3.Connection, settings: Settings) -> None:
    application_id, version = _read_stamp(connection)  # somebody may have been quicker
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if (application_id, version, tables) == (0, 0, 0):
        schema.create(connection)
        return
    refuse_stamp(settings.path, application_id, version, connection)
    if version < schema.VERSION:
        schema.migrate(connection, version)
