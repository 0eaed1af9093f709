"""The report of a soak: its findings as JSON, and their curves as SVG."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections import Counter
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .books import SoakAccount
from .run import Findings
from .transports import Transport

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
#: How many samples of a process a report keeps.
KEPT = 400


def thinned(samples: list[Any]) -> list[Any]:
    """Return every so many samples, and the last."""
    step = max(1, len(samples) // KEPT)
    return [*samples[:-1:step], *samples[-1:]]


def write(
    folder: Path,
    name: str,
    transport: Transport,
    seconds: float,
    findings: Findings,
    account: SoakAccount,
) -> None:
    """Write what was found.

    :param folder: where to; made if it is missing.
    :param name: of the files.
    :param seconds: for how long it was run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    report = {
        "title": transport.title,
        "taken": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, CPython {platform.python_version()}",
        "minutes": seconds / 60,
        "capacity": round(findings.capacity),
        "rate": round(findings.rate),
        "kinds": Counter(kind for kind, _, _ in findings.faults),
        "account": {**asdict(account), "lost": len(account.lost)},
        "memory": growth(findings, 1),
        "descriptors": growth(findings, 2),
        "faults": findings.faults,
        "depth": thinned(findings.depth),
        "workers": {number: thinned(life) for number, life in findings.workers.items()},
    }
    text = json.dumps(report, separators=(",", ":")).replace(',"', ',\n"')
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    draw(folder / f"{name}.svg", findings)


def growth(findings: Findings, column: int) -> list[int]:
    """Return the most that the longest-lived worker took early and late in its life.

    What it takes in its first quarter is left out: there it begins.

    :param column: of the samples: 1 for bytes, 2 for descriptors.
    """
    life = max(findings.workers.values(), key=len)
    quarter = max(1, len(life) // 4)
    early, late = life[quarter : 2 * quarter], life[-quarter:]
    return [max((sample[column] for sample in part), default=0) for part in (early, late)]


def draw(path: Path, findings: Findings) -> None:
    """Draw memory, descriptors and waiting messages over time, with a line for each fault."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from instrument.plots import COLOURS, INK, plain_numbers, pyplot
    finally:
        sys.path.remove(str(BENCHMARKS))
    longest = max(findings.workers, key=lambda number: len(findings.workers[number]))
    figure, panels = pyplot().subplots(
        3, 1, figsize=(8, 5.5), sharex=True, layout="constrained", gridspec_kw={"hspace": 0.05}
    )
    for number, life in findings.workers.items():
        chosen = number == longest
        style = {
            "color": COLOURS["missive" if chosen else "limit"],
            "linewidth": 1.6 if chosen else 1.0,
            "zorder": 3 if chosen else 2,
        }
        times = [at for at, _, _ in life]
        panels[0].plot(times, [memory / 1e6 for _, memory, _ in life], **style)
        panels[1].plot(times, [descriptors for _, _, descriptors in life], **style)
    times = [at for at, _ in findings.depth]
    panels[2].plot(times, [depth for _, depth in findings.depth], color=COLOURS["former"])
    titles = (
        "memory of each worker, MB (orange: the one that lived longest)",
        "its open files and sockets",
        "messages that the transport has",
    )
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
        plain_numbers(axes.yaxis)
        for _, begin, end in findings.faults:
            axes.axvspan(begin, max(end, begin + 0.2), color=COLOURS["peer"], alpha=0.35, zorder=1)
    panels[-1].set_xlabel("seconds; blue: a fault", color=INK)
    figure.savefig(path, metadata={"Date": None})
    pyplot().close(figure)
