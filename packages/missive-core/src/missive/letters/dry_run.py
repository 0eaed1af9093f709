"""Dry run: where a replay would take a letter, without calling a handler."""

from __future__ import annotations

from ..message import M
from ..processor import Processor
from ..run import ProcessingContext
from .letter import DeadLetter
from .replayed import Replayed


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
