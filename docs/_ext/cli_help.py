"""Show the examples in the help of commands as what they are: text of a terminal."""

from __future__ import annotations

import re

import click
from sphinx.application import Sphinx

#: An option in a sentence.
OPTION = re.compile(r"(?<![`\w-])--[a-z][a-z-]*")


def literal_options(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Mark the options that sentences name, so that their hyphens stay two."""
    lines[:] = [
        line if line.lstrip().startswith((":", "..", "|")) else OPTION.sub(r"``\g<0>``", line)
        for line in lines
    ]


def literal_blocks(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Make literal blocks of the paragraphs that a command's help keeps unwrapped."""
    shown: list[str] = []
    inside = False
    for line in lines:
        kept = line.startswith("|")
        if kept and not inside:
            shown += ["", ".. code-block:: text", ""]
        elif inside and not kept:
            shown.append("")
        shown.append(f"   {line[2:]}" if kept else line)
        inside = kept
    lines[:] = shown


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    for event in ("description", "options", "arguments"):
        app.connect(f"sphinx-click-process-{event}", literal_options)
    app.connect("sphinx-click-process-description", literal_blocks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
