"""Refused messages: sent to the store by an open breaker, their handlers not called."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, Generic

from ..breaker import Breakers
from ..handling import HandlingContext
from ..letters.letter import utc_now
from ..message import M
from .lanes import Job

#: How many of them are written to the store together, at most.
REFUSED_AT_ONCE = 1000
#: How many bytes their bodies have together, about, until they are written.
REFUSED_BYTES = 4_000_000
#: How long the first of them waits for others at least, in seconds. A commit takes as long as
#: handling many messages does, and other handlers have nothing to do meanwhile.
REFUSED_WAIT = 0.05
#: The same at most, where writing is slow.
REFUSED_WAIT_LONGEST = 1.0
#: The share of the receiving thread's time that writing them may take. A busy disk needs 20 ms for
#: a commit, which is a third of the time at one every 50 ms (benchmarks/deferred.py).
REFUSED_SHARE = 0.04


def is_refused(job: Job[Any]) -> bool:
    """Return whether an open breaker sent a job to the store, and its handler was not called."""
    if not job[0].paused:  # as nearly always
        return False
    return all(c.paused and c.error is None and c.letter is not None for c in job)


class Refused(Generic[M]):
    """Those that were not written yet.

    :param breakers: those of the run.
    :param waits: whether they wait for others; not so where others wait for them in a lane.
    """

    def __init__(self, breakers: Breakers, *, waits: bool) -> None:
        self._breakers = breakers
        self._waits = waits
        self._wait = REFUSED_WAIT if waits else 0.0
        self._due_at = 0.0
        self._bytes = 0
        self.contexts: list[HandlingContext[M]] = []

    def add(self, job: Job[M]) -> None:
        """Take messages that were refused."""
        if not self.contexts:
            self._due_at, self._bytes = monotonic() + self._wait, 0
        self.contexts += job
        self._bytes += sum(len(context.message.raw_data) for context in job)

    def stop_waiting(self) -> None:
        """Let none wait for others from now on."""
        self._waits, self._wait = False, 0.0
        self.hurry()

    def hurry(self) -> None:
        """Let those that wait wait no longer: nothing else is to be done."""
        self._due_at = 0.0

    def note_written(self, seconds: float) -> None:
        """Note how long it took to write some: the next wait so long that it is a small share.

        :param seconds: how long the receiving thread did nothing else.
        """
        if self._waits:
            self._wait = min(max(REFUSED_WAIT, seconds / REFUSED_SHARE), REFUSED_WAIT_LONGEST)

    def seconds_to_due(self) -> float | None:
        """Return in how many seconds they are to be written; None where there are none."""
        if not self.contexts:
            return None
        is_full = len(self.contexts) >= REFUSED_AT_ONCE or self._bytes >= REFUSED_BYTES
        return 0.0 if is_full else max(self._due_at - monotonic(), 0.0)

    def take(self) -> list[HandlingContext[M]]:
        """Return what is to be written now; at once due, where the breaker has closed since."""
        if self.seconds_to_due() != 0.0:
            return []
        taken, self.contexts = self.contexts, []
        for context in taken:
            breaker = self._breakers.of_handler(context.handler)
            if context.letter is not None and breaker is not None and not breaker.is_open:
                context.delay, context.letter = 0.0, context.letter._replace(due=utc_now())
        return taken

    def drop(self, gone: Callable[[Any], bool]) -> list[HandlingContext[M]]:
        """Remove and return what is ``gone``, as judged by its delivery."""
        dropped = [context for context in self.contexts if gone(context.delivery)]
        self.contexts = [context for context in self.contexts if not gone(context.delivery)]
        return dropped
