"""``missive dlq replay``: have letters handled again, in this process."""

from __future__ import annotations

import click
from missive.letters import LetterFilters

from ..exits import ExitCode
from ..logs import LEVELS, conflicts, set_up
from ..options import debug_option, json_option, message_option, target_options
from ..targets import load_target
from ..terminal import note
from .choosing import choose
from .completing import complete_ids
from .filters import filter_options, group_option, nothing_matches
from .prefixes import find_ids, not_there
from .replaying import Replaying
from .store import StoreCommand, opened, store_argument

HELP = """\
Replay letters: handle them again with the processor of TARGET, in this process.

\b
  missive dlq replay sqlite:///dead-letters.db app:adapter --dry-run
  missive dlq replay sqlite:///dead-letters.db app:adapter --canary
  missive dlq replay sqlite:///dead-letters.db app:processor --message json --handler app.greet
  missive dlq replay sqlite:///dead-letters.db app:adapter --group 482
  missive dlq replay sqlite:///dead-letters.db app:adapter 0x5f3a order-17

Letters that are acked leave the store; those that fail again stay, with the failure added. Several
replays may share a store: each letter is handled by one of them. Ctrl-C stops after the letter in
flight.

The exit code is 1 if a letter failed again or was nacked, if an id is not in the store, or if no
letter matches. It is also 1 if a dry run finds a letter that would not go to exactly one handler,
or if another replay holds a letter that you named, every possible canary or every letter to replay.
The output lists letters that another replay holds, with the time when its claim ends. A killed
replay holds the letter that it was handling until that time.
"""


@click.command(cls=StoreCommand, help=HELP, short_help="Replay letters.")
@store_argument
@click.argument("target")
@click.argument("ids", metavar="[ID]...", nargs=-1, shell_complete=complete_ids)
@target_options
@message_option
@filter_options
@group_option
@click.option(
    "--limit", metavar="N", type=click.IntRange(1), help="Replay at most this many letters."
)
@click.option("--dry-run", is_flag=True, help="Show the handler for each letter; change nothing.")
@click.option(
    "--canary",
    is_flag=True,
    help="Replay one letter of each group first, and the rest only if it was acked.",
)
@click.option("--log-level", type=click.Choice(LEVELS), default="error", show_default=True)
@json_option("Write JSON: an object a letter, and one with the counts last.")
@debug_option
def replay(
    url: str,
    target: str,
    ids: tuple[str, ...],
    message: str | None,
    filters: LetterFilters,
    group: str | None,
    limit: int | None,
    dry_run: bool,
    canary: bool,
    log_level: str,
    as_json: bool,
) -> int:
    """Replay letters."""
    if canary and (ids or dry_run):
        raise click.UsageError("--canary chooses the letters itself; omit ids and --dry-run")
    if ids and group:
        raise click.UsageError("give ids or --group, not both")
    form = "json" if as_json else "text"
    set_up(log_level, form)
    loaded = load_target(target, message)
    for conflict in conflicts(form):
        note(f"warning: {conflict}")
    with opened(url) as store:
        wanted, missing = find_ids(store, ids)
        # Before the canary: what arrives or fails again meanwhile is left to a later replay.
        choice = choose(store, wanted if ids else None, filters, group)
        if not choice and (filters or group) and not ids:
            raise nothing_matches(store, filters)
        replaying = Replaying(loaded, store, choice, limit, dry_run, as_json)
        try:
            if canary:
                replaying.canary()
            else:
                replaying.all(wanted if ids else None)
        finally:
            replaying.close()
    if missing:
        raise not_there(missing)
    held = replaying.held and (bool(ids) or replaying.nothing_done)
    return ExitCode.FAILED if replaying.failed or held else ExitCode.OK
