"""The directive ``postgresql-schema``: the script that makes a PostgreSQL store."""

from __future__ import annotations

from docutils import nodes
from missive.dlq.postgresql.schema import Names, creation
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Schema(SphinxDirective):
    """Show the SQL of a new store, as the store itself executes it."""

    def run(self) -> list[nodes.Node]:
        """Return the script as a block of code."""
        self.env.note_reread()  # what it is made from is code
        script = creation(Names(None, "missive_letters")).replace('"', "").strip()
        return list(self.parse_text_to_nodes(f"```postgresql\n{script}\n```"))


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.add_directive("postgresql-schema", Schema)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
