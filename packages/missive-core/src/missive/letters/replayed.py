"""Replayed: what a replay did, with one letter and in all."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..handling import ACKED, DEAD_LETTERED, DEFERRED, NACKED, Outcome
from ..matching import Explanation
from ..message import M
from ..processor import Processor
from ..run import ProcessingContext
from .claim import Claim
from .letter import DeadLetter


class ReplayResult(NamedTuple):
    """What a replay did.

    :ivar acked: letters whose message was acked; they are gone from the store, but for one that
        failed or was replaced elsewhere while it was handled: that stays, and is logged.
    :ivar failed: letters that failed again; their failure was appended.
    :ivar nacked: letters whose handler nacked; they are as before.
    :ivar skipped: letters that somebody else was replaying, or that failed elsewhere or were
        removed since the run started; in a dry run, every letter.
    """

    acked: int = 0
    failed: int = 0
    nacked: int = 0
    skipped: int = 0


class Replayed(NamedTuple):
    """One letter of a replay, as ``on_progress`` is told of it.

    :ivar outcome: what was done; None for a letter that was skipped, and in a dry run.
    :ivar handler: the name of the handler it went to, or in a dry run would go to; None where that
        is none, or several.
    :ivar error: what it failed by; in a dry run, what building or matching it raised.
    :ivar explanation: in a dry run, which matchers hit and which raised; None where the message
        could not be built.
    :ivar result: the counts so far, this letter included.
    :ivar held: the claim of another for which it was skipped, where the store can say.
    """

    letter: DeadLetter
    outcome: Outcome | None = None
    handler: str | None = None
    error: Exception | None = None
    explanation: Explanation[Any] | None = None
    result: ReplayResult = ReplayResult()
    held: Claim | None = None

    def __repr__(self) -> str:
        return f"<Replayed {self.letter!r}: {self.outcome}>"


def would_be_replayed(
    letter: DeadLetter, ctx: ProcessingContext[M], processor: Processor[M]
) -> Replayed:
    """Return which handler a letter would go to, or what building or matching it raised.

    :param ctx: a run that was not entered, so that no hook connects to something or writes.
    """
    context = ctx.begin(letter.raw_data, letter.delivery())
    if context.error is not None:
        return Replayed(letter, error=context.error)
    explanation = processor.explain(context.message)
    handler = explanation.handler
    error = explanation.raised[0][1] if explanation.raised else None
    return Replayed(letter, None, handler.name if handler else None, error, explanation)


#: Under which name of a result an outcome is counted.
COUNTED_AS = {ACKED: "acked", DEAD_LETTERED: "failed", DEFERRED: "failed", NACKED: "nacked"}
