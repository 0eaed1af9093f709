"""The directive ``benchmarks``: figures and plots of a run of the benchmarks.

They lie in ``docs/performance``: ``results.json``, as ``./dev bench`` writes it, and plots as SVG whose
names begin with that of their suite.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


class Benchmarks(SphinxDirective):
    """The tables and plots of each suite, and what they were measured on."""

    def run(self) -> list[nodes.Node]:
        """Make a section of each suite; a remark where there are no results."""
        folder = Path(self.env.srcdir, "performance")
        path = folder / "results.json"
        self.env.note_dependency(str(path))
        if not path.exists():
            return list(self.parse_text_to_nodes("No results are kept in this tree."))
        results = json.loads(path.read_text(encoding="utf-8"))
        text = describe(results)
        for name, report in reports(results):
            text += f"\n\n{report}\n\n"
            for plot in sorted(folder.glob(f"{name}*.svg")):
                self.env.note_dependency(str(plot))
                shown = f"```{{raw}} html\n:file: {plot}\n```"
                text += f'<div class="diagram-frame">\n\n{shown}\n\n</div>\n\n'
        return list(self.parse_text_to_nodes(text, allow_section_headings=True))


def describe(results: dict[str, Any]) -> str:
    """Say when and on what the results were taken."""
    machine = results["machine"]
    return (
        f"Taken {results['taken'][:10]} on {machine['system']}, {machine['processor']},"
        f" {machine['cores']} cores, {machine['implementation']} {machine['python']};"
        f" medians of {results['rounds']} rounds. A `~` marks a figure that was taken while the"
        " machine was disturbed."
    )


def reports(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Give the name and the report of each suite, as the benchmarks themselves write it."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import run as benchmarks
        from instrument.figures import Figures
        from instrument.report import suite_report
        from instrument.rounds import Plan

        measured = {measurement["suite"] for measurement in results["measurements"]}
        suites = [benchmarks.load(name) for name in benchmarks.MODULES]
    finally:
        sys.path.remove(str(BENCHMARKS))
    figures = Figures(results["measurements"])
    plan = Plan(results["rounds"], results["quick"])
    return [
        (suite.name, suite_report(suite, figures, plan))
        for suite in suites
        if suite.name in measured
    ]


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.add_directive("benchmarks", Benchmarks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
