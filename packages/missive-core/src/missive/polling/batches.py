"""Batches: messages of one handler that wait to be handled together."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from time import monotonic
from typing import Any, Generic

from ..handling import HandlingContext
from ..matching import Handler
from ..message import M
from .lanes import Job


class Batches(Generic[M]):
    """The batches of one run that are not full yet, by handler and, where there is one, by key."""

    def __init__(self) -> None:
        self._open: dict[tuple[Handler[M], Hashable], tuple[float, Job[M]]] = {}

    def __len__(self) -> int:
        return sum(len(job) for _, job in self._open.values())

    def add(self, context: HandlingContext[M], key: Hashable) -> Job[M] | None:
        """Add a message to its batch; return the batch where it is full.

        :param key: what tells its batch from others of the same handler.
        """
        handler = context.handler
        assert handler is not None
        assert handler.batch is not None
        job = self.open(handler, key)
        job.append(context)
        return self.close(handler, key) if len(job) >= handler.batch.size else None

    def open(self, handler: Handler[M], key: Hashable) -> Job[M]:
        """Return the open batch of a handler and a key; its wait begins where it is new."""
        known = self._open.get((handler, key))
        if known is None:
            assert handler.batch is not None
            known = self._open[handler, key] = (monotonic() + handler.batch.wait, [])
        return known[1]

    def close(self, handler: Handler[M], key: Hashable) -> Job[M]:
        """Remove a batch, to be handled, and return it."""
        return self._open.pop((handler, key))[1]

    def due(self) -> list[Job[M]]:
        """Return the batches whose first message has waited long enough."""
        if not self._open:
            return []
        now = monotonic()
        places = [place for place, (due, _) in self._open.items() if due <= now]
        return [self._open.pop(place)[1] for place in places]

    def seconds_to_next(self) -> float | None:
        """Return in how many seconds a batch is due; None where none is open."""
        if not self._open:
            return None
        return max(min(due for due, _ in self._open.values()) - monotonic(), 0.0)

    def take(self, key: Hashable) -> list[Job[M]]:
        """Return the open batches of a key, which are handled as they are."""
        places = [place for place in self._open if place[1] == key]
        return [self._open.pop(place)[1] for place in places]

    def take_oldest(self) -> Job[M]:
        """Return the batch that was opened first, as it is."""
        return self._open.pop(next(iter(self._open)))[1]

    def take_all(self) -> list[Job[M]]:
        """Return all batches as they are."""
        jobs = [job for _, job in self._open.values()]
        self._open.clear()
        return jobs

    def contexts(self) -> list[HandlingContext[M]]:
        """Return everything that waits in a batch; what has no number gets that of the first."""
        contexts: list[HandlingContext[M]] = []
        for _, job in self._open.values():
            for context in job:
                if context._number is None:
                    context._number = job[0]._number
            contexts += job
        return contexts

    def drop(self, gone: Callable[[Any], bool]) -> list[HandlingContext[M]]:
        """Remove and return what waits and is ``gone``, as judged by its delivery."""
        dropped: list[HandlingContext[M]] = []
        self.contexts()  # numbers them, since the first of a batch may be dropped
        for place, (due, job) in list(self._open.items()):
            dropped += [context for context in job if gone(context.delivery)]
            kept = [context for context in job if not gone(context.delivery)]
            if kept:
                self._open[place] = (due, kept)
            else:
                del self._open[place]
        return dropped
