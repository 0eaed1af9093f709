"""The directive ``benchmarks``: tables and plots of a run of the benchmarks.

They lie in ``docs/performance``, where ``./dev bench --publish`` puts them: ``tables.txt``, which is
Markdown with a section for each suite, and plots as SVG whose names begin with that of their suite.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


class Benchmarks(SphinxDirective):
    """The tables and plots of each suite, and what they were measured on."""

    def run(self) -> list[nodes.Node]:
        """Make a section of each suite; a remark where there are no results."""
        folder = Path(self.env.srcdir, "performance")
        path = folder / "tables.txt"
        self.env.note_dependency(str(path))
        if not path.exists():
            return list(self.parse_text_to_nodes("No results are kept in this tree."))
        parts = HEADING.split(path.read_text(encoding="utf-8"))
        names = names_by_title()
        text = parts[0]
        for title, section in zip(parts[1::2], parts[2::2], strict=True):
            text += f"## {title}\n{section}\n"
            name = names.get(title)
            for plot in sorted(folder.glob(f"{name}*.svg")) if name else ():
                text += f"![{describe(plot, name)}](/performance/{plot.name})\n\n"
        return list(self.parse_text_to_nodes(text, allow_section_headings=True))


def names_by_title() -> dict[str, str]:
    """Return the names of the suites by the titles of their sections."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import run as benchmarks

        suites = [benchmarks.load(name) for name in benchmarks.MODULES]
    finally:
        sys.path.remove(str(BENCHMARKS))
    return {suite.title: suite.name for suite in suites}


def describe(plot: Path, name: str) -> str:
    """Say what a plot shows, for those who cannot see it: its name, as words."""
    curve = plot.stem.removeprefix(name).strip("-").replace("-", " ")
    return f"Plot: cost by {curve}" if curve else "Plot: the figures of the tables above"


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.add_directive("benchmarks", Benchmarks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
