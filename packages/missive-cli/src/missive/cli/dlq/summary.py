"""``missive dlq summary``: letters by error, handler and the line that raised."""

from __future__ import annotations

from datetime import datetime

import click
from missive.letters import Group, LetterFilters, group_letters

from ..options import debug_option, json_option
from ..terminal import (
    ago,
    is_encodable,
    note,
    plural,
    short_name,
    table,
    write_json,
)
from .filters import filter_options, nothing_matches, state_option
from .store import StoreCommand, opened, store_argument

#: How many groups are shown.
GROUPS = 100
#: How many characters the bar over time has.
BAR = 8

COLUMNS = (
    *("group", "letters", "error", "handler", "raised at", "reason"),
    *("first seen", "last seen", "when"),
)
FLEXIBLE = ("error", "handler", "raised at", "reason")
STYLES = {"group": "cyan", "letters": "bold", "error": "red"}
#: What is left out first where a terminal is narrow.
OPTIONAL = ("first seen", "when", "raised at")

HELP = """\
Count the letters by error, handler and the line that raised, the most frequent first.

\b
  missive dlq summary sqlite:///dead-letters.db
  missive dlq summary sqlite:///dead-letters.db --since 2h
  missive dlq summary sqlite:///dead-letters.db --json | jq .count

The number of a group does not change; pass it to list, replay and delete as --group. The reason
shows numbers as #, and quoted texts and ids as an ellipsis. All bars cover the same time, from the
first letter of the groups shown to the last. A bar is filled where its group had letters.
"""


@click.command(
    cls=StoreCommand, help=HELP, short_help="Count letters by error, handler and raising line."
)
@store_argument
@state_option
@filter_options
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1),
    default=GROUPS,
    show_default=True,
    help="How many groups to show, the most frequent first.",
)
@json_option()
@debug_option
def summary(url: str, filters: LetterFilters, limit: int, as_json: bool) -> None:
    """Summarise letters."""
    with opened(url) as store:
        groups = group_letters(store.letters(**filters))
        if not groups and filters:
            raise nothing_matches(store, filters)
        waiting = 0 if "state" in filters else store.counts().deferred
    shown = groups[:limit]
    if as_json:
        for one in shown:
            write_json(_record(one))
        return
    _show(shown)
    count = sum(one.letters for one in shown)
    note(f"{plural(count, 'letter')} in {plural(len(shown), 'group')}")
    if waiting:
        note(f"beside {plural(waiting, 'deferred message')}; see them with --state deferred")
    if left := sum(one.letters for one in groups[limit:]):
        verb = "is" if left == 1 else "are"
        note(f"{plural(left, 'letter')} {verb} in other groups; see more with --limit")


def _record(one: Group) -> dict[str, object]:
    return {
        "group": one.number,
        "error_type": one.kind.error_type,
        "handler": one.kind.handler,
        "place": one.kind.place,
        "reason": one.reason,
        "count": one.letters,
        "first_seen": one.first_seen,
        "last_seen": one.last_seen,
    }


def _show(groups: list[Group]) -> None:
    begin = min((one.first_seen for one in groups), default=None)
    end = max((one.last_seen for one in groups), default=None)
    rows = [[*_cells(one), _bar(one, begin, end)] for one in groups]
    table(COLUMNS, rows, flexible=FLEXIBLE, optional=OPTIONAL, styles=STYLES)


def _cells(one: Group) -> list[object]:
    return [
        one.number,
        one.letters,
        short_name(one.kind.error_type),
        one.kind.handler,
        one.kind.place,
        one.reason,
        ago(one.first_seen),
        ago(one.last_seen),
    ]


def _bar(one: Group, begin: datetime | None, end: datetime | None) -> str:
    """Draw when the letters of a group were seen, between two moments."""
    full, empty = ("█", "·") if is_encodable("█·") else ("#", ".")
    if begin is None or end is None or begin == end:
        return full * BAR
    first = int((one.first_seen - begin) / (end - begin) * (BAR - 1))
    last = int((one.last_seen - begin) / (end - begin) * (BAR - 1))
    return empty * first + full * (last - first + 1) + empty * (BAR - 1 - last)
