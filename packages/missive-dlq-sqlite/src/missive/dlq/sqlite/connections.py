"""Connections: one for each thread, and none across a fork."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from weakref import WeakSet

from missive import DeadLetterStoreError


class Connection:
    """An open connection, and the lock that whoever uses or closes it holds."""

    __slots__ = ("lock", "sqlite")

    def __init__(self, sqlite: sqlite3.Connection) -> None:
        self.lock = threading.RLock()
        #: None once it is closed.
        self.sqlite: sqlite3.Connection | None = sqlite

    def close(self) -> None:
        """Close it, when whoever uses it is through."""
        with self.lock:
            if self.sqlite is not None:
                self.sqlite.close()
                self.sqlite = None


class Connections:
    """Gives each thread its own connection to one database.

    SQLite's connections must not be carried across a fork, not even to close them: the locks stay
    with the parent, and the child would believe that it holds them. So all are closed before
    ``os.fork``, and each process opens new ones.

    :param place: the name of the database.
    :param connect: opens a connection.
    :param shared: all threads use one connection, one at a time: for a database in memory.
    """

    def __init__(
        self, place: str, connect: Callable[[], sqlite3.Connection], *, shared: bool
    ) -> None:
        self.place = place
        #: Held by the one thread that writes; before a connection's own lock. Threads that wait for
        #: each other here are served at once, while SQLite would have them sleep and try again.
        self.writing = threading.Lock()
        self._connect = connect
        self._shared = shared
        self._by_thread: dict[int, Connection] = {}
        self._lock = threading.Lock()  # guards the dictionary
        self._pid = os.getpid()
        self._closed = False
        _all.add(self)

    def acquire(self) -> Connection:
        """Give the calling thread's connection with its lock held; the caller releases that.

        :raises DeadLetterStoreError: all was closed.
        """
        thread = 0 if self._shared else threading.get_ident()
        while True:
            held = self._by_thread.get(thread) or self._open(thread)
            held.lock.acquire()
            if held.sqlite is not None and self._pid == os.getpid():
                return held
            held.lock.release()
            self._refuse_unannounced_fork()

    def _open(self, thread: int) -> Connection:
        with self._lock:
            if self._closed:
                raise DeadLetterStoreError(f"{self.place} was closed; open a new store to go on")
            self._refuse_unannounced_fork()
            self._close_those_of_dead_threads()
            held = self._by_thread[thread] = Connection(self._connect())
            return held

    def _refuse_unannounced_fork(self) -> None:
        if self._pid != os.getpid():
            raise DeadLetterStoreError(
                f"{self.place} was opened by process {self._pid}, from which this one was forked"
                " by other means than os.fork; open the store after the fork"
            )

    def _close_those_of_dead_threads(self) -> None:
        if self._shared:
            return
        threading.current_thread()  # a thread not made by Python is listed from here on
        alive = {thread.ident for thread in threading.enumerate()}
        for ident in [ident for ident in self._by_thread if ident not in alive]:
            self._by_thread.pop(ident).close()

    def close(self) -> None:
        """Close all connections, each when its user is through; any number of times."""
        with self._lock:
            self._closed = True
            while self._by_thread:
                self._by_thread.popitem()[1].close()

    def before_fork(self) -> None:
        """Wait until nobody uses a connection, close all, and let nobody open one."""
        self.writing.acquire()
        self._lock.acquire()
        if self._shared:
            # A database in memory is copied with the process; nobody may be in the middle of it.
            for held in self._by_thread.values():
                held.lock.acquire()
            return
        while self._by_thread:
            self._by_thread.popitem()[1].close()

    def after_fork(self) -> None:
        """Go on, in the parent and in the child."""
        self._pid = os.getpid()
        if self._shared:
            for held in self._by_thread.values():
                held.lock.release()
        self._lock.release()
        self.writing.release()


_all: WeakSet[Connections] = WeakSet()
_forking = threading.Lock()
_stopped: list[Connections] = []


def _before_fork() -> None:
    _forking.acquire()
    _stopped.extend(_all)
    for connections in _stopped:
        connections.before_fork()


def _after_fork() -> None:
    while _stopped:
        _stopped.pop().after_fork()
    _forking.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
