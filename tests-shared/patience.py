"""Waiting in tests for what sets no event."""

from __future__ import annotations

import time
from collections.abc import Callable

#: For how many seconds tests wait for what should come at once: the machine may be busy.
DEADLINE = 100.0


def eventually(holds: Callable[[], object], complaint: str, seconds: float = DEADLINE) -> None:
    """Wait until something holds that no event tells of.

    :raises AssertionError: it did not within the deadline.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.01)
