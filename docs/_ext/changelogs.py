"""The directive ``changelogs``: those of all distributions, as they lie beside their sources."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Changelogs(SphinxDirective):
    """Include the changelog of every distribution, the core's first."""

    def run(self) -> list[nodes.Node]:
        """Make a section of each."""
        packages = Path(self.env.srcdir).parent / "packages"
        text = ""
        for path in sorted(
            packages.glob("*/CHANGELOG.md"),
            key=lambda path: (path.parent.name != "missive-core", path.parent.name),
        ):
            self.env.note_dependency(str(path))
            for line in path.read_text(encoding="utf-8").splitlines():
                # A changelog's own title names its distribution.
                line = line.replace("# Changelog of ", "# ") if line.startswith("# ") else line
                text += f"#{line}\n" if line.startswith("#") else f"{line}\n"
        return list(self.parse_text_to_nodes(text, allow_section_headings=True))


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.add_directive("changelogs", Changelogs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
