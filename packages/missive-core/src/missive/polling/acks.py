"""Ack tracking: for transports that commit positions, how far all is settled."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable


class _Source:
    """The positions of one source that were begun and are above the committable one."""

    __slots__ = ("begun", "done", "settled_up_to")

    def __init__(self) -> None:
        self.begun: deque[int] = deque()  # in the order of delivery, which is rising
        self.done: set[int] = set()
        self.settled_up_to: int | None = None


class AckTracker:
    """Tracks, for each source, the highest position below which everything is settled.

    Positions of a source rise, with gaps where the source has some (a compacted topic). Not safe to
    use from several threads: the receiving thread settles.
    """

    def __init__(self) -> None:
        self._sources: dict[Hashable, _Source] = {}

    def begin(self, source: Hashable, position: int) -> None:
        """Note that a message was received.

        :raises ValueError: the position is not above the last one of its source.
        """
        known = self._sources.get(source)
        if known is None:
            known = self._sources[source] = _Source()
        if known.begun and position <= known.begun[-1]:
            raise ValueError(
                f"position {position} of {source!r} is not above {known.begun[-1]}, the last one"
            )
        known.begun.append(position)

    def done(self, source: Hashable, position: int) -> int | None:
        """Note that a message is settled.

        :returns: the highest position up to which all is settled now, where that has risen.
        """
        known = self._sources.get(source)
        if known is None:  # the source was dropped meanwhile
            return None
        begun, done = known.begun, known.done
        if not begun:
            return None
        if begun[0] != position:
            done.add(position)
            return None
        # As most are settled, in order: without the set (benchmarks/kafka.py).
        risen = begun.popleft()
        while done and begun and begun[0] in done:
            risen = begun.popleft()
            done.remove(risen)
        known.settled_up_to = risen
        return risen

    def committable(self, source: Hashable) -> int | None:
        """Return the highest position up to which all is settled; None while there is none."""
        known = self._sources.get(source)
        return None if known is None else known.settled_up_to

    def gap(self, source: Hashable) -> int:
        """Return how many messages of a source are begun and not committable."""
        known = self._sources.get(source)
        return 0 if known is None else len(known.begun)

    def pending(self, source: Hashable) -> list[int]:
        """Return the positions that are begun and not settled, in order."""
        known = self._sources.get(source)
        return [] if known is None else [p for p in known.begun if p not in known.done]

    def drop(self, source: Hashable) -> None:
        """Forget a source: its assignment is gone."""
        self._sources.pop(source, None)

    def sources(self) -> list[Hashable]:
        """Return the sources that are tracked."""
        return list(self._sources)
