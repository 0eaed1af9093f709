"""The proof: has mutants judged, several at a time, each by the checks that must catch it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any

from missive.conformance import Result, judge
from missive.conformance.contract import checks_in

from .mutation import Mutant, Mutants

#: A mutant's checks mostly wait, for what it does not do: so there may be more than processors.
PROCESSES = 12
KINDS = ("adapters", "dlqs")
#: What must be done: (kind, name of the mutant, ids of the checks).
Job = tuple[str, str, list[str]]


def mutants_of(kind: str) -> Mutants:
    """Return the mutants of a kind."""
    mutants: Mutants = import_module(f"missive_mutants.{kind}").MUTANTS
    return mutants


def check_ids(mutants: Mapping[str, Mutant], *, stress: bool = True) -> list[str]:
    """Return the ids of all checks of the suite that judges these mutants.

    :param stress: those too that take long by design.
    """
    first = next(iter(mutants.values()))
    return [point.id for _, point in checks_in(first.suite) if stress or point.profile != "stress"]


def shortest_proof(mutants: Mapping[str, Mutant]) -> dict[str, list[str]]:
    """Choose checks for each mutant: one at least, and so many that every check has a mutant.

    Checks that take long by design are left to the soak test.
    """
    quick = set(check_ids(mutants, stress=False))
    declared = {
        name: [check for check in mutant.caught_by if check in quick]
        for name, mutant in mutants.items()
    }
    chosen = {name: ids[:1] for name, ids in declared.items()}
    proved = {check for ids in chosen.values() for check in ids}
    for name, ids in declared.items():
        for check_id in ids:
            if check_id not in proved:
                chosen[name].append(check_id)
                proved.add(check_id)
    return chosen


class Proof:
    """Mutants being judged in several processes.

    :param jobs: what to do.
    :param folder: where the processes leave what they find.
    """

    def __init__(self, jobs: Iterable[Job], folder: Path) -> None:
        self._folder = folder
        self._found: dict[tuple[str, str], tuple[str, str]] = {}
        self._workers: list[subprocess.Popen[bytes]] = []
        shares: list[list[Job]] = [[] for _ in range(PROCESSES)]
        for number, job in enumerate(jobs):
            shares[number % PROCESSES].append(job)
        program = "from missive_mutants.proof import work; work()"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        for number, share in enumerate(shares):
            with (folder / f"noise-{number}.txt").open("wb") as noise:
                worker = subprocess.Popen(
                    [sys.executable, "-c", program, json.dumps(share), str(self._output(number))],
                    env=environment,
                    stdout=noise,
                    stderr=noise,
                )
            self._workers.append(worker)

    def _output(self, number: int) -> Path:
        return self._folder / f"found-{number}.jsonl"

    def outcomes(self, name: str, ids: Iterable[str], patience: float) -> dict[str, str]:
        """Wait until a mutant was judged, and give the outcome of each check.

        :raises RuntimeError: a process failed, or it took longer than ``patience``.
        """
        ids = list(ids)
        deadline = monotonic() + patience
        pause = threading.Event()
        while missing := [check for check in ids if (name, check) not in self._found]:
            failed = [number for number, one in enumerate(self._workers) if one.poll()]
            self._read()
            if failed:
                noise = (self._folder / f"noise-{failed[0]}.txt").read_text()
                raise RuntimeError(f"a process failed: {noise[-2000:]}")
            if monotonic() > deadline:
                raise RuntimeError(f"{name} was not judged by {missing} in {patience:g} s")
            pause.wait(0.02)
        return {check: self._found[name, check][0] for check in ids}

    def _read(self) -> None:
        for number in range(len(self._workers)):
            output = self._output(number)
            if output.exists():
                for line in output.read_bytes().split(b"\n")[:-1]:
                    row: dict[str, Any] = json.loads(line)
                    self._found[row["mutant"], row["check"]] = (row["outcome"], row["detail"])

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.kill()
            worker.wait()


def judged(mutant: Mutant, ids: list[str]) -> Iterator[Result]:
    """Judge a mutant; one that a check need not catch is caught where it fails three times.

    On a busy machine a check may fail once by its deadline.
    """
    for last in (False, False, True):
        again: list[str] = []
        for result in judge(mutant.suite, ids=ids):
            by_chance = result.outcome == "failed" and result.check.id not in mutant.caught_by
            if by_chance and not last:
                again.append(result.check.id)
            else:
                yield result
        if not again:
            return
        ids = again


def work() -> None:
    """Judge a share of the mutants; the program of each process."""
    share: list[Job] = json.loads(sys.argv[1])
    with Path(sys.argv[2]).open("w", encoding="utf-8") as output:
        for kind, name, ids in share:
            for result in judged(mutants_of(kind)[name], ids):
                row = {
                    "mutant": name,
                    "check": result.check.id,
                    "outcome": result.outcome,
                    "detail": result.detail,
                }
                output.write(json.dumps(row) + "\n")
                output.flush()
    # Mutants leave threads behind that never end.
    sys.stdout.flush()
    os._exit(0)
