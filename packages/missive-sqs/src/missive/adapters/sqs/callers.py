"""Callers: daemon threads that call SQS, so that the receiving thread waits for nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Callers:
    """A few threads, started when they are needed, that make calls one after the other.

    They are daemons: a long poll that is under way keeps no process from ending.

    :param limit: how many threads there are at most.
    :param name: of the threads.
    :param wake: called when a call has ended and counts no longer as under way.
    """

    def __init__(self, limit: int, name: str, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._limit = limit
        self._name = name
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._started = 0
        self._under_way = 0
        self._changed = threading.Condition()

    @property
    def under_way(self) -> int:
        """How many calls were submitted and have not ended."""
        return self._under_way

    def submit(self, call: Callable[[], None]) -> None:
        """Have a thread make a call, which must raise nothing."""
        with self._changed:
            self._under_way += 1
            if self._started < min(self._limit, self._under_way):
                self._started += 1
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
        self._calls.put(call)

    def wait(self, timeout: float) -> bool:
        """Wait until no call is under way; return whether that is so.

        :param timeout: at most so many seconds.
        """
        with self._changed:
            return self._changed.wait_for(lambda: not self._under_way, timeout)

    def close(self) -> None:
        """Have the threads end after the calls that are under way."""
        with self._changed:
            started, self._started = self._started, 0
        for _ in range(started):
            self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call()
            finally:
                del call  # and what it holds, while this thread waits for the next
                with self._changed:
                    self._under_way -= 1
                    self._changed.notify_all()
                self._wake()
