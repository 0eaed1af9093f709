"""Results: all that a run measured, with the versions and the machine, as one JSON file."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import sysconfig
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .environments import ROOT, versions
from .rounds import Measurement, Plan

#: Rises when the file's shape changes, so that an old one is not misread.
FORMAT = 1


def describe_machine() -> dict[str, Any]:
    """Say what was measured on."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "optimised build": "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS")),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load before": os.getloadavg()[0],
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # only Linux has that file
        pass
    return platform.processor() or platform.machine()


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def collect(
    plan: Plan, environments: list[str], machine: dict[str, Any], measured: list[Measurement]
) -> dict[str, Any]:
    """Put together what is written to the file."""
    run = {
        "taken": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": _commit(),
    }
    return {
        "format": FORMAT,
        **run,
        "suites": dict.fromkeys(dict.fromkeys(entry.suite for entry in measured), run),
        "rounds": plan.rounds,
        "quick": plan.quick,
        "machine": machine,
        "environments": {name: versions(name) for name in environments},
        "measurements": [asdict(measurement) for measurement in measured],
    }


def merge(former: dict[str, Any], latest: dict[str, Any]) -> dict[str, Any]:
    """Put a run's results in the place of those of the same suites in a former run."""
    kept = [entry for entry in former["measurements"] if entry["suite"] not in latest["suites"]]
    return {
        **latest,
        "suites": former["suites"] | latest["suites"],
        "environments": former["environments"] | latest["environments"],
        "measurements": kept + latest["measurements"],
    }


def when(taken: dict[str, Any]) -> str:
    """Say when which suites were measured, and in which state of the tree."""
    runs: dict[str, list[str]] = {}
    for name, run in taken["suites"].items():
        runs.setdefault(f"on {run['taken'][:10]} at {run['commit']}", []).append(name)
    if len(runs) == 1:
        return next(iter(runs))
    return "; ".join(f"{', '.join(names)} {run}" for run, names in runs.items())


def write(path: Path, results: dict[str, Any]) -> None:
    """Write a results file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A line for each measurement: a run of an hour is read and compared as easily as one of a minute.
    lines = ",\n".join(json.dumps(entry) for entry in results["measurements"])
    rest = json.dumps({**results, "measurements": []}, indent=1)
    text = rest.replace('"measurements": []', f'"measurements": [\n{lines}\n]')
    path.write_text(text + "\n", encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    """Read a results file.

    Ends the program with one line where it cannot.
    """
    try:
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"bench: cannot read {path}: {error}")
    if results.get("format") != FORMAT:
        sys.exit(f"bench: {path} has format {results.get('format')}, and this reads {FORMAT}")
    return results
