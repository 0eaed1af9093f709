"""The group of commands for dead letters."""

from __future__ import annotations

import click

from .delete import delete
from .export import export
from .list import list_letters
from .migrate import migrate
from .purge import purge
from .replay import replay
from .restore import import_letters
from .serve import serve
from .show import show
from .summary import summary
from .waiting import give_up, retry_now
from .watch import watch

HELP = """\
Look through the dead letters of a store, and replay them once the cause is fixed. The same commands
work on deferred messages, which wait for another attempt.

\b
  missive dlq summary sqlite:///dead-letters.db
  missive dlq list sqlite:///dead-letters.db --handler app.greet --since 2h
  missive dlq show sqlite:///dead-letters.db 0x5f3a
  missive dlq list sqlite:///dead-letters.db --state deferred
  missive dlq replay sqlite:///dead-letters.db app:adapter --canary
  missive dlq watch sqlite:///dead-letters.db
  missive dlq serve sqlite:///dead-letters.db app:adapter

URL names a store: sqlite:///relative.db, sqlite:////absolute.db, postgresql://user@host/database.
"""


@click.group(help=HELP, short_help="Inspect and replay dead letters.")
def dlq() -> None:
    """Hold the commands together."""


for command in (
    *(summary, list_letters, show, replay, retry_now, give_up),
    *(delete, purge, export, import_letters, migrate, serve, watch),
):
    dlq.add_command(command)
