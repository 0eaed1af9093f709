"""Connections: of the store's own, or lent by a user's pool; none is carried across a fork."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Protocol
from weakref import WeakSet

import psycopg
from missive import DeadLetterStoreError

from .outages import spoils
from .session import Session

#: How many connections are kept open while nobody uses them.
KEPT = 4


class Pool(Protocol):
    """What a user's pool must have; ``psycopg_pool.ConnectionPool`` has it."""

    def getconn(self, timeout: float | None = None) -> psycopg.Connection[Any]:
        """Lend a connection."""
        ...

    def putconn(self, conn: psycopg.Connection[Any]) -> None:
        """Take a connection back, whatever its state."""


class Connections:
    """Lends each thread that asks a session of its own.

    :param conninfo: opens the store's own connections.
    :param pool: lends them instead.
    :param place: the name of the store.
    """

    def __init__(self, conninfo: str, pool: Pool | None, place: str) -> None:
        self._conninfo = conninfo
        self._pool = pool
        self._place = place
        #: Set when the store is closed: nobody waits for a server any longer.
        self.closed = threading.Event()
        self._start()
        _known.add(self)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Session] = []
        self._open: set[Session] = set()

    @contextmanager
    def lend(self, timeout: float) -> Generator[Session]:
        """Lend a session, which waits for locks so long.

        :raises DeadLetterStoreError: the store is closed.
        :raises psycopg.Error: no connection can be had.
        """
        if self.closed.is_set():
            raise DeadLetterStoreError(f"{self._place} was closed; open a new store")
        if self._pool is not None:
            with self._lent_by(self._pool, timeout) as session:
                yield session
            return
        session = self._take()
        try:
            session.wait_for_locks(timeout)
            yield session
        except psycopg.Error as error:
            if spoils(error):
                session.close()
            raise
        finally:
            self._give_back(session)

    def _take(self) -> Session:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        connection = psycopg.connect(self._conninfo, autocommit=True)
        session = Session(connection)
        with self._lock:
            self._open.add(session)
        return session

    def _give_back(self, session: Session) -> None:
        with self._lock:
            keep = session.is_idle and len(self._idle) < KEPT and not self.closed.is_set()
            if keep:
                self._idle.append(session)
            else:
                self._open.discard(session)
        if not keep:
            session.close()

    @contextmanager
    def _lent_by(self, pool: Pool, timeout: float) -> Generator[Session]:
        connection = pool.getconn(timeout)
        session = Session(connection)
        try:
            with session.borrowed(timeout):
                yield session
        except psycopg.Error as error:
            if spoils(error):
                session.close()
            raise
        finally:
            pool.putconn(connection)

    def drop_idle(self) -> None:
        """Close the connections that nobody uses: they lead to a server that does not serve."""
        with self._lock:
            dropped, self._idle = self._idle, []
            self._open.difference_update(dropped)
        for session in dropped:
            session.close()

    def close(self) -> None:
        """Close all connections of the store's own, each once it is no longer in use."""
        self.closed.set()
        self.drop_idle()

    def forget(self) -> None:
        """Begin anew in a forked child, and leave the parent's sessions to the parent."""
        for session in self._open:
            session.abandon()
            _abandoned.append(session)
        self._start()


_known: WeakSet[Connections] = WeakSet()
#: Sessions of a parent process, kept so that nothing closes them.
_abandoned: list[Session] = []


def _after_fork() -> None:
    for connections in list(_known):
        connections.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
