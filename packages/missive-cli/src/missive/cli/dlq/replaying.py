"""Replaying the letters of one command: all of them, or one of each group first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from missive import DeadLetterStore, MissiveError, Outcome, format_id
from missive.adapters.replay import ReplayAdapter, Replayed, ReplayResult
from missive.letters import Choice, Kind, LetterFilters, divide, join, number_of

from ..exits import Failed, ReaderGone, kind_and_place
from ..targets import Target
from ..terminal import escaped, note, plural, write, write_json
from .progress import Bar, bar
from .store import held_by


class Replaying:
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

    def canary(self) -> None:
        """Replay one letter of each group, then the others of the groups whose letter was acked."""
        groups = divide(self._store, self._choice)
        passed: list[Choice] = []
        failed: list[str] = []
        with bar(self._bounded(len(self._choice)), "replaying") as progress:
            for kind, group in groups.items():
                if self._left == 0 or self._stopped:
                    break
                if self._try(kind, group, progress):
                    passed.append(group)
                else:
                    failed.append(number_of(kind))
                    progress.advance(len(group) - 1)
            self._say_what_failed(failed)
            self._counts["skipped"] = 0  # these are counted again among the others
            if passed and self._left != 0 and not self._stopped:
                rest = join(self._choice, passed)
                self._run(progress, rest, limit=self._left, **self._choice.filters)

    def _try(self, kind: Kind, group: Choice, progress: Bar) -> bool:
        """Replay one letter of a group, and return whether it was acked."""
        narrowed: LetterFilters = {**group.filters, "group": kind.digits()}
        # The limit leaves out those that are skipped, so this goes on to one that is not.
        result = self._run(None, group, limit=1, **narrowed)
        progress.advance(1)
        if result.skipped == sum(result) > 0:
            note(
                f"every letter of group {number_of(kind)} is claimed by another replay, so none"
                " could be its canary"
            )
            self.failed = True
        return result.acked > 0

    def _say_what_failed(self, failed: list[str]) -> None:
        if self._stopped:
            note("stopped; the other letters were not touched")
        elif len(failed) == 1:
            note(f"the canary failed in group {failed[0]}; its other letters were not touched")
        elif failed:
            groups = ", ".join(failed)
            note(f"the canary failed in groups {groups}; their other letters were not touched")

    def all(self, ids: Sequence[bytes] | None) -> None:
        """Replay all letters that the filters leave, or those of them with these ids."""
        if self._left == 0:
            return
        with bar(self._bounded(len(self._choice)), "replaying") as progress:
            self._run(progress, self._choice, ids=ids, limit=self._left, **self._choice.filters)

    def _bounded(self, total: int) -> int:
        return total if self._left is None else min(self._left, total)

    def _run(self, progress: Bar | None, choice: Choice, **which: Any) -> ReplayResult:
        """Replay letters, say what became of each, and count them.

        :param progress: moved on at each letter.
        :param choice: the letters, as they stood.
        :param which: filters and a limit.
        :raises Failed: a handler or a hook ended it.
        :raises MissiveError: what else ended it.
        """
        adapter: ReplayAdapter[Any] = ReplayAdapter(
            self._target.message_cls,
            self._target.processor,
            self._store,
            choice=choice,
            dry_run=self._dry_run,
            on_progress=partial(self._tell, progress),
            **which,
        )
        adapter.shutdown_handler.callback = self._note_stop
        try:
            return adapter.run()
        except (MissiveError, ReaderGone):
            raise
        except SystemExit as error:
            raise Failed(
                f"a handler or hook ended the program (SystemExit {error.code}); the letter in"
                " flight stays in the store"
            ) from error
        except Exception as error:
            raise Failed(
                f"the replay ended with {kind_and_place(error)}; the letter in flight stays in the"
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
            progress.advance(1)

    def close(self) -> None:
        """Say the counts."""
        counts = self._counts
        if self._as_json:
            write_json({"letters": counts["skipped"]} if self._dry_run else counts)
        elif self._dry_run:
            note(f"{plural(counts['skipped'], 'letter')} looked at; nothing was changed")
        else:
            note(", ".join(f"{count} {name}" for name, count in counts.items()))


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
