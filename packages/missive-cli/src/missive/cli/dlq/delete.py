"""``missive dlq delete``: remove letters by id or by filter."""

from __future__ import annotations

import click
from missive import LetterFilters

from ..options import MessageId, debug_option, json_option
from .asking import yes_option
from .filters import filter_options
from .removing import remove
from .store import not_there, opened, store_argument

HELP = """\
Remove letters for good, by their ids or by filters. Asks unless --yes. What it asks about is what it
removes: a letter that fails again or arrives meanwhile stays.

\b
  missive dlq delete sqlite:///dead-letters.db 0x5f3a order-17
  missive dlq delete sqlite:///dead-letters.db --reason 'no matching handlers' --yes
"""


@click.command(help=HELP, short_help="Remove letters by id or by filter.")
@store_argument
@click.argument("ids", metavar="[ID]...", nargs=-1, type=MessageId())
@filter_options
@yes_option
@json_option("Write the count as JSON.")
@debug_option
def delete(
    url: str, ids: tuple[bytes, ...], filters: LetterFilters, yes: bool, as_json: bool
) -> None:
    """Remove letters."""
    if bool(ids) == bool(filters):
        raise click.UsageError("give ids, or a filter such as --reason, and not both")
    wanted = tuple(dict.fromkeys(ids))
    with opened(url) as store:
        missing = [id for id in wanted if id not in store]
        remove(store, store.choose(wanted or None, **filters), yes=yes, as_json=as_json)
    if missing:
        raise not_there(missing)
