"""Timelines: ids by a time that each has, the earliest found at once."""

from __future__ import annotations

from datetime import datetime
from heapq import heapify, heappop, heappush


class Timeline:
    """Ids in the order of their times: a heap, whose outdated entries are dropped when met."""

    def __init__(self) -> None:
        self._times: dict[bytes, datetime] = {}
        self._heap: list[tuple[datetime, bytes]] = []

    def __len__(self) -> int:
        return len(self._times)

    def put(self, id: bytes, at: datetime) -> None:
        """Set the time of an id, replacing the one it has."""
        self._times[id] = at
        heappush(self._heap, (at, id))
        if len(self._heap) > 2 * len(self._times) + 64:
            self._heap = [(at, id) for id, at in self._times.items()]
            heapify(self._heap)

    def discard(self, id: bytes) -> None:
        """Forget an id, if it is there."""
        self._times.pop(id, None)

    def first(self) -> datetime | None:
        """Return the earliest time; None where there is no id."""
        while self._heap:
            at, id = self._heap[0]
            if self._times.get(id) == at:
                return at
            heappop(self._heap)
        return None

    def take(self, until: datetime, limit: int | None = None) -> list[bytes]:
        """Remove the ids whose time has come and return them, the earliest first."""
        taken: list[bytes] = []
        while limit is None or len(taken) < limit:
            first = self.first()
            if first is None or first > until:
                break
            _, id = heappop(self._heap)
            del self._times[id]
            taken.append(id)
        return taken

    def count_until(self, until: datetime) -> int:
        """Return how many ids have a time that has come."""
        return sum(at <= until for at in self._times.values())
