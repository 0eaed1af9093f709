"""``missive dlq list``: letters in pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import click
from missive import DeadLetter, DeadLetterStore, format_id
from missive.letters import MAX_REASON, LetterFilters, shortened

from ..options import debug_option, json_option
from ..terminal import Abridged, ago, is_terminal, note, short_name, table, write_json
from .choosing import with_group
from .filters import filter_options, group_option, nothing_matches, state_option
from .prefixes import short_ids
from .store import StoreCommand, opened, store_argument

#: How many letters a page has.
PAGE = 50

#: How many characters of a reason a row has.
REASON = 500

COLUMNS = ("last failed", "id", "failures", "stage", "handler", "error", "reason")

_ID = COLUMNS.index("id")
#: The columns of deferred messages.
WAITING = ("due", "id", "attempts", "stage", "handler", "error", "reason")
FLEXIBLE = ("id", "handler", "error", "reason")
STYLES = {"error": "red", "failures": "bold"}

HELP = """\
List letters, oldest first, a page at a time.

\b
  missive dlq list sqlite:///dead-letters.db
  missive dlq list sqlite:///dead-letters.db --newest-first --limit 10
  missive dlq list sqlite:///dead-letters.db --reason 'no matching handlers' --since 2h
  missive dlq list sqlite:///dead-letters.db --group 482
  missive dlq list sqlite:///dead-letters.db --state deferred
  missive dlq list sqlite:///dead-letters.db --json --all | jq -r .id

On a terminal, ids are shortened; every command accepts a shortened id. If there are more letters,
the last line on standard error says how to continue.
"""


@click.command("list", cls=StoreCommand, help=HELP, short_help="List letters, a page at a time.")
@store_argument
@state_option
@filter_options
@group_option
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1),
    default=PAGE,
    show_default=True,
    help="Page size.",
)
@click.option("--all", "everything", is_flag=True, help="List all letters, not just a page.")
@click.option("--after", metavar="POSITION", type=int, help="Continue after this position.")
@click.option("--newest-first", is_flag=True, help="List the newest letters first.")
@json_option()
@debug_option
def list_letters(
    url: str,
    filters: LetterFilters,
    group: str | None,
    limit: int,
    everything: bool,
    after: int | None,
    newest_first: bool,
    as_json: bool,
) -> None:
    """List letters."""
    with opened(url) as store:
        found = store.letters(
            limit=None if everything else limit + 1,
            after=after,
            newest_first=newest_first,
            **with_group(store, filters, group),
        )
        page = Page(found, None if everything else limit)
        if as_json:
            for letter in page:
                write_json(summary_of(letter))
        else:
            waiting = filters.get("state") == "deferred"
            rows: Iterable[tuple[object, ...]] = map(_waiting_row if waiting else row_of, page)
            if is_terminal() and not everything:
                rows = shortened_rows(store, rows)
            table(WAITING if waiting else COLUMNS, rows, flexible=FLEXIBLE, styles=STYLES)
        if page.more:
            note(f"there are more; continue with --after {page.last}")
        elif page.last is None and after is None and (filters or group):
            raise nothing_matches(store, filters)
        elif page.last is None:
            note(f"no letters{'' if after is None else ' after that'}")


class Page:
    """The letters of one page, one by one.

    :ivar last: the position of the last letter given.
    :ivar more: whether there is another, once all were given.
    """

    def __init__(self, letters: Iterator[DeadLetter], size: int | None) -> None:
        self._letters = letters
        self._size = size
        self.last: int | None = None
        self.more = False

    def __iter__(self) -> Iterator[DeadLetter]:
        for count, letter in enumerate(self._letters):
            if count == self._size:
                self.more = True
                return
            self.last = letter.position
            yield letter


def row_of(letter: DeadLetter) -> tuple[object, ...]:
    """Return the cells of a letter, by ``COLUMNS``."""
    return (
        ago(letter.last_failed),
        format_id(letter.id),
        letter.failures,
        letter.stage,
        letter.handler,
        short_name(letter.error_type),
        shortened(letter.reason, REASON),
    )


def _waiting_row(letter: DeadLetter) -> tuple[object, ...]:
    return (letter.due, format_id(letter.id), letter.attempt, *row_of(letter)[3:])


def shortened_rows(
    store: DeadLetterStore, rows: Iterable[tuple[object, ...]]
) -> list[tuple[object, ...]]:
    """Return rows whose ids are shown by their beginnings."""
    kept = list(rows)
    shortest = short_ids(store, (str(row[_ID]) for row in kept))
    return [
        (*row[:_ID], Abridged(row[_ID], shortest[str(row[_ID])]), *row[_ID + 1 :]) for row in kept
    ]


def summary_of(letter: DeadLetter) -> dict[str, Any]:
    """Return what ``--json`` says of a letter: all but its body, headers and history."""
    return {
        "position": letter.position,
        "id": format_id(letter.id),
        "stage": letter.stage,
        "reason": shortened(letter.reason, MAX_REASON),
        "error_type": letter.error_type,
        "handler": letter.handler,
        "source": letter.source,
        "message_class": letter.message_class,
        "first_failed": letter.first_failed,
        "last_failed": letter.last_failed,
        "failures": letter.failures,
        "state": letter.state,
        "due": letter.due,
        "attempt": letter.attempt,
        "bytes": len(letter.raw_data),
    }
