"""``missive dlq migrate``: make a store, or bring it up to date."""

from __future__ import annotations

import click

from ..options import debug_option, json_option
from ..schemes import masked
from ..terminal import note, write_json
from .store import StoreCommand, opened, store_argument

HELP = """\
Create a store, or upgrade one of an older version.

\b
  missive dlq migrate postgresql://admin@db.example.com/shop

Every program does this when it opens a store, if its user may create tables. If not, run this
command once as a user who may. It is safe to run again.
"""


@click.command(cls=StoreCommand, help=HELP, short_help="Create a store, or upgrade it.")
@store_argument
@json_option("Write the result as JSON.")
@debug_option
def migrate(url: str, as_json: bool) -> None:
    """Open the store, which is all that there is to it."""
    with opened(url, existing=False) as store:
        counts = store.counts()
    if as_json:
        write_json({"dead": counts.dead, "deferred": counts.deferred})
    else:
        note(f"{masked(url)} is up to date")
