"""The database: its connections, its transactions, and its errors in Missive's words."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from missive import DeadLetterStoreError
from missive.errors import DeadLetterStoreBusy, DeadLetterStoreRefused

from .connections import Connections
from .errors import translated
from .origins import Origins
from .place import Place
from .rows import from_text
from .settings import Settings

if TYPE_CHECKING:
    from typing import Concatenate, ParamSpec

    P = ParamSpec("P")

T = TypeVar("T")


class Database:
    """One database, for any number of threads.

    :ivar origins: the origins of its letters, remembered.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.place = Place(settings)
        self.connections = Connections(settings.path, self.place.open, shared=settings.in_memory)
        self.origins = Origins()

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """Lend the thread's connection to read with."""
        held = self.connections.acquire()
        try:
            assert held.sqlite is not None
            yield held.sqlite
        except (sqlite3.Error, OverflowError) as error:
            raise self._translated(error) from error
        finally:
            held.lock.release()

    @contextmanager
    def claiming(self) -> Generator[sqlite3.Connection]:
        """Enter a transaction about a claim: one that a power cut may take, and that waits for no disk.

        Without its claim a letter is handled by the next process that asks, and with one that was
        given back it is once the claim expires: as after any crash. That saves half of a replay's
        syncs.
        """
        with self.writing("NORMAL" if self.settings.synchronous != "OFF" else "OFF") as connection:
            yield connection

    @contextmanager
    def writing(self, synchronous: str | None = None) -> Generator[sqlite3.Connection]:
        """Enter a transaction that may write; committed at the end, unless something is raised."""
        if self.settings.read_only:
            raise DeadLetterStoreRefused(
                self.settings.path,
                "it is open to be looked at only; to change it, run this as a user who may write to"
                " it, without read_only",
            )
        started = monotonic()
        lock = self.connections.writing
        if not lock.acquire(timeout=self.settings.busy_timeout):
            raise DeadLetterStoreBusy(self.settings.path, monotonic() - started)
        try:
            held = self.connections.acquire()
            try:
                assert held.sqlite is not None
                self.place.check(held.sqlite)
                with self._transaction(held.sqlite, synchronous) as connection:
                    yield connection
            finally:
                held.lock.release()
        except (sqlite3.Error, OverflowError) as error:
            raise self._translated(error) from error
        finally:
            lock.release()

    @contextmanager
    def _transaction(
        self, connection: sqlite3.Connection, synchronous: str | None
    ) -> Generator[sqlite3.Connection]:
        if synchronous is not None:
            connection.execute(f"PRAGMA synchronous = {synchronous}")
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
            self.origins.committed()
        except BaseException:
            self.origins.rolled_back()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        finally:
            if synchronous is not None:
                connection.execute(f"PRAGMA synchronous = {self.settings.synchronous}")

    def read(
        self,
        read: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Read within one connection; once more where there is text that is not UTF-8."""
        with self.reading() as connection:
            return read_any_text(connection, read, *args, **kwargs)

    def _translated(self, error: Exception) -> DeadLetterStoreError:
        return translated(error, self.settings.path, self.settings.busy_timeout)


def read_any_text(
    connection: sqlite3.Connection,
    read: Callable[Concatenate[sqlite3.Connection, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Read; once more where there is text that is not UTF-8, which another program wrote."""
    try:
        return read(connection, *args, **kwargs)
    except sqlite3.OperationalError as error:
        if "decode" not in str(error):
            raise
        connection.text_factory = from_text  # from here on this connection takes any text
        return read(connection, *args, **kwargs)
