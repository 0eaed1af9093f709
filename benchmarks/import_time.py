"""Import: what ``import missive`` adds to the start of an interpreter, in time and memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter

from instrument import Suite

#: How many interpreters are started for one figure.
STARTS = 9

#: Ends with the most memory that the interpreter ever had on standard output, in kilobytes.
PROGRAM = """{}
for line in open("/proc/self/status"):
    if line.startswith("VmHWM:"):
        print(line.split()[1])
"""

suite = Suite("import", "Import", unit="ms", scale=1e3)


def starts(statement: str) -> Callable[[int], dict[str, float]]:
    """Measure interpreters that run a statement and end."""

    def run(items: int) -> dict[str, float]:
        seconds: list[float] = []
        memory: list[float] = []
        command = [sys.executable, "-c", PROGRAM.format(statement)]
        # The first writes the .pyc files that are missing.
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for _ in range(items):
            started = perf_counter()
            done = subprocess.run(command, check=True, capture_output=True)
            seconds.append(perf_counter() - started)
            memory.append(int(done.stdout) * 1024 / 1e6)
        return {"seconds": min(seconds) * items, "megabytes": median(memory)}

    return run


NO_BROKER = "and imports the package, without what a broker takes"

# name, environment, kind, what is run, semantics
for name, environment, kind, statement, semantics in (
    ("bare interpreter", "missive", "limit", "pass", "starts and ends"),
    ("import missive", "missive", "missive", "import missive", "and imports the core"),
    (
        "import the stdin adapter",
        "missive",
        "missive",
        "import missive.adapters.stdin",
        "and imports the core and an adapter, as a program does",
    ),
    ("import 0.8.1", "former", "former", "import missive", "and imports the release before"),
    ("import kombu", "kombu", "peer", "from kombu import Connection", "and imports its connection"),
    ("import dramatiq", "dramatiq", "peer", "import dramatiq", NO_BROKER),
    ("import celery", "celery", "peer", "from celery import Celery", "and imports its application"),
    ("import taskiq", "taskiq", "peer", "import taskiq", NO_BROKER),
    ("import faststream", "faststream", "peer", "import faststream", NO_BROKER),
):
    suite.variant(name, environment=environment, kind=kind, semantics=semantics)(
        partial(starts, statement)
    )

suite.case("start", tuple(suite.variants), items=STARTS, quick_items=5)

suite.target(
    "import missive, over a bare interpreter",
    ("start", "import missive"),
    ("start", "bare interpreter"),
    at_most=25,
    difference=True,
    unit="ms",
    scale=1e3,
)
suite.target(
    "import missive, over a bare interpreter",
    ("start", "import missive", "megabytes"),
    ("start", "bare interpreter", "megabytes"),
    at_most=4,
    difference=True,
    unit="MB",
)
