"""Backoff: growing pauses while SQS asks for fewer calls."""

from __future__ import annotations

import random
from time import monotonic

FIRST, LONGEST = 0.2, 20.0


class Backoff:
    """Says how long to wait before the next call; only ever used under a lock, or in one thread."""

    def __init__(self) -> None:
        self._failures = 0
        self._until = 0.0

    @property
    def seconds(self) -> float:
        """How long to wait from now; 0.0: not at all."""
        return max(self._until - monotonic(), 0.0) if self._failures else 0.0

    def fail(self) -> bool:
        """Note that a call was refused for the moment; return whether it was the first in a row."""
        # Ten doublings are well past the longest.
        pause = min(FIRST * 2 ** min(self._failures, 10), LONGEST)
        self._failures += 1
        # Jitter keeps processes that are throttled together from returning in step.
        self._until = monotonic() + pause * random.uniform(0.5, 1.0)
        return self._failures == 1

    def succeed(self) -> None:
        """Note that a call succeeded."""
        self._failures = 0
