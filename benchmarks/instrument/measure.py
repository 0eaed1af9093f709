"""Measure one variant in one case, in the environment of the variant: one process of a round."""

from __future__ import annotations

import gc
import importlib
import inspect
import json
import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .calibration import calibrate
from .stopwatch import Stopwatch

if TYPE_CHECKING:
    from .suite import Run, Suite

#: How many spells are run where the number of items is left to the clock; the best one counts.
SPELLS = 5


def main() -> None:
    """Measure what the command line asks for, as JSON, and print what came out, as JSON."""
    # Nothing that the measured library prints may get between: its output goes to standard error.
    answer = os.dup(1)
    os.dup2(2, 1)
    asked = json.loads(sys.argv[1])
    suite: Suite = importlib.import_module(asked["module"]).suite
    prepare = suite.variants[asked["variant"]].prepare
    before = calibrate()
    baseline = peak_megabytes()
    prepared: Any = prepare(**asked["parameters"])
    clean_up: Any = None
    if inspect.isgenerator(prepared):
        clean_up = prepared
        prepared = next(prepared)
    figures = measure(prepared, asked["items"], asked["seconds"], suite.clock)
    figures.setdefault("megabytes", peak_megabytes() - baseline)
    if clean_up is not None:
        next(clean_up, None)
    after = calibrate()
    for clock in before:
        figures[f"calibration {clock}"] = max(before[clock], after[clock])
    with os.fdopen(answer, "w") as stream:
        stream.write(json.dumps(figures))


def measure(run: Run, items: int | None, seconds: float, clock: str) -> dict[str, float]:
    """Run a variant and give its figures; those of the clocks are for one item.

    :param items: how many, or None for as many as take about ``seconds``.
    :param clock: by which a spell is sized, and the best one chosen.
    """
    if items is not None:
        return timed(run, items)

    def cost(figures: dict[str, float]) -> float:
        return figures.get(clock, figures["seconds"])

    items = 1
    while cost(spell := timed(run, items)) * items < seconds:
        took = cost(spell) * items
        grow = min(10.0, 1.2 * seconds / took) if took > 0 else 10.0
        items = max(items + 1, int(items * grow))
    spells = [spell] + [timed(run, items) for _ in range(SPELLS - 1)]
    return min(spells, key=cost)


def timed(run: Run, items: int) -> dict[str, float]:
    """Run so many items once."""
    gc.collect()
    watch = Stopwatch()
    result = run(items)
    figures: dict[str, Any] = watch.stop()
    if isinstance(result, dict):
        figures.update(result)
        if "cpu" not in result:
            del figures["cpu"]
    elif result is not None:
        figures = {"seconds": result}
    for clock in ("seconds", "cpu"):
        if clock in figures:
            figures[clock] /= items
    figures["items"] = items
    return figures


def peak_megabytes() -> float:
    """Return the most memory that this process ever had, in millions of bytes."""
    try:
        # ru_maxrss will not do on Linux: a new program inherits it from what started it.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:  # only Linux has that file
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


if __name__ == "__main__":
    main()
