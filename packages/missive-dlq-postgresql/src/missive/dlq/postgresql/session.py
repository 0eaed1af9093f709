"""Sessions: a connection, as the store uses it."""

from __future__ import annotations

import os
import struct
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from typing import Any

import psycopg
from psycopg import pq
from psycopg.adapt import Buffer, Loader
from psycopg.rows import tuple_row

from .rows import from_micros

_INT8 = struct.Struct("!q")


class _UTCLoader(Loader):
    """Reads a moment in UTC, whatever the session's time zone, and any that somebody wrote."""

    format = pq.Format.BINARY

    def load(self, data: Buffer) -> datetime:
        """Return the moment."""
        return from_micros(_INT8.unpack(data)[0])


class Session:
    """A connection in autocommit, and one cursor whose rows are tuples."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._cursor = psycopg.Cursor(connection, row_factory=tuple_row)
        self._cursor.adapters.register_loader("timestamptz", _UTCLoader)
        self._lock_timeout: float | None = None

    def execute(
        self, statement: bytes, values: Sequence[Any] | Mapping[str, Any] = ()
    ) -> psycopg.Cursor[tuple[Any, ...]]:
        """Execute a statement; its rows are to be fetched before the next one."""
        return self._cursor.execute(statement, values, binary=True)

    def execute_each(self, statement: bytes, several: Sequence[Sequence[Any]]) -> None:
        """Execute a statement with each of several values, without waiting for one after the other."""
        self._cursor.executemany(statement, several)

    def copy(self, statement: bytes, pieces: Iterable[bytes]) -> None:
        """Execute a COPY that takes these bytes."""
        with self._cursor.copy(statement) as copy:
            for piece in pieces:
                copy.write(piece)

    def run(self, script: str) -> None:
        """Execute a script without parameters, whose braces and percent signs stand for themselves."""
        # A user's pool may have psycopg prepare every statement, and a prepared one is not a script.
        self._connection.execute(script.encode(), prepare=False)

    def transaction(self) -> AbstractContextManager[Any]:
        """Enter a transaction; committed at the end, unless something is raised."""
        return self._connection.transaction()

    @property
    def encoding(self) -> str | None:
        """The encoding of the database."""
        return self._connection.info.parameter_status("server_encoding")

    @property
    def server_version(self) -> int:
        """The version of the server: 150004 is 15.4."""
        return self._connection.info.server_version

    def wait_for_locks(self, timeout: float) -> None:
        """Have statements wait so long for others, in seconds."""
        if timeout != self._lock_timeout:
            self._set_lock_timeout(_milliseconds(timeout))
            self._lock_timeout = timeout

    def _set_lock_timeout(self, value: str) -> str:
        cursor = self.execute(
            b"SELECT current_setting('lock_timeout'), set_config('lock_timeout', %s, false)",
            (value,),
        )
        (before, _), *_ = cursor.fetchall()
        return str(before)

    @contextmanager
    def borrowed(self, timeout: float) -> Generator[None]:
        """Use a connection of somebody else's, which has its settings back in the end."""
        autocommit = self._connection.autocommit
        encoding = self._connection.info.parameter_status("client_encoding") or "UTF8"
        self._connection.autocommit = True
        self._speak(encoding, "UTF8")
        before = self._set_lock_timeout(_milliseconds(timeout))
        try:
            yield
        finally:
            if self.is_idle:
                self._set_lock_timeout(before)
                self._speak("UTF8", encoding)
                self._connection.autocommit = autocommit
            else:  # the pool makes another
                self.close()

    def _speak(self, encoding: str, other: str) -> None:
        """Switch the connection from one encoding to another."""
        if other != encoding:
            self.execute(b"SELECT set_config('client_encoding', %s, false)", (other,))

    @property
    def is_idle(self) -> bool:
        """Whether the connection is open and in no transaction."""
        return self._connection.pgconn.transaction_status == pq.TransactionStatus.IDLE

    def close(self) -> None:
        """Close the connection."""
        with suppress(psycopg.Error):
            self._connection.close()

    def abandon(self) -> None:
        """Close what a forked child has of the connection, and say nothing to the server."""
        with suppress(psycopg.Error, OSError):
            os.close(self._connection.pgconn.socket)


def _milliseconds(seconds: float) -> str:
    # 0 would mean for ever; the largest is a C int.
    return f"{max(1, min(int(seconds * 1000), 2_147_483_647))}ms"
