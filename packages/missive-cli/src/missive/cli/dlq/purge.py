"""``missive dlq purge``: remove old letters."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import click

from ..options import Age, debug_option, json_option
from .asking import yes_option
from .filters import state_option, text_filter_options
from .removing import remove
from .store import StoreCommand, opened, store_argument

HELP = """\
Remove the letters whose last failure is older than --older-than. The command asks first unless you
pass --yes.

\b
  missive dlq purge sqlite:///dead-letters.db --older-than 30d
  missive dlq purge sqlite:///dead-letters.db --older-than 2h --handler app.greet --yes
"""


@click.command(cls=StoreCommand, help=HELP, short_help="Remove old letters.")
@store_argument
@click.option(
    "--older-than", type=Age(), required=True, help="An age, such as 90s, 15m, 2h, 30d or 1w."
)
@state_option
@text_filter_options
@yes_option
@json_option("Write the count as JSON.")
@debug_option
def purge(
    url: str, older_than: timedelta, filters: dict[str, str], yes: bool, as_json: bool
) -> None:
    """Remove old letters."""
    moment = datetime.now(timezone.utc) - older_than  # before it asks: what it counts is what goes
    chosen: Any = {**filters, "until": moment} if older_than else filters
    with opened(url) as store:
        remove(
            store,
            store.choose(**chosen),
            yes=yes,
            as_json=as_json,
            which=f" that failed last more than {older_than} ago",
        )
