"""Receivers: long polls, several of them under way at once to hide latency."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from .callers import Callers
from .discretion import THREADS, keep_bodies_out_of_logs
from .errors import BOTO_ERRORS

T = TypeVar("T")


class Receivers(Generic[T]):
    """Polls in threads of their own, and keeps what they bring until the receiving thread takes it.

    :param count: how many polls are under way at most.
    :param poll: makes one, and returns what it brought.
    :param wake: called when a poll has ended.
    :param too_late: called in a poll's thread with what it brought after ``close``.
    """

    def __init__(
        self,
        count: int,
        poll: Callable[[], Sequence[T]],
        wake: Callable[[], None],
        too_late: Callable[[Sequence[T]], Any],
    ) -> None:
        keep_bodies_out_of_logs()
        self._count = count
        self._poll = poll
        self._too_late = too_late
        self._callers = Callers(count, THREADS, wake)
        self._lock = threading.Lock()
        self._closed = False
        self._brought: deque[Sequence[T]] = deque()
        #: An error of a poll, with the generation that the poll began in.
        self._errors: deque[tuple[int, Exception]] = deque()
        self._generation = 0

    def top_up(self) -> None:
        """Have as many polls under way as there may be."""
        generation = self._generation
        while self._callers.under_way < self._count:
            self._callers.submit(lambda: self._run(generation))

    def take(self) -> list[T]:
        """Return what the polls brought since."""
        taken: list[T] = []
        while self._brought:
            taken += self._brought.popleft()
        return taken

    def take_error(self) -> Exception | None:
        """Return an error of a poll that began since ``renew``, if there was one."""
        while self._errors:
            generation, error = self._errors.popleft()
            if generation == self._generation:
                return error
        return None

    def renew(self) -> None:
        """Forget the errors of the polls so far: the connection is another now."""
        self._generation += 1

    def close(self, timeout: float) -> None:
        """Begin no more polls, and wait for those under way.

        :param timeout: at most so many seconds; what a poll brings later is ``too_late``.
        """
        self._callers.close()
        self._callers.wait(timeout)
        with self._lock:
            self._closed = True

    def _run(self, generation: int) -> None:
        try:
            brought = self._poll()
        except BOTO_ERRORS as error:
            self._errors.append((generation, error))
        except Exception as error:  # a fault of ours, which must not be lost with its thread
            self._errors.append((generation, error))
        else:
            with self._lock:
                closed = self._closed
                if brought and not closed:
                    self._brought.append(brought)
            if brought and closed:
                self._too_late(brought)
