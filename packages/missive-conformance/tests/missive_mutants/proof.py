"""The proof: has mutants judged, several at a time, each by the checks that must catch it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from missive.conformance import judge
from missive.conformance.contract import checks_in

from .mutation import Mutant, Mutants

#: A mutant's checks mostly wait, for what it does not do: so there may be more than processors.
PROCESSES = 12
KINDS = ("adapters", "dlqs")
#: What must be done: (kind, name of the mutant, ids of the checks).
Job = tuple[str, str, list[str]]


def mutants_of(kind: str) -> Mutants:
    """Give the mutants of a kind."""
    mutants: Mutants = import_module(f"missive_mutants.{kind}").MUTANTS
    return mutants


def check_ids(mutants: Mapping[str, Mutant]) -> list[str]:
    """Give the ids of all checks of the suite that judges these mutants."""
    first = next(iter(mutants.values()))
    return [point.id for _, point in checks_in(first.suite)]


def shortest_proof(mutants: Mapping[str, Mutant]) -> dict[str, list[str]]:
    """Choose checks for each mutant: one at least, and so many that every check has a mutant."""
    chosen = {name: [mutant.caught_by[0]] for name, mutant in mutants.items()}
    proved = {ids[0] for ids in chosen.values()}
    for name, mutant in mutants.items():
        for check_id in mutant.caught_by:
            if check_id not in proved:
                chosen[name].append(check_id)
                proved.add(check_id)
    return chosen


def prove(jobs: Iterable[Job], folder: Path) -> dict[tuple[str, str], tuple[str, str]]:
    """Judge mutants in several processes.

    :param folder: where the processes leave what they find.
    :returns: outcome and detail for each mutant and check.
    """
    shares: list[list[Job]] = [[] for _ in range(PROCESSES)]
    for number, job in enumerate(jobs):
        shares[number % PROCESSES].append(job)
    program = "from missive_mutants.proof import work; work()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    workers: list[tuple[subprocess.Popen[bytes], Path]] = []
    for number, share in enumerate(shares):
        output = folder / f"found-{number}.jsonl"
        with (folder / f"noise-{number}.txt").open("wb") as noise:
            worker = subprocess.Popen(
                [sys.executable, "-c", program, json.dumps(share), str(output)],
                env=environment,
                stdout=noise,
                stderr=noise,
            )
        workers.append((worker, output))
    failed = [output.stem for worker, output in workers if worker.wait() != 0]
    if failed:
        noises = [(folder / f"{stem.replace('found', 'noise')}.txt").read_text() for stem in failed]
        raise RuntimeError(f"{len(failed)} workers failed; the first: {noises[0][-2000:]}")
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for _, output in workers:
        for line in output.read_text(encoding="utf-8").splitlines():
            row: dict[str, Any] = json.loads(line)
            found[row["mutant"], row["check"]] = (row["outcome"], row["detail"])
    return found


def work() -> None:
    """Judge a share of the mutants; the program of each process."""
    share: list[Job] = json.loads(sys.argv[1])
    with Path(sys.argv[2]).open("w", encoding="utf-8") as output:
        for kind, name, ids in share:
            for result in judge(mutants_of(kind)[name].suite, ids=ids):
                row = {
                    "mutant": name,
                    "check": result.check.id,
                    "outcome": result.outcome,
                    "detail": result.detail,
                }
                output.write(json.dumps(row) + "\n")
    # Mutants leave threads behind that never end.
    sys.stdout.flush()
    os._exit(0)
