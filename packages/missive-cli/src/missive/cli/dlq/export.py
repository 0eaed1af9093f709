"""``missive dlq export``: letters as JSON Lines, or one as a test."""

from __future__ import annotations

import json
from typing import IO

import click
from missive.letters import LetterFilters, to_record

from ..options import debug_option, message_option, target_options
from ..targets import load_target
from ..terminal import note, plural
from .filters import filter_options, nothing_matches, state_option
from .progress import counted
from .pytest_file import test_of
from .store import StoreCommand, letter_of, opened, store_argument

HELP = """\
Write letters as JSON Lines, which import reads back without loss.

\b
  missive dlq export sqlite:///dead-letters.db > letters.jsonl
  missive dlq export sqlite:///old.db | missive dlq import sqlite:///new.db
  missive dlq export sqlite:///letters.db --state all > everything.jsonl
  missive dlq export sqlite:///dead-letters.db app:adapter --as-pytest 0x5f3a > test_letter.py

A body that is not UTF-8 is written in base64. With --as-pytest, the command writes a pytest test
instead. The test sends the message of one letter to the processor of TARGET.
"""


@click.command(
    cls=StoreCommand, help=HELP, short_help="Write letters as JSON Lines, or one as a test."
)
@store_argument
@click.argument("target", required=False)
@state_option
@filter_options
@click.option(
    "--output", "-o", type=click.File("w", lazy=True), default="-", help="The file to write to."
)
@click.option("--as-pytest", "test_id", metavar="ID", help="Write a test with this letter.")
@target_options
@message_option
@click.option(
    "--json", is_flag=True, expose_value=False, help="No effect, since the output is always JSON."
)
@debug_option
def export(
    url: str,
    target: str | None,
    filters: LetterFilters,
    output: IO[str],
    test_id: str | None,
    message: str | None,
) -> None:
    """Export letters."""
    if test_id is not None:
        if target is None:
            raise click.UsageError("--as-pytest needs the processor to test: URL MODULE:ADAPTER")
        if filters:
            raise click.UsageError("--as-pytest writes one letter; omit the filters")
        loaded = load_target(target, message)
        with opened(url) as store:
            letter = letter_of(store, test_id)
        output.write(test_of(letter, loaded, message))
        return
    if target is not None or message is not None:
        raise click.UsageError("a target and --message go with --as-pytest; omit them")
    written = 0
    with opened(url) as store:
        for letter in counted(store.letters(**filters), None, "exporting"):
            output.write(json.dumps(to_record(letter), separators=(",", ":")) + "\n")
            written += 1
        output.flush()
        if not written and filters:
            raise nothing_matches(store, filters)
    note(f"{plural(written, 'letter')} exported")
