"""Settlement: every delivery ends exactly once, by the rules of one table.

:func:`judge` decides, from what happened, what is to be done, and writes nothing. :func:`settle`
does it: dead letters first, all of a batch together, and only then acks and nacks.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic

from .errors import (
    DeadLetterWriteFailed,
    MissiveError,
    NackUnsupported,
    NotSettled,
    SettlementFailed,
)
from .hooks import note_later_error, place_of
from .letters import DLQ, DeadLetter, DeadLetterStore, Stage
from .loggers import logger_of
from .messages import M, format_id

if TYPE_CHECKING:
    from .adapter import Adapter

logger = logger_of("missive.settlement")


class Outcome(enum.Enum):
    """What was done with a delivery."""

    ACKED = "acked"
    NACKED = "nacked"
    DEAD_LETTERED = "dead-lettered"

    def __repr__(self) -> str:
        return f"Outcome.{self.name}"


ACKED = Outcome.ACKED
NACKED = Outcome.NACKED
DEAD_LETTERED = Outcome.DEAD_LETTERED


class Verdict(Generic[M]):
    """What is to be done with a message; nothing of it was done yet.

    :ivar message: the message; a RawMessage where it could not be built.
    :ivar decision: the outcome it is to have, or None where ``error`` is to be raised.
    :ivar letter: the dead letter to write before the ack, if any.
    :ivar error: what went wrong, if anything did; raised by ``settle`` where there is no letter.
    :ivar handler: the name of the handler that was called, if one was.
    :ivar seconds: how long it took; 0.0 where nobody asked (no ``on_settled`` hook).
    """

    __slots__ = ("decision", "error", "handler", "letter", "message", "seconds")

    def __init__(
        self,
        message: M,
        decision: Outcome | None,
        *,
        letter: DeadLetter | None = None,
        error: Exception | None = None,
        handler: str | None = None,
        seconds: float = 0.0,
    ) -> None:
        self.message = message
        self.decision = decision
        self.letter = letter
        self.error = error
        self.handler = handler
        self.seconds = seconds

    def __repr__(self) -> str:
        what = self.decision.value if self.decision else f"to raise {type(self.error).__name__}"
        return f"<Verdict {what}: {self.message}>"


class Settled(Generic[M]):
    """What ``on_settled`` hooks are told of a delivery.

    :ivar outcome: what was done; None where it stays unsettled.
    :ivar handler: the name of the handler that was called, or None.
    :ivar error: what the message failed by; None where it did not, also where the transport did
        not take its ack.
    :ivar seconds: from the start of matching to the verdict.
    """

    __slots__ = ("error", "handler", "message", "outcome", "seconds")

    def __init__(self, verdict: Verdict[M], outcome: Outcome | None) -> None:
        self.message = verdict.message
        self.outcome = outcome
        self.handler = verdict.handler
        self.error = verdict.error
        self.seconds = verdict.seconds

    def __repr__(self) -> str:
        what = self.outcome.value if self.outcome else "unsettled"
        if self.outcome is None and self.error is not None:
            what = f"unsettled: {type(self.error).__name__}"
        return f"<Settled {what}: {self.message}>"


def judge(
    message: M,
    decision: Outcome | None,
    error: Exception | None,
    stage: Stage,
    handler: str | None,
    adapter: Adapter[M],
    dlq: DLQ | None,
    seconds: float = 0.0,
) -> Verdict[M]:
    """Decide what is to be done: the settlement table, and the only place where it is written.

    :param decision: what handler and hooks said, or None.
    :param error: what went wrong in ``stage``, or None.
    """
    if error is None:
        if decision is NACKED and adapter.capabilities.nack == "drop-refused":
            error, stage = NackUnsupported(message, adapter), "settling"
        elif decision is None:
            error = NotSettled(message, handler)
        else:
            return Verdict(message, decision, handler=handler, seconds=seconds)
    if dlq is None:
        return Verdict(message, None, error=error, handler=handler, seconds=seconds)
    letter = DeadLetter.from_failure(
        message, stage=stage, reason=reason_of(error), error=error, handler=handler
    )
    return Verdict(
        message, DEAD_LETTERED, letter=letter, error=error, handler=handler, seconds=seconds
    )


def reason_of(error: Exception) -> str:
    """Say why a message failed: the text of the error, or its type where that is empty."""
    if isinstance(error, MissiveError) and error.reason is not None:
        return error.reason
    try:
        return str(error) or type(error).__name__
    except Exception:  # a broken __str__ must not lose the message
        return type(error).__name__


def settle(
    verdicts: Sequence[Verdict[M]], adapter: Adapter[M], dlq: DLQ | None
) -> tuple[list[Outcome | None], Exception | None]:
    """Carry verdicts out: write the letters of all, then ack and nack each.

    :returns: the outcome of each, None where it stays unsettled, and the first error to raise.
    """
    refused = _write_letters(verdicts, dlq)
    errors: list[Exception] = []
    if refused:
        failed, cause = next(iter(refused.items()))
        errors.append(_write_failure(failed, dlq, cause, len(refused)))
    outcomes: list[Outcome | None] = []
    untaken: list[Exception] = []
    for verdict in verdicts:
        decision = verdict.decision
        call = "nack" if decision is NACKED else "ack"
        if decision is None or (verdict.letter is not None and dlq is None):
            assert verdict.error is not None
            errors.append(verdict.error)
            decision = None
        elif verdict in refused:
            decision = None
        else:
            try:
                getattr(adapter, call)(verdict.message)
            except Exception as error:
                failure = SettlementFailed(verdict.message, call)
                failure.__cause__ = error
                untaken.append(failure)
                decision = None
        outcomes.append(decision)
    # Behind the others: an adapter may recover from an ack that failed, from the others nobody can.
    errors += untaken
    for later in errors[1:]:
        note_later_error(errors[0], later)
    return outcomes, errors[0] if errors else None


def _write_letters(verdicts: Sequence[Verdict[M]], dlq: DLQ | None) -> dict[Verdict[M], Exception]:
    """Write the letters among the verdicts; give those whose letter was refused, and by what."""
    condemned = [verdict for verdict in verdicts if verdict.letter is not None]
    refused: dict[Verdict[M], Exception] = {}
    if isinstance(dlq, DeadLetterStore):
        if condemned:
            try:
                dlq.put_many([verdict.letter for verdict in condemned if verdict.letter])
            except Exception as error:
                refused = dict.fromkeys(condemned, error)
    elif dlq is not None:
        for verdict in condemned:
            assert verdict.letter is not None
            try:
                dlq[verdict.letter.id] = (verdict.message, verdict.letter.reason)
            except Exception as error:
                refused[verdict] = error
    for verdict in condemned:
        if verdict not in refused:
            _log_dead_letter(verdict)
    return refused


def _write_failure(
    verdict: Verdict[M], dlq: Any, cause: Exception, count: int
) -> DeadLetterWriteFailed:
    """Chain a failed write to what the DLQ raised, and that to what the message failed by."""
    assert verdict.error is not None
    failure = DeadLetterWriteFailed(verdict.message, dlq, verdict.error, count)
    failure.__cause__ = cause
    last: BaseException = cause
    seen = {id(failure), id(cause), id(verdict.error)}
    while (deeper := last.__cause__ or last.__context__) is not None and id(deeper) not in seen:
        seen.add(id(deeper))
        last = deeper
    if last is not verdict.error:
        last.__context__ = verdict.error
    logger.critical(
        "could not write %d dead letter(s), the first %s: %s at %s; not acked",
        count,
        format_id(verdict.message.message_id),
        type(cause).__name__,
        place_of(cause),
    )
    return failure


def _log_dead_letter(verdict: Verdict[M]) -> None:
    letter, error = verdict.letter, verdict.error
    assert letter is not None
    assert error is not None
    logger.warning(
        "dead-lettered %s: stage %s, handler %s, %s at %s",
        format_id(letter.id),
        letter.stage,
        letter.handler,
        type(error).__name__,
        place_of(error),
    )
    logger.debug("%s failed by", format_id(letter.id), exc_info=error)
