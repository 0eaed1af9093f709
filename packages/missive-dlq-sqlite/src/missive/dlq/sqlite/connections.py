"""Connections: one for each thread, and none across a fork."""

from __future__ import annotations

import atexit
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from weakref import ref

from missive import DeadLetterStoreError


class Connection:
    """An open connection, and the lock to hold while using or closing it."""

    __slots__ = ("lock", "sqlite")

    def __init__(self, sqlite: sqlite3.Connection) -> None:
        self.lock = threading.RLock()
        #: None once it is closed.
        self.sqlite: sqlite3.Connection | None = sqlite

    def close(self) -> None:
        """Close it once its user has finished."""
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
    :param connect: opens a connection; it is told whether no other is open.
    :param shared: all threads use one connection, one at a time: for a database in memory.
    """

    def __init__(
        self, place: str, connect: Callable[[bool], sqlite3.Connection], *, shared: bool
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
        _register(self)

    def acquire(self) -> Connection:
        """Return the calling thread's connection with its lock held; the caller releases that.

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
                raise DeadLetterStoreError(f"{self.place} was closed; open a new store")
            self._refuse_unannounced_fork()
            self._close_those_of_dead_threads()
            held = self._by_thread[thread] = Connection(self._connect(not self._by_thread))
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
        """Close all connections, each once its user has finished; any number of times."""
        with self._lock:
            self._closed = True
            while self._by_thread:
                self._by_thread.popitem()[1].close()

    def forget(self) -> None:
        """Close all connections of a store that was collected; as a finalizer may, without waiting.

        A finalizer runs wherever Python happens to collect: also where this very thread holds the
        locks that a fork needs. So it waits for none of them. If they are taken, the one who holds
        them closes what was forgotten.
        """
        _forgotten.append(self)
        _close_forgotten()

    def close_forgotten(self) -> None:
        """Close all connections without a lock: nobody can use them any more."""
        while self._by_thread and self._pid == os.getpid():
            sqlite = self._by_thread.popitem()[1].sqlite
            if sqlite is not None:
                sqlite.close()

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


#: Held over a fork, and by the one who registers or closes meanwhile. No finalizer waits for it.
_forking = threading.Lock()
_all: list[ref[Connections]] = []
_stopped: list[Connections] = []
#: Of stores that were collected; still to be closed.
_forgotten: deque[Connections] = deque()


def _register(connections: Connections) -> None:
    with _forking:
        _all[:] = [known for known in _all if known() is not None]
        _all.append(ref(connections))
    _close_forgotten()


def _close_forgotten() -> None:
    # The holder of the lock comes here after releasing it, so nothing appended meanwhile is missed.
    while _forgotten and _forking.acquire(blocking=False):
        try:
            while _forgotten:
                _forgotten.popleft().close_forgotten()
        finally:
            _forking.release()


def _before_fork() -> None:
    _forking.acquire()
    # Those that were forgotten are among them.
    _stopped.extend(found for known in _all if (found := known()) is not None)
    for connections in _stopped:
        connections.before_fork()


def _after_fork() -> None:
    while _stopped:
        _stopped.pop().after_fork()
    _forking.release()
    _close_forgotten()


def _close_all() -> None:
    for connections in [found for known in _all if (found := known()) is not None]:
        connections.close()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
