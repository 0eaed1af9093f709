"""The place of a database: its file and the two beside it, watched while they are in use."""

from __future__ import annotations

import os
import sqlite3

from missive import DeadLetterStoreError

from .opening import open_connection
from .settings import Settings

#: What SQLite keeps beside a database that is in use: the log of what was written last, and its
#: index. Neither is replaced while a connection is open.
_BESIDE = ("-wal", "-shm")

_Identity = tuple[int, int]


class Place:
    """The files that a store has open, as the system tells them from others.

    SQLite goes on writing to a file that was removed, where nobody will find it again; and a new
    connection beside old ones would make another file, whose log the old ones then remove. A log
    that was removed or emptied loses what is written to it from then on, with the process.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._watched = not (settings.in_memory or settings.read_only)
        self._identity: _Identity | None = None
        self._beside: list[_Identity] = []
        #: How large the file and its log were when they were looked at last.
        self._sizes = (0, 0)

    def open(self, first: bool) -> sqlite3.Connection:
        """Open a connection, to the same file as those before it.

        :param first: no other is open, so the files beside it may be new.
        :raises DeadLetterStoreError: see :func:`open_connection` and :meth:`check`.
        """
        if not self._watched:
            return open_connection(self._settings)
        if self._identity is not None:
            self._look(beside=not first)
        connection = open_connection(self._settings)
        if first:
            self._identity, size = self._identify("")
            found = [self._identify(suffix) for suffix in _BESIDE]
            self._beside = [identity for identity, _ in found]
            self._sizes = (size, found[0][1])
        return connection

    def check(self, connection: sqlite3.Connection) -> None:
        """Make sure that what is written will be found again; before each transaction.

        :param connection: one of this place, outside a transaction.
        :raises DeadLetterStoreError: a file was removed, replaced, or cut.
        """
        if not self._watched:
            return
        sizes = self._look(beside=True)
        if sizes[0] < self._sizes[0] or sizes[1] < self._sizes[1]:
            self._check_content(connection, sizes)
        self._sizes = sizes

    def _look(self, *, beside: bool) -> tuple[int, int]:
        """Return the sizes of the file and its log, if they are those that were opened."""
        identity, size = self._identify("")
        if identity != self._identity:
            raise self._refusal("removed or replaced", "put it back, or stop")
        log_size = 0
        if beside:
            for suffix, known in zip(_BESIDE, self._beside, strict=True):
                identity, found = self._identify(suffix)
                if identity != known:
                    raise self._refusal("removed or replaced", "stop", suffix)
                if suffix == "-wal":
                    log_size = found
        return size, log_size

    def _check_content(self, connection: sqlite3.Connection, sizes: tuple[int, int]) -> None:
        """Tell a file that VACUUM or a checkpoint made smaller from one that lost its end."""
        try:
            if not sizes[0]:
                raise sqlite3.DatabaseError("the file is empty")
            # What is in the cache hides what is missing on the disk.
            connection.execute("PRAGMA shrink_memory")
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        except sqlite3.Error as error:
            if "is locked" in str(error):
                raise
            raise self._refusal("cut", "set it aside, restore a backup, and stop") from error

    def _identify(self, suffix: str) -> tuple[_Identity, int]:
        """Return what tells a file from others, and its size."""
        try:
            found = os.stat(self._settings.path + suffix)  # noqa: PTH116 (at each put; a Path is slower)
        except OSError:
            return (0, 0), 0
        return (found.st_dev, found.st_ino), found.st_size

    def _refusal(self, what: str, remedy: str, suffix: str = "") -> DeadLetterStoreError:
        return DeadLetterStoreError(
            f"{self._settings.path}{suffix} was {what} while it was in use; {remedy} every program"
            " that uses the store and start them again"
        )
