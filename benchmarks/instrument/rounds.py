"""Rounds: every variant of a case in turn, A B C A B C, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from .environments import BENCHMARKS, environment_variables, python_of
from .suite import Case, Suite, Variant

#: How long one spell is to take where the number of items is left to the clock, in seconds.
SPELL, QUICK_SPELL = 0.1, 0.03
#: A measurement that takes longer hangs, in seconds.
HANGS = 600


@dataclass(frozen=True)
class Measurement:
    """What one process found out, or why it failed.

    :ivar figures: ``seconds`` an item, ``megabytes``, ``calibration``, and what the variant adds.
    :ivar failure: the end of what the process wrote to standard error, where it failed.
    """

    suite: str
    case: str
    variant: str
    round: int
    figures: dict[str, float]
    failure: str = ""


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    :ivar rounds: how many rounds.
    :ivar quick: whether to leave out what takes long, and measure the rest shortly.
    """

    rounds: int
    quick: bool = False

    def cases(self, suite: Suite) -> list[Case]:
        """Return the cases that are run."""
        return [case for case in suite.cases.values() if case.quick or not self.quick]


def measure_suite(module: str, suite: Suite, plan: Plan) -> Iterator[Measurement]:
    """Run a suite: all cases in each round, all variants of a case one after the other."""
    with suite.service() if suite.service else nullcontext({}) as served:
        for number in range(plan.rounds):
            for case in plan.cases(suite):
                if case.rounds is not None and number >= case.rounds:
                    continue
                # Each round begins with another variant: so none is always first, or behind another.
                first = number % len(case.variants)
                for name in case.variants[first:] + case.variants[:first]:
                    yield _measure(module, suite, case, suite.variants[name], number, plan, served)


def _measure(
    module: str,
    suite: Suite,
    case: Case,
    variant: Variant,
    number: int,
    plan: Plan,
    served: dict[str, Any],
) -> Measurement:
    items = case.quick_items or case.items if plan.quick else case.items
    asked = {
        "module": module,
        "variant": variant.name,
        "parameters": {**served, **case.parameters},
        "items": items,
        "seconds": QUICK_SPELL if plan.quick else SPELL,
    }
    command = [str(python_of(variant.environment)), "-m", "instrument.measure", json.dumps(asked)]
    where = (suite.name, case.name, variant.name, number)
    try:
        done = subprocess.run(
            command,
            cwd=BENCHMARKS,
            env=environment_variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=HANGS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Measurement(*where, {}, f"was not through in {HANGS} seconds")
    if done.returncode:
        return Measurement(*where, {}, done.stderr.strip()[-2000:] or f"status {done.returncode}")
    return Measurement(*where, json.loads(done.stdout))


def show_progress(measurement: Measurement, done: int) -> None:
    """Say on a terminal what was measured last."""
    if not sys.stderr.isatty():
        return
    width = os.get_terminal_size(sys.stderr.fileno()).columns
    line = f"{done}: {measurement.suite}, {measurement.case}, {measurement.variant}"
    print(f"\r\x1b[K{line[: width - 1]}", end="", file=sys.stderr, flush=True)
