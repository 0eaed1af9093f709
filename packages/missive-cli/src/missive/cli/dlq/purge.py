"""``missive dlq purge``: remove old letters."""

from __future__ import annotations

from datetime import timedelta

import click

from ..options import Age, debug_option, json_option
from ..terminal import note, write_json
from .asking import confirm, yes_option
from .filters import text_filter_options
from .store import opened, store_argument

HELP = """\
Remove the letters whose last failure is longer ago than this. Asks unless --yes.

\b
  missive dlq purge sqlite:///dead-letters.db --older-than 30d
  missive dlq purge sqlite:///dead-letters.db --older-than 2h --handler app.greet --yes
"""


@click.command(help=HELP, short_help="Remove old letters.")
@store_argument
@click.option("--older-than", type=Age(), required=True, help="90s, 15m, 2h, 30d, 1w.")
@text_filter_options
@yes_option
@json_option("Write the count as JSON.")
@debug_option
def purge(
    url: str, older_than: timedelta, filters: dict[str, str], yes: bool, as_json: bool
) -> None:
    """Remove old letters."""
    with opened(url) as store:
        confirm(f"Remove the letters that failed last more than {older_than} ago?", yes=yes)
        removed = store.purge(older_than=older_than, **filters)
    if as_json:
        write_json({"removed": removed})
    else:
        note(f"{removed} letters removed")
