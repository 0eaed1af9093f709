"""The directive ``soak-runs``: what the published soaks found, each in sentences and a plot.

They lie in ``docs/performance/soak``, where ``./dev soak --soak-report`` puts them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

#: What each kind of fault does, for one and for many.
FAULTS = {
    "kill": ("worker killed", "workers killed"),
    "stop": ("worker stopped by SIGTERM", "workers stopped by SIGTERM"),
    "freeze": ("worker frozen", "workers frozen"),
    "reset": ("reset of every connection", "resets of every connection"),
    "stall": ("stalled network", "stalled networks"),
    "restart": ("restart of the broker", "restarts of the broker"),
    "crash": ("broker killed", "brokers killed"),
}
RUN = """\
On {taken}, {machine}: the capacity was {capacity:,} messages a second. {rate:,} a second were published
for {minutes:g} minutes, {confirmed:,} in all, and meanwhile there were {faults}.
**Lost: {lost}; stuck: {stuck}; corrupted: {corrupted}.** {again} {memory}
"""
AGAIN = (
    "{redelivered:,} times a message was redelivered before it had been settled, and {doubled:,} times"
    " after its ack was lost in a fault."
)
MISSED = " {missed:,} were missed in faults, as at-most-once delivery allows."
MEMORY = (
    "The worker that lived longest took {early:.1f} MB and {files[0]} descriptors at most in the second"
    " quarter of its life, and {late:.1f} MB and {files[1]} in the last."
)


class SoakRuns(SphinxDirective):
    """A section for each transport that was soaked."""

    def run(self) -> list[nodes.Node]:
        """Read the reports; a remark where there are none."""
        folder = Path(self.env.srcdir, "performance", "soak")
        paths = sorted(folder.glob("*.json"))
        if not paths:
            return list(self.parse_text_to_nodes("No runs are kept in this tree."))
        for path in paths:
            self.env.note_dependency(str(path))
        text = "\n".join(section(path) for path in paths)
        return list(self.parse_text_to_nodes(text, allow_section_headings=True))


def section(path: Path) -> str:
    """Write what one run found, in Markdown."""
    found = json.loads(path.read_text(encoding="utf-8"))
    title = found["title"]
    alt = f"Plot: memory, open files and waiting messages while {title} was soaked"
    return f"## {title}\n\n{sentences(found)}\n\n![{alt}](/performance/soak/{path.stem}.svg)\n"


def sentences(found: dict[str, Any]) -> str:
    """Say what was run, and what was found."""
    account = found["account"]
    faults = [
        f"{number} {FAULTS[kind][number > 1]}" for kind, number in sorted(found["kinds"].items())
    ]
    early, late = (part / 1e6 for part in found["memory"])
    again = (AGAIN + MISSED if account["missed"] else AGAIN).format(**account)
    memory = MEMORY.format(early=early, late=late, files=found["descriptors"])
    given = {**found, "taken": found["taken"][:10], "faults": ", ".join(faults) or "no faults"}
    return RUN.format(**{**account, **given, "again": again, "memory": memory})


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.add_directive("soak-runs", SoakRuns)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
