"""``missive handlers``: list the handlers of a processor."""

from __future__ import annotations

import click

from .describe import describe_matcher, place
from .options import debug_option, json_option, target_options
from .targets import load_processor
from .terminal import table, write_json

HELP = """\
List the handlers of a processor, with what they match and where they are.

\b
  missive handlers app:processor
  missive handlers app:adapter --json
"""


@click.command(help=HELP, short_help="List the handlers of a processor.")
@click.argument("target")
@target_options
@json_option()
@debug_option
def handlers(target: str, as_json: bool) -> None:
    """List the handlers."""
    rows = [
        (handler.name, describe_matcher(handler.matcher), place(handler))
        for handler in load_processor(target).handlers
    ]
    if not as_json:
        table(("handler", "matches", "place"), rows)
        return
    for name, matches, where in rows:
        write_json({"handler": name, "matches": matches, "place": where})
