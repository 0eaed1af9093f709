"""``missive dlq retry-now`` and ``missive dlq give-up``: what becomes of deferred messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from missive import DeadLetterStore
from missive.letters import LetterFilters

from ..exits import Failed
from ..options import debug_option, json_option
from ..terminal import note, plural, write_json
from .completing import complete_ids
from .filters import filter_options
from .prefixes import find_ids, not_there
from .store import StoreCommand, opened, store_argument

RETRY_NOW = """\
Make deferred messages due now. The runs that use this store handle them.

\b
  missive dlq retry-now sqlite:///letters.db 0x5f3a
  missive dlq retry-now sqlite:///letters.db --handler app.charge
  missive dlq retry-now sqlite:///letters.db --all
"""

GIVE_UP = """\
Make deferred messages dead letters. They are not tried again unless you replay them.

\b
  missive dlq give-up sqlite:///letters.db 0x5f3a
  missive dlq give-up sqlite:///letters.db --reason 'no such account'
  missive dlq give-up sqlite:///letters.db --all

A message that a run has in flight is left alone.
"""


def waiting_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose deferred messages to a command."""
    everything = click.option("--all", "everything", is_flag=True, help="All deferred messages.")
    for option in (debug_option, json_option("Write the count as JSON."), everything):
        command = option(command)
    command = filter_options(command)
    return store_argument(
        click.argument("ids", metavar="[ID]...", nargs=-1, shell_complete=complete_ids)(command)
    )


@click.command("retry-now", cls=StoreCommand, help=RETRY_NOW, short_help="Retry deferred messages.")
@waiting_options
def retry_now(url: str, as_json: bool, **chosen: Any) -> None:
    """Make messages due."""
    with opened(url) as store:
        count = _change(store, store.retry_now, **chosen)
    if as_json:
        write_json({"due": count})
    else:
        note(f"{plural(count, 'message')} due now")


@click.command("give-up", cls=StoreCommand, help=GIVE_UP, short_help="Make deferred messages dead.")
@waiting_options
def give_up(url: str, as_json: bool, **chosen: Any) -> None:
    """Make messages dead letters."""
    with opened(url) as store:
        count = _change(store, store.give_up, **chosen)
    if as_json:
        write_json({"dead": count})
    else:
        note(f"{plural(count, 'message')} given up")


def _change(
    store: DeadLetterStore,
    change: Callable[..., int],
    *,
    ids: tuple[str, ...],
    filters: LetterFilters,
    everything: bool,
) -> int:
    if bool(ids) + bool(filters) + everything != 1:
        raise click.UsageError("give ids, or filters such as --handler, or --all")
    if not ids:
        count = change(**filters)
        if not count and filters:
            deferred = plural(store.counts().deferred, "deferred message")
            raise Failed(f"no deferred message matches; the store has {deferred}")
        return count
    found, missing = find_ids(store, ids)
    count = change(found) if found else 0
    if missing:
        raise not_there(missing)
    if not count:
        raise Failed("none of these is a deferred message that waits")
    return count
