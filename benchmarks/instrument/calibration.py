"""Calibration: how fast this machine runs Python just now."""

from __future__ import annotations

from .stopwatch import Stopwatch

#: How long a calibration takes on an idle machine of today is about a hundredth of a second.
ROUNDS = 100_000
#: A process whose calibration is slower than the run's quickest by more than this was disturbed.
NOISY = 1.25


def calibrate() -> dict[str, float]:
    """Run a fixed piece of Python: calls, attributes, dictionaries, small objects.

    :returns: what it took, as a stopwatch gives it.
    """
    watch = Stopwatch()
    table = {number: number for number in range(64)}
    total = 0
    for number in range(ROUNDS):
        total += table[number & 63]
        pair = (number, total)
        if pair[0] < 0:
            total = len(pair)
    return watch.stop()
