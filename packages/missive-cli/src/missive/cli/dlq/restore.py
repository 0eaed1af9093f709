"""``missive dlq import``: read letters back from JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

import click
from missive import DeadLetter

from ..options import debug_option, json_option
from ..terminal import note, plural, write_json
from .progress import counted
from .records import BadRecord, from_record
from .store import StoreCommand, opened, store_argument

#: How many letters are written at once; the disk is waited for once each.
BATCH = 500

HELP = """\
Read letters from JSON Lines, as export writes them.

\b
  missive dlq import sqlite:///new.db letters.jsonl
  missive dlq export sqlite:///old.db | missive dlq import sqlite:///new.db

Each letter is restored exactly, with its history. A letter with the same id is replaced, so the same
file may be imported again.
"""


@click.command(
    "import", cls=StoreCommand, help=HELP, short_help="Read letters back from JSON Lines."
)
@store_argument
@click.argument("file", type=click.File("rb"), default="-")
@json_option("Write the count as JSON.")
@debug_option
def import_letters(url: str, file: BinaryIO, as_json: bool) -> None:
    """Import letters."""
    imported = 0
    with opened(url, existing=False) as store:
        letters = counted(_read(file), None, "importing")
        while batch := list(islice(letters, BATCH)):
            store.restore_many(batch)
            imported += len(batch)
    if as_json:
        write_json({"imported": imported})
    else:
        note(f"{plural(imported, 'letter')} imported")


def _read(file: BinaryIO) -> Iterator[DeadLetter]:
    """Return the letters of a file.

    :raises click.UsageError: a line is not a record.
    """
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            letter = from_record(json.loads(line))
        except (BadRecord, ValueError, RecursionError) as error:
            why = str(error) if isinstance(error, BadRecord) else "it is not JSON"
            raise click.UsageError(
                f"line {number} is not a letter: {why}; fix it and import the file again (the lines"
                " before it may have been imported, which does no harm)"
            ) from error
        yield letter
