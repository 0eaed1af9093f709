"""Lanes: what has to wait behind another message, so that an order is kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Generic

from ..handling import HandlingContext
from ..message import M

#: Messages that are handled in one call: a batch, or most often one.
Job = list[HandlingContext[M]]


class Lanes(Generic[M]):
    """The lanes of one run: by ordering key, or else by source.

    A lane by key is taken by each message of that key while it is handled. A lane by source is
    taken only while one of its messages waits in place for a retry.

    :param ordering_key: returns the key of a message; None where order within a key is not asked
        for.
    """

    def __init__(self, ordering_key: Callable[[M], Hashable] | None) -> None:
        self._ordering_key = ordering_key
        self._taken: dict[Hashable, deque[HandlingContext[M]]] = {}
        self._holders: dict[Hashable, int] = {}
        #: How many messages wait in all lanes.
        self.waiting = 0

    def __bool__(self) -> bool:
        return bool(self._taken)

    @property
    def by_key(self) -> bool:
        """Whether messages are ordered by a key of theirs."""
        return self._ordering_key is not None

    def lane_of(self, context: HandlingContext[M]) -> Hashable:
        """Return the lane of a message; None where its key fails, which then is its error."""
        if self._ordering_key is None or _is_unreadable(context):
            return ("source", context.message.source)
        try:
            lane = ("key", self._ordering_key(context.message))
            hash(lane)
        except Exception as error:
            context.fail(error, "matching")
            return None
        return lane

    def enter(self, context: HandlingContext[M]) -> Hashable:
        """Take the lane of a message and return it; None where it has none."""
        lane = self.lane_of(context)
        if lane is not None:
            self.take(lane)
        return lane

    def take(self, lane: Hashable) -> None:
        """Have later messages of a lane wait until it was released as often as taken."""
        self._taken.setdefault(lane, deque())
        self._holders[lane] = self._holders.get(lane, 0) + 1

    def park(self, lane: Hashable, context: HandlingContext[M]) -> bool:
        """Have a message wait where its lane is taken; return whether it does."""
        waiting = self._taken.get(lane)
        if waiting is None:
            return False
        waiting.append(context)
        self.waiting += 1
        return True

    def put_back(self, lane: Hashable, waiting: deque[HandlingContext[M]]) -> None:
        """Have what was released wait again, in order, behind what has taken the lane since."""
        self._taken[lane] = waiting
        self.waiting += len(waiting)

    def release(self, lane: Hashable) -> deque[HandlingContext[M]]:
        """Let a lane go; return what waited in it, in order, if nothing else holds it."""
        holders = self._holders.pop(lane, 0) - 1
        if holders > 0:
            self._holders[lane] = holders
            return deque()
        waiting = self._taken.pop(lane, None) or deque()
        self.waiting -= len(waiting)
        return waiting

    def parked(self) -> list[HandlingContext[M]]:
        """Return everything that waits in a lane, lane by lane in order."""
        return [context for waiting in self._taken.values() for context in waiting]

    def drop(self, gone: Callable[[Any], bool]) -> list[HandlingContext[M]]:
        """Remove and return what waits and is ``gone``, as judged by its delivery."""
        dropped: list[HandlingContext[M]] = []
        for lane, waiting in self._taken.items():
            dropped += [context for context in waiting if gone(context.delivery)]
            self._taken[lane] = deque(c for c in waiting if not gone(c.delivery))
        self.waiting -= len(dropped)
        return dropped


def _is_unreadable(context: HandlingContext[Any]) -> bool:
    """Return whether there is no message to compute a key from."""
    undecodable = context.error is not None and context.stage == "decoding"
    return undecodable or context.delivery.rejection is not None
