"""``missive dlq replay``: have letters handled again, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import click
from missive import Choice, DeadLetterStore, LetterFilters, MissiveError, Outcome, format_id
from missive.adapters.replay import ReplayAdapter, Replayed, ReplayResult

from ..exits import ExitCode, Failed, ReaderGone, kind_and_place
from ..logs import LEVELS, set_up
from ..options import MessageId, debug_option, json_option, message_option, target_options
from ..targets import Target, load_target
from ..terminal import escaped, note, write, write_json
from .filters import filter_options
from .progress import Bar, bar
from .store import held_by, not_there, opened, store_argument

HELP = """\
Have letters handled again by the processor of TARGET, in this process.

\b
  missive dlq replay sqlite:///dead-letters.db app:adapter --dry-run
  missive dlq replay sqlite:///dead-letters.db app:adapter --canary
  missive dlq replay sqlite:///dead-letters.db app:processor --message json --handler app.greet
  missive dlq replay sqlite:///dead-letters.db app:adapter 0x5f3a order-17

Letters that are acked leave the store; those that fail again stay, with the failure added. Several
replays may share a store: each letter is handled by one of them. Ctrl-C stops after the letter in
hand. The exit code is 1 when any failed again or was nacked, when an id is not in the store, when
another replay has all that could be a canary, a letter that was named or all that was to be
replayed, and in a dry run when any would not go to just one handler. A letter that another replay
has is named, with until when: a killed replay holds the one it was handling.
"""


@click.command(help=HELP, short_help="Have letters handled again.")
@store_argument
@click.argument("target")
@click.argument("ids", metavar="[ID]...", nargs=-1, type=MessageId())
@target_options
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
        missing = [id for id in dict.fromkeys(ids) if id not in store]
        # Before the canary: what arrives or fails again meanwhile is left to a later replay.
        choice = store.choose(ids or None, **filters)
        replaying = _Replaying(loaded, store, choice, limit, dry_run, as_json)
        try:
            if not canary or replaying.canary():
                replaying.all(ids or None)
        finally:
            replaying.close()
    if missing:
        raise not_there(missing)
    held = replaying.held and (bool(ids) or replaying.nothing_done)
    return ExitCode.FAILED if replaying.failed or held else ExitCode.OK


class _Replaying:
    """The replays of one command, and their counts together.

    :ivar failed: whether any letter failed again, was nacked, or would not go to one handler.
    :ivar held: the letters that another replay has.
    """

    def __init__(
        self,
        target: Target,
        store: DeadLetterStore,
        choice: Choice,
        limit: int | None,
        dry_run: bool,
        as_json: bool,
    ) -> None:
        self._target = target
        self._store = store
        self._choice = choice
        self._filters = choice.filters
        self._left = limit
        self._dry_run = dry_run
        self._as_json = as_json
        self._counts = dict.fromkeys(ReplayResult._fields, 0)
        self._stopped = False
        self.failed = False
        self.held: set[bytes] = set()

    @property
    def nothing_done(self) -> bool:
        """Whether no letter was handled."""
        return not any(count for name, count in self._counts.items() if name != "skipped")

    def canary(self) -> bool:
        """Replay one letter of each group, and say whether the others may follow.

        :raises Failed: every letter of a group was skipped.
        """
        groups = list(_groups(self._store, self._filters))
        with bar(len(groups), "trying one of each group") as progress:
            for group in groups:
                if self._left == 0:
                    return False
                # The limit leaves out those that are skipped, so this goes on to one that is not.
                result = self._run(None, limit=1, **group)
                if self.failed or self._stopped:
                    why = "the canary failed" if self.failed else "stopped"
                    note(f"{why}; the other letters were not touched")
                    return False
                if result.skipped == sum(result) > 0:
                    raise Failed(
                        "every letter of a group is claimed by another replay, so none could be"
                        " its canary; the other letters were not touched"
                    )
                progress.advance()
        self._counts["skipped"] = 0  # these come again among the others
        return True

    def all(self, ids: tuple[bytes, ...] | None) -> None:
        """Replay all letters that the filters leave, or those of them with these ids."""
        if self._left == 0:
            return
        total = len(self._choice)
        if self._left is not None:
            total = min(self._left, total)
        with bar(total, "replaying") as progress:
            self._run(progress, ids=ids, limit=self._left, **self._filters)

    def _run(self, progress: Bar | None, **choice: Any) -> ReplayResult:
        """Replay letters, say what became of each, and count them.

        :param progress: moved on at each letter.
        :param choice: which letters.
        :raises Failed: a handler or a hook ended it.
        :raises MissiveError: what else ended it.
        """
        adapter: ReplayAdapter[Any] = ReplayAdapter(
            self._target.message_cls,
            self._target.processor,
            self._store,
            choice=self._choice,
            dry_run=self._dry_run,
            on_progress=partial(self._tell, progress),
            **choice,
        )
        adapter.shutdown_handler.callback = self._note_stop
        try:
            return adapter.run()
        except (MissiveError, ReaderGone):
            raise
        except SystemExit as error:
            raise Failed(
                f"a handler or hook ended the program (SystemExit {error.code}); the letter in"
                " hand stays in the store"
            ) from error
        except Exception as error:
            raise Failed(
                f"the replay ended with {kind_and_place(error)}; the letter in hand stays in the"
                " store; --debug shows the traceback, which may hold content"
            ) from error
        finally:
            result = adapter.result
            for name, count in result._asdict().items():
                self._counts[name] += count
            if self._left is not None:
                self._left -= result.acked + result.failed + result.nacked

    def _note_stop(self, signum: int) -> None:
        self._stopped = True

    def _tell(self, progress: Bar | None, replayed: Replayed) -> None:
        failed = (
            replayed.handler is None
            if self._dry_run
            else replayed.outcome in (Outcome.DEAD_LETTERED, Outcome.NACKED)
        )
        self.failed |= failed
        id = replayed.letter.id
        news = replayed.held is not None and id not in self.held
        if news:
            self.held.add(id)
        try:
            if self._as_json:
                write_json(_record(replayed, self._dry_run))
            elif failed or news or self._dry_run:
                words = escaped(_words(replayed, self._dry_run))
                write(f"{format_id(id)}: {words}")
        except BrokenPipeError as error:
            raise ReaderGone from error  # not to be taken for one that a hook met
        if progress is not None:
            progress.advance()

    def close(self) -> None:
        """Say the counts."""
        counts = self._counts
        if self._as_json:
            write_json({"letters": counts["skipped"]} if self._dry_run else counts)
        elif self._dry_run:
            note(f"{counts['skipped']} letters looked at; nothing was changed")
        else:
            note(", ".join(f"{count} {name}" for name, count in counts.items()))


def _groups(store: DeadLetterStore, filters: LetterFilters) -> Iterator[LetterFilters]:
    """Give filters for each error, handler and reason of which these leave any letter."""
    for row in store.summary():
        group: LetterFilters = {
            "error_type": row.error_type or "",
            "handler": row.handler or "",
            "reason": row.reason,
        }
        if any(filters.get(name, value) != value for name, value in group.items()):
            continue
        wanted: LetterFilters = {**filters, **group}
        if any(store.letters(limit=1, **wanted)):
            yield wanted


def _words(replayed: Replayed, dry_run: bool) -> str:
    if replayed.outcome is Outcome.NACKED:
        return f"nacked by {replayed.handler}"
    if replayed.held is not None:
        return f"skipped, claimed {held_by(replayed.held)}"
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
    if replayed.held is not None:
        record["claimed_until"] = replayed.held.expires
        record["claimed_by"] = replayed.held.owner or None
    outcome = replayed.outcome
    return {**record, "outcome": outcome.value if outcome is not None else "skipped"}
