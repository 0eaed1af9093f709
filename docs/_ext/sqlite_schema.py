"""The directive ``sqlite-schema``: what an SQLite store creates, read from one that it has created."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

from docutils import nodes
from missive.dlq.sqlite import SQLiteDLQ
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Schema(SphinxDirective):
    """Show the stamps of the file, or the SQL of one kind of object, as SQLite itself has it."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make a store, and read its schema."""
        self.env.note_reread()  # what it is made from is code
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "letters.db")
            SQLiteDLQ(str(path)).close()
            with sqlite3.connect(path) as connection:
                text = self.read(connection)
            connection.close()
        return list(self.parse_text_to_nodes(text))

    def read(self, connection: sqlite3.Connection) -> str:
        """Return what the argument asks for, in Markdown."""
        wanted = self.arguments[0]
        if wanted == "stamps":
            (application_id,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            return (
                f"`application_id` is {application_id} (`0x{application_id:08x}`), `user_version` is"
                f" {version}, and the journal is a write-ahead log."
            )
        if wanted == "columns":
            rows = connection.execute("SELECT * FROM pragma_table_info('dead_letters')")
            return ", ".join(f"`{row[1]}`" for row in rows)
        found = connection.execute(
            "SELECT sql FROM sqlite_master WHERE type = ? AND sql IS NOT NULL ORDER BY rowid",
            (wanted,),
        )
        return "```sql\n" + ";\n\n".join(sql for (sql,) in found) + ";\n```"


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.add_directive("sqlite-schema", Schema)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
