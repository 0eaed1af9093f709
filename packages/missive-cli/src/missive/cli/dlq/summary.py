"""``missive dlq summary``: letters by error, handler and reason."""

from __future__ import annotations

from datetime import datetime

import click
from missive import SummaryRow
from missive.letters import MAX_REASON, shortened

from ..options import debug_option, json_option
from ..terminal import note, table, write_json
from .list import REASON
from .store import opened, store_argument

#: How many groups are shown. Reasons may be as many as letters, where each names its message.
GROUPS = 100
#: How many characters the bar over time has.
BAR = 16

COLUMNS = ("letters", "error", "handler", "reason", "first seen", "last seen", "when")

HELP = """\
Count the letters by error, handler and reason, the most frequent first.

\b
  missive dlq summary sqlite:///dead-letters.db
  missive dlq summary sqlite:///dead-letters.db --json | jq .count

The bar runs from the first time that any letter of the groups shown was seen to the last; it is
drawn where letters of the row were.
"""


@click.command(help=HELP, short_help="Count letters by error, handler and reason.")
@store_argument
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1),
    default=GROUPS,
    show_default=True,
    help="So many groups, the most frequent ones.",
)
@json_option()
@debug_option
def summary(url: str, limit: int, as_json: bool) -> None:
    """Summarise letters."""
    with opened(url) as store:
        rows = store.summary(limit=limit)
        total = len(store)
    if as_json:
        for row in rows:
            write_json({**row._asdict(), "reason": shortened(row.reason, MAX_REASON)})
        return
    begin = min((row.first_seen for row in rows), default=None)
    end = max((row.last_seen for row in rows), default=None)
    table(COLUMNS, [(*_cells(row), _bar(row, begin, end)) for row in rows])
    shown = sum(row.count for row in rows)
    note(f"{shown} letters in {len(rows)} groups")
    if shown < total:
        note(f"{total - shown} letters are in other groups; see more with --limit")


def _cells(row: SummaryRow) -> tuple[object, ...]:
    reason = shortened(row.reason, REASON)
    return row.count, row.error_type, row.handler, reason, row.first_seen, row.last_seen


def _bar(row: SummaryRow, begin: datetime | None, end: datetime | None) -> str:
    """Draw when the letters of a row were seen, between two moments."""
    if begin is None or end is None or begin == end:
        return "█" * BAR
    first = int((row.first_seen - begin) / (end - begin) * (BAR - 1))
    last = int((row.last_seen - begin) / (end - begin) * (BAR - 1))
    return "·" * first + "█" * (last - first + 1) + "·" * (BAR - 1 - last)
