"""The stopwatch: how long something took, by the wall clock and by the processor's."""

from __future__ import annotations

from time import perf_counter, process_time


class Stopwatch:
    """Runs from the moment it is made; for variants whose preparations do not count."""

    def __init__(self) -> None:
        self._wall = perf_counter()
        self._cpu = process_time()

    def stop(self) -> dict[str, float]:
        """Return what passed, in seconds: ``seconds`` on the wall, ``cpu`` in this process."""
        return {"seconds": perf_counter() - self._wall, "cpu": process_time() - self._cpu}
