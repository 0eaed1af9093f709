"""``missive dlq delete``: remove letters by id or by filter."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import click
from missive import DeadLetterStore, LetterFilters

from ..options import MessageId, debug_option, json_option
from ..terminal import note, write_json
from .asking import confirm, yes_option
from .filters import filter_options
from .progress import counted
from .store import not_there, opened, store_argument

HELP = """\
Remove letters for good, by their ids or by filters. Asks unless --yes.

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
    missing: list[bytes] = []
    with opened(url) as store:
        if wanted:
            confirm(f"Remove {_letters(len(wanted))} for good?", yes=yes)
            missing = _delete(store, counted(wanted, len(wanted), "removing"))
            removed = len(wanted) - len(missing)
        else:
            removed = _delete_matching(store, filters, yes)
    if as_json:
        write_json({"removed": removed})
    else:
        note(f"{_letters(removed)} removed")
    if missing:
        raise not_there(missing)


def _delete_matching(store: DeadLetterStore, filters: LetterFilters, yes: bool) -> int:
    """Remove the letters that match filters; give how many."""
    total = sum(1 for _ in store.letters(**filters)) if not yes else None
    if total is not None:
        confirm(f"Remove {_letters(total)} for good?", yes=total == 0)
    if not filters.keys() & {"since", "until"}:
        texts: Any = filters
        return store.purge(older_than=timedelta(0), **texts)
    ids = [letter.id for letter in store.letters(**filters)]
    return len(ids) - len(_delete(store, counted(ids, len(ids), "removing")))


def _delete(store: DeadLetterStore, ids: Iterable[bytes]) -> list[bytes]:
    """Remove letters; give the ids that were not there."""
    missing: list[bytes] = []
    for id in ids:
        try:
            del store[id]
        except KeyError:
            missing.append(id)
    return missing


def _letters(count: int) -> str:
    return "1 letter" if count == 1 else f"{count} letters"
