"""``missive handlers``: list the handlers of a processor."""

from __future__ import annotations

import click

from .describe import describe_matcher, describe_policy, place
from .options import debug_option, json_option, target_options
from .targets import load_processor
from .terminal import table, write_json

HELP = """\
List the handlers of a processor: what they match, their retries and breakers, and where they are
defined.

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
    processor = load_processor(target)
    rows = [
        (
            handler.name,
            describe_matcher(handler.matcher),
            describe_policy(handler, processor.retry),
            place(handler),
        )
        for handler in processor.handlers
    ]
    columns = ("handler", "matches", "policy", "place")
    if as_json:
        for row in rows:
            write_json(dict(zip(columns, row, strict=True)))
    elif any(policy for _, _, policy, _ in rows):
        table(columns, rows)
    else:
        table(("handler", "matches", "place"), [(*row[:2], row[3]) for row in rows])
