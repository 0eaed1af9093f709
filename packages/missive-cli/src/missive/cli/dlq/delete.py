"""``missive dlq delete``: remove letters by id or by filter."""

from __future__ import annotations

import click
from missive.letters import LetterFilters

from ..options import debug_option, json_option
from .asking import yes_option
from .choosing import choose
from .completing import complete_ids
from .filters import filter_options, group_option, nothing_matches
from .prefixes import find_ids, not_there
from .removing import remove
from .store import StoreCommand, opened, store_argument

HELP = """\
Remove letters for good, by their ids or by filters. The command asks first unless you pass --yes.
A letter that arrives or fails again meanwhile is not removed.

\b
  missive dlq delete sqlite:///dead-letters.db 0x5f3a order-17
  missive dlq delete sqlite:///dead-letters.db --group 482
  missive dlq delete sqlite:///dead-letters.db --reason 'no matching handlers' --yes
"""


@click.command(cls=StoreCommand, help=HELP, short_help="Remove letters by id or by filter.")
@store_argument
@click.argument("ids", metavar="[ID]...", nargs=-1, shell_complete=complete_ids)
@filter_options
@group_option
@yes_option
@json_option("Write the count as JSON.")
@debug_option
def delete(
    url: str,
    ids: tuple[str, ...],
    filters: LetterFilters,
    group: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Remove letters."""
    if bool(ids) == bool(filters or group):
        raise click.UsageError("give ids, or a filter such as --reason, and not both")
    with opened(url) as store:
        wanted, missing = find_ids(store, ids)
        choice = choose(store, wanted if ids else None, filters, group)
        if not choice and not ids:
            raise nothing_matches(store, filters)
        remove(store, choice, yes=yes, as_json=as_json)
    if missing:
        raise not_there(missing)
