"""``missive dlq watch``: letters as they come."""

from __future__ import annotations

import sys
import threading
from itertools import islice

import click
from missive import DeadLetterStore
from missive.letters import LetterFilters

from ..options import Seconds, debug_option, json_option
from ..terminal import cell_text, console, escaped, is_terminal, plural, table, write, write_json
from .filters import filter_options, state_option
from .list import COLUMNS, FLEXIBLE, STYLES, row_of, shortened_rows, summary_of
from .store import StoreCommand, opened, store_argument

#: How many lines of a terminal are not for letters: counts, the table's head, the cursor.
OTHER_LINES = 5

HELP = """\
Watch letters arrive. A terminal shows the newest ones and the counts, and updates them every two
seconds. A pipe gets one line for each new letter.

\b
  missive dlq watch sqlite:///dead-letters.db
  missive dlq watch sqlite:///dead-letters.db --handler app.charge
  missive dlq watch sqlite:///dead-letters.db --json | jq -r .reason

Press Ctrl-C to end it.
"""


@click.command(cls=StoreCommand, help=HELP, short_help="Watch letters arrive.")
@store_argument
@state_option
@filter_options
@click.option(
    "--interval",
    metavar="SECONDS",
    type=Seconds(0.1, max=3600),
    default=2.0,
    show_default=True,
    help="How often to check for new letters.",
)
@json_option()
@debug_option
def watch(url: str, filters: LetterFilters, interval: float, as_json: bool) -> None:
    """Watch letters until interrupted."""
    pause = threading.Event()
    with opened(url) as store:
        watching = _Watching(store, filters)
        try:
            while True:
                if is_terminal() and not as_json:
                    watching.draw()
                else:
                    watching.write_new(as_json)
                pause.wait(interval)
        except KeyboardInterrupt:
            return


class _Watching:
    """Looks at a store, again and again.

    :param filters: which letters.
    """

    def __init__(self, store: DeadLetterStore, filters: LetterFilters) -> None:
        self._store = store
        self._filters = filters
        newest = next(store.letters(limit=1, newest_first=True, **filters), None)
        self._last = None if newest is None else newest.position

    def draw(self) -> None:
        """Draw the counts and the newest letters on a cleared terminal."""
        screen = console()
        room = max(screen.height - OTHER_LINES, 1)
        letters = islice(self._store.letters(newest_first=True, limit=room, **self._filters), room)
        rows = shortened_rows(self._store, map(row_of, letters))
        counts = self._store.counts()
        screen.clear()
        dead, deferred = (
            plural(counts.dead, "dead letter"),
            plural(counts.deferred, "deferred message"),
        )
        write(f"{dead}, {deferred}; Ctrl-C ends\n")
        table(COLUMNS, rows, flexible=FLEXIBLE, styles=STYLES)
        sys.stdout.flush()

    def write_new(self, as_json: bool) -> None:
        """Write the letters that came since the last look."""
        for letter in self._store.letters(after=self._last, **self._filters):
            self._last = letter.position
            if as_json:
                write_json(summary_of(letter))
            else:
                write("\t".join(escaped(cell_text(cell)) for cell in row_of(letter)))
        sys.stdout.flush()
