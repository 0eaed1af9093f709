"""Acks: which delivery tags of a channel are settled, and how few frames say so."""

from __future__ import annotations

import heapq
from time import monotonic


class Acks:
    """The delivery tags of one channel, which rise by one with each delivery.

    One frame acks all tags up to the highest below which everything is settled; each tag beyond
    that takes a frame of its own.

    :ivar unsent: how many acks wait to be sent.
    """

    def __init__(self) -> None:
        self._last = 0  # the highest tag that was delivered
        self._open: dict[int, None] = {}  # those up to it that are not settled, rising
        self._acked: list[int] = []

    @property
    def unsent(self) -> int:
        """How many acks wait to be sent."""
        return len(self._acked)

    def begin(self, tag: int) -> None:
        """Note a delivery; one before it that was not noted is not settled."""
        for delivered in range(self._last + 1, tag + 1):
            self._open[delivered] = None
            self._last = delivered

    def ack(self, tag: int) -> int:
        """Note a delivery to ack; return how many acks wait."""
        self._acked.append(tag)
        return len(self._acked)

    def returned(self, tag: int) -> None:
        """Note that a delivery was returned to its queue."""
        self._open.pop(tag, None)

    def take(self) -> list[tuple[int, bool]]:
        """Return the frames that ack what waits: tags, and whether those below are meant too."""
        acked, self._acked = self._acked, []
        for tag in acked:
            self._open.pop(tag, None)
        if not self._open:
            return [(max(acked), len(acked) > 1)] if acked else []
        first = next(iter(self._open))
        below = [tag for tag in acked if tag < first]
        frames = [(max(below), len(below) > 1)] if below else []
        if len(below) < len(acked):
            frames += [(tag, False) for tag in acked if tag >= first]
        return frames


class Returns:
    """Nacked deliveries of one channel, which are held until they are returned to their queue."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def hold(self, tag: int, seconds: float) -> None:
        """Hold a delivery for so many seconds."""
        heapq.heappush(self._heap, (monotonic() + seconds, tag))

    def due(self) -> list[int]:
        """Return the tags that are due, each once."""
        now, tags = monotonic(), list[int]()
        while self._heap and self._heap[0][0] <= now:
            tags.append(heapq.heappop(self._heap)[1])
        return tags

    def seconds_to_next(self) -> float | None:
        """Return in how many seconds one is due; None where none is held."""
        return max(self._heap[0][0] - monotonic(), 0.0) if self._heap else None
