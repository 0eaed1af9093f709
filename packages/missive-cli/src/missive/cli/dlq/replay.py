"""``missive dlq replay``: have letters handled again, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import click
from missive import DeadLetterStore, LetterFilters, Outcome, format_id
from missive.adapters.replay import ReplayAdapter, Replayed

from ..exits import ExitCode
from ..logs import LEVELS, set_up
from ..options import MessageId, debug_option, json_option, message_option
from ..targets import Target, load_target
from ..terminal import escaped, note, write, write_json
from .filters import filter_options
from .progress import Bar, bar
from .store import opened, store_argument

HELP = """\
Have letters handled again by the processor of TARGET, in this process.

\b
  missive dlq replay sqlite:///dead-letters.db app:adapter --dry-run
  missive dlq replay sqlite:///dead-letters.db app:adapter --canary
  missive dlq replay sqlite:///dead-letters.db app:processor --message json --handler app.greet
  missive dlq replay sqlite:///dead-letters.db app:adapter 0x5f3a order-17

Letters that are acked leave the store; those that fail again stay, with the failure added. The
exit code is 1 when any failed again. Several replays may share a store: each letter is handled by
one of them. Ctrl-C stops after the letter in hand.
"""


@click.command(help=HELP, short_help="Have letters handled again.")
@store_argument
@click.argument("target")
@click.argument("ids", metavar="[ID]...", nargs=-1, type=MessageId())
@message_option
@filter_options
@click.option("--limit", metavar="N", type=click.IntRange(1), help="At most so many letters.")
@click.option("--dry-run", is_flag=True, help="Say which handler each would go to; change nothing.")
@click.option(
    "--canary",
    is_flag=True,
    help="First one letter of each error, handler and reason; stop if one fails.",
)
@click.option("--log-level", type=click.Choice(LEVELS), default="error", show_default=True)
@json_option("Write JSON: an object a letter, and one with the counts last.")
@debug_option
def replay(
    url: str,
    target: str,
    ids: tuple[bytes, ...],
    message: str | None,
    filters: LetterFilters,
    limit: int | None,
    dry_run: bool,
    canary: bool,
    log_level: str,
    as_json: bool,
) -> int:
    """Replay letters."""
    if canary and (ids or dry_run):
        raise click.UsageError("--canary chooses letters by itself; omit ids and --dry-run")
    set_up(log_level, "json" if as_json else "text")
    loaded = load_target(target, message)
    with opened(url) as store:
        replaying = _Replaying(loaded, store, filters, as_json)
        if canary and not replaying.canary():
            note("the canary failed; the other letters were not touched")
        else:
            replaying.run(ids=ids or None, dry_run=dry_run, limit=limit)
    replaying.close(dry_run)
    return ExitCode.FAILED if replaying.failed else ExitCode.OK


class _Replaying:
    """The replays of one command, and their counts together."""

    def __init__(
        self, target: Target, store: DeadLetterStore, filters: LetterFilters, as_json: bool
    ) -> None:
        self._target = target
        self._store = store
        self._filters = filters
        self._as_json = as_json
        self._counts = {"acked": 0, "failed": 0, "nacked": 0, "skipped": 0}
        self.failed = False

    def canary(self) -> bool:
        """Replay one letter of each group, and say whether all went well."""
        ids = list(_one_of_each(self._store, self._filters))
        self.run(ids=ids, until_failure=True)
        return not self.failed

    def run(
        self,
        *,
        ids: Any,
        dry_run: bool = False,
        limit: int | None = None,
        until_failure: bool = False,
    ) -> None:
        """Replay letters, and say what became of each."""
        total = len(ids) if ids is not None else None if self._filters else len(self._store)
        if limit is not None and total is not None:
            total = min(limit, total)
        with bar(total, "replaying") as progress:
            adapter: ReplayAdapter[Any] = ReplayAdapter(
                self._target.message_cls,
                self._target.processor,
                self._store,
                ids=ids,
                dry_run=dry_run,
                limit=limit,
                **self._filters,
            )
            stop = adapter.stop if until_failure else None
            adapter.on_progress = partial(self._tell, progress, dry_run, stop)
            adapter.run()
        for name in self._counts:
            self._counts[name] += getattr(adapter.result, name)

    def _tell(
        self, progress: Bar, dry_run: bool, stop: Callable[[], None] | None, replayed: Replayed
    ) -> None:
        failed = (
            replayed.handler is None
            if dry_run
            else replayed.outcome in (Outcome.DEAD_LETTERED, Outcome.NACKED)
        )
        self.failed |= failed
        if self._as_json:
            write_json(_record(replayed, dry_run))
        elif failed or dry_run:
            write(f"{format_id(replayed.letter.id)}: {escaped(_words(replayed, dry_run))}")
        progress.advance()
        if failed and stop is not None:
            stop()

    def close(self, dry_run: bool) -> None:
        """Say the counts."""
        counts = self._counts
        if self._as_json:
            write_json({"letters": counts["skipped"]} if dry_run else counts)
        elif dry_run:
            note(f"{counts['skipped']} letters looked at; nothing was changed")
        else:
            note(", ".join(f"{count} {name}" for name, count in counts.items()))


def _one_of_each(store: DeadLetterStore, filters: LetterFilters) -> Iterator[bytes]:
    """Give the id of the oldest letter of each error, handler and reason that the filters leave."""
    for row in store.summary():
        group: LetterFilters = {
            "error_type": row.error_type or "",
            "handler": row.handler or "",
            "reason": row.reason,
        }
        if any(filters.get(name, value) != value for name, value in group.items()):
            continue
        wanted: LetterFilters = {**filters, **group}
        for letter in store.letters(limit=1, **wanted):
            yield letter.id


def _words(replayed: Replayed, dry_run: bool) -> str:
    if replayed.outcome is Outcome.NACKED:
        return f"nacked by {replayed.handler}"
    hits = replayed.explanation.hits if replayed.explanation is not None else ()
    if dry_run and replayed.handler is not None:
        return f"would go to {replayed.handler}"
    if dry_run and replayed.error is None:
        names = ", ".join(handler.name for handler in hits)
        return f"{len(hits)} handlers match: {names}" if hits else "no handler matches"
    where = f" in {replayed.handler}" if replayed.handler else ""
    return f"failed{where}: {type(replayed.error).__name__}"


def _record(replayed: Replayed, dry_run: bool) -> dict[str, Any]:
    record: dict[str, Any] = {
        "id": format_id(replayed.letter.id),
        "handler": replayed.handler,
        "error": type(replayed.error).__name__ if replayed.error is not None else None,
    }
    if dry_run:
        hits = replayed.explanation.hits if replayed.explanation is not None else ()
        return {**record, "hits": [handler.name for handler in hits]}
    outcome = replayed.outcome
    return {**record, "outcome": outcome.value if outcome is not None else "skipped"}
