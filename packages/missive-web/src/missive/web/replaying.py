"""Replaying: dry runs, one letter of each group, and replays, as jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from missive import (
    Adapter,
    ConfigurationError,
    DeadLetter,
    DeadLetterStore,
    Outcome,
    ProcessingContext,
    Processor,
    ReplayAdapter,
    TestAdapter,
    format_id,
)
from missive.adapters.replay import Replayed
from missive.letters import MAX_ACTION_IDS, Choice, Kind, divide, join, number_of

from .jobs import Job, Tried
from .plans import Plan
from .shown import exact, short_name


@dataclass(frozen=True)
class Target:
    """What letters are replayed by.

    :ivar message_cls: makes a message of a letter's bytes.
    """

    processor: Processor[Any]
    message_cls: Callable[[bytes], Any]

    @classmethod
    def of(
        cls,
        processor: Processor[Any] | Adapter[Any] | None,
        message_cls: Callable[[bytes], Any] | None,
    ) -> Target | None:
        """Return the target that a processor, or an adapter that has one, makes.

        :raises ConfigurationError: the class of its messages is not known.
        """
        if processor is None:
            return None
        if isinstance(processor, Adapter):
            found: Any = message_cls or getattr(processor, "message_cls", None)
            inner: Processor[Any] = processor.processor
        else:
            found, inner = message_cls, processor
        if found is None:
            raise ConfigurationError(
                "DeadLetterApp needs the class of the processor's messages to replay letters: give"
                " message_cls, such as missive.JSONMessage, or an adapter that has one"
            )
        return cls(inner, found)


class Replaying:
    """Replays the letters of a plan.

    :param rate: at most so many letters a second; None sets no limit.
    """

    def __init__(
        self, store: DeadLetterStore, target: Target, plan: Plan, rate: float | None = None
    ) -> None:
        self._store = store
        self._target = target
        self._plan = plan
        self._rate = rate
        self._next = 0.0

    def dry_run(self, job: Job) -> None:
        """Find out which handler each letter would go to; call none."""

        def note(replayed: Replayed) -> None:
            job.count(_would(replayed))
            if replayed.handler is None:
                job.say(replayed.letter, format_id(replayed.letter.id), _would(replayed))

        self._run(job, self._plan.choice, note, dry_run=True)

    def replay(self, job: Job) -> None:
        """Replay all of them."""
        self._run(job, self._plan.choice, lambda replayed: self._note(job, replayed))

    def canary(self, job: Job) -> None:
        """Replay one letter of each group, and keep the groups where it was acked for later."""
        groups = divide(self._store, self._plan.choice)
        job.total = len(groups)
        passed: list[Choice] = []
        for kind, part in groups.items():
            if job.stopping.is_set():
                break
            tried = self._try(job, kind, part)
            if tried is not None:
                passed.append(_without(part, tried.position))
            job.done = len(job.tried)
        job.rest, job.rest_ids = join(self._plan.choice, passed), self._plan.ids

    def _try(self, job: Job, kind: Kind, part: Choice) -> DeadLetter | None:
        """Replay one letter of a group, and return it if it was acked."""
        seen: list[Replayed] = []

        def note(replayed: Replayed) -> None:
            seen.append(replayed)
            if replayed.outcome is not None:
                self._note(job, replayed)

        # The limit leaves out those that are skipped, so this goes on to one that is not.
        self._run(job, part, note, limit=1, group=kind.digits())
        last = seen[-1] if seen else None
        passed = last is not None and last.outcome is Outcome.ACKED
        job.tried.append(
            Tried(
                number_of(kind),
                short_name(kind.error_type),
                kind.handler or "",
                kind.place or kind.reason or "",
                len(part),
                _outcome(last) if last is not None else "it left the store meanwhile",
                passed,
            )
        )
        return last.letter if passed and last is not None else None

    def _run(
        self, job: Job, choice: Choice, note: Callable[[Replayed], None], **which: Any
    ) -> None:
        filters: Any = {name: one for name, one in choice.filters.items() if name != "state"}
        adapter: ReplayAdapter[Any] = ReplayAdapter(
            self._target.message_cls,
            self._target.processor,
            self._store,
            ids=self._plan.ids,
            choice=choice,
            on_progress=lambda replayed: self._pace(job, replayed, note),
            **{**filters, **which},
        )
        job.stop_work = adapter.stop
        if not job.stopping.is_set():
            adapter.run()

    def _pace(self, job: Job, replayed: Replayed, note: Callable[[Replayed], None]) -> None:
        """Note a letter, and wait until the next one may begin."""
        note(replayed)
        if self._rate is None or replayed.outcome is None:
            return
        now = monotonic()
        self._next = max(self._next, now) + 1 / self._rate
        job.stopping.wait(self._next - now)

    def _note(self, job: Job, replayed: Replayed) -> None:
        letter = replayed.letter
        if replayed.outcome is Outcome.ACKED:
            job.count("acked")
        elif replayed.outcome is Outcome.NACKED:
            job.count("nacked")
        elif replayed.outcome is None:
            job.count("left alone: changed or claimed elsewhere meanwhile")
        else:
            job.count("failed again")
        if replayed.outcome is not None and len(job.ids) < MAX_ACTION_IDS:
            job.ids.append(letter.id)
        if replayed.outcome is not Outcome.ACKED:
            job.say(letter, format_id(letter.id), _outcome(replayed))


def _without(choice: Choice, position: int | None) -> Choice:
    """Return a choice without the letter that was replayed already."""
    return Choice(choice.filters, (pair for pair in choice if pair[0] != position))


def _would(replayed: Replayed) -> str:
    if replayed.handler is not None:
        return f"would go to {replayed.handler}"
    if replayed.error is not None:
        return f"cannot be matched: {type(replayed.error).__name__}"
    hits = replayed.explanation.hits if replayed.explanation is not None else ()
    if not hits:
        return "would find no handler"
    return f"would find {len(hits)} handlers: {', '.join(handler.name for handler in hits)}"


def _outcome(replayed: Replayed) -> str:
    if replayed.outcome is Outcome.ACKED:
        return "acked"
    if replayed.outcome is Outcome.NACKED:
        return f"nacked by {replayed.handler}"
    if replayed.outcome is None and replayed.held is not None:
        owner = replayed.held.owner or "another replay"
        return f"claimed by {owner} until {exact(replayed.held.expires)}"
    if replayed.outcome is None:
        return "changed or left the store meanwhile"
    where = f" in {replayed.handler}" if replayed.handler else ""
    return f"failed again{where}: {type(replayed.error).__name__}"


def explain(target: Target, letter: DeadLetter) -> tuple[str, list[tuple[str, str]]]:
    """Return what the processor says of a letter now, and what its matchers say; call no handler.

    :returns: a word (``"one"``, ``"none"``, ``"several"``, ``"raised"``, ``"undecodable"``), and for
        each handler that says something its name and what it says.
    """
    ctx: ProcessingContext[Any] = ProcessingContext(
        target.message_cls, TestAdapter(target.processor), target.processor, holds=True
    )
    try:
        context = ctx.begin(letter.raw_data, letter.delivery())
        if context.error is not None:
            raise context.error
        explanation = target.processor.explain(context.message)
    except (Exception, SystemExit) as error:  # the message class is the user's: anything may come
        return "undecodable", [("", type(error).__name__)]
    said = [(handler.name, "matches") for handler in explanation.hits]
    said += [(one.name, f"raised {type(error).__name__}") for one, error in explanation.raised]
    if explanation.raised:
        return "raised", said
    return {0: "none", 1: "one"}.get(len(explanation.hits), "several"), said
