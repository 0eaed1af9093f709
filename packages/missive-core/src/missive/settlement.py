"""Settlement: every delivery ends in one way, by the rules of one table.

:func:`decide` plans, from what happened, what is to be done, and writes nothing. :func:`settle`
does it: dead and deferred letters first, all of a batch together, and only then acks and nacks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from .breaker import Breakers, BreakerState
from .error_notes import named, note_later_error
from .errors import (
    BreakerOpen,
    DeadLetterWriteFailed,
    MessageRejected,
    NackUnsupported,
    NotSettled,
    SettlementFailed,
)
from .handling import ACKED, DEAD_LETTERED, DEFERRED, NACKED, HandlingContext
from .ids import format_id
from .letters.store import DLQ, DeadLetterStore
from .message import M
from .retry import Retry
from .waiting import Settles, letter_of, plan_pause, plan_wait

logger = logging.getLogger("missive.settlement")


def decide(
    context: HandlingContext[M],
    adapter: Settles,
    dlq: DLQ | None,
    retry: Retry | None,
    breakers: Breakers,
    *,
    holds: bool = False,
) -> None:
    """Plan what is to be done with a delivery: the settlement table, and its only place.

    :param retry: the policy of its handler, or else of the processor.
    :param breakers: those of the run.
    :param holds: whether this process can keep a message unsettled until it is due.
    """
    error, decision = context.error, context.decision
    if error is None and decision is ACKED:
        context.outcome = ACKED
        return
    breaker = breakers.of_handler(context.handler)
    if breaker is not None and context.paused:
        # To a store where other handlers go on; else it waits here, and the intake with it.
        store = dlq if not holds or breakers.any_up() else None
        if not plan_pause(context, adapter, store, retry, breaker, holds=holds):
            context.fail(context.error or BreakerOpen(context.message))
        return
    if error is None and decision is NACKED:
        in_place = _delay_by_adapter(context, adapter) if holds else False
        if context.delay is None and adapter.capabilities.nack != "drop-refused":
            context.outcome = NACKED
            return
        if context.delay is not None and plan_wait(context, adapter, dlq, in_place, holds):
            return
        error = NackUnsupported(context.message, adapter)
        context.fail(error, "settling")
    elif error is None:  # nothing was raised: a fault of the handler, which no retry mends
        error = NotSettled(context.message, context.handler.name if context.handler else None)
        context.fail(error)
        retry = breaker = None
    if context.stage == "handling" and _is_tried_again(
        context, error, adapter, dlq, retry, breaker, holds
    ):
        return
    context.delay = None
    if dlq is None:
        context.outcome = None
    else:
        context.letter = letter_of(context, error)
        context.outcome = DEAD_LETTERED


def _is_tried_again(
    context: HandlingContext[M],
    error: Exception,
    adapter: Settles,
    dlq: DLQ | None,
    retry: Retry | None,
    breaker: BreakerState | None,
    holds: bool,
) -> bool:
    """Plan another attempt at a message that failed, where its policies have one left."""
    attempt = context.attempt
    if retry is not None and attempt < retry.attempts and retry.covers(error):
        context.delay = retry.delay_after(attempt)
        if plan_wait(context, adapter, dlq, retry.in_order, holds):
            return True
    if breaker is None or not breaker.excuses(error, context.message.message_id):
        return False
    return plan_pause(context, adapter, dlq, retry, breaker, holds=holds)


def _delay_by_adapter(context: HandlingContext[Any], adapter: Any) -> bool:
    """Delay a nack as the adapter has it; return whether later messages of its key wait behind it."""
    delay: float | None = getattr(adapter, "nack_delay", None)
    if context.delay is not None or delay is None:
        return False
    context.delay = delay
    return getattr(adapter, "ordering_key", None) is not None


def settle(
    batch: Sequence[HandlingContext[M]],
    adapter: Settles,
    dlq: DLQ | None,
    sends: Callable[[HandlingContext[M]], bool],
    elsewhere: AbstractContextManager[None],
) -> Exception | None:
    """Carry plans out: write the letters of all, then tell the adapter.

    The outcome of a context that could not be settled becomes None.

    :param sends: returns whether a settlement may be sent: not on behalf of a lost connection.
    :param elsewhere: entered while a store is written to, so that the transport is kept alive.
    :returns: the first error to raise.
    """
    errors: list[Exception] = []
    told: list[HandlingContext[M]] = []
    refused: dict[HandlingContext[M], Exception] = {}
    letters = [context for context in batch if context.letter is not None]
    if letters:
        with elsewhere:
            refused = _write_letters(letters, dlq)
    if refused:
        failed, cause = next(iter(refused.items()))
        errors.append(_write_failure(failed, dlq, cause, len(refused)))
    for context in batch:
        if context.held:
            continue
        if context.letter is not None and dlq is None:  # it was taken away meanwhile
            context.outcome = None
        if context in refused:
            context.outcome = None
        elif context.outcome is None:
            if context.error is not None:
                errors.append(context.error)
        elif sends(context):
            told.append(context)
        else:
            context.outcome = None
    # Behind the others: a run may recover from an ack that failed, from the others it cannot.
    errors += _tell(told, adapter, elsewhere)
    for later in errors[1:]:
        note_later_error(errors[0], later)
    return errors[0] if errors else None


def _tell(
    batch: list[HandlingContext[M]], adapter: Settles, elsewhere: AbstractContextManager[None]
) -> Iterable[Exception]:
    """Tell the adapter, and whatever else settles some of the deliveries."""
    groups: dict[Any, list[HandlingContext[M]]] = {}
    for context in batch:
        groups.setdefault(context.delivery.settler or adapter, []).append(context)
    for settler, group in groups.items():
        with nullcontext() if settler is adapter else elsewhere:
            error = tell(group, settler)
        if error is not None:
            yield error


def tell(batch: Sequence[HandlingContext[M]], adapter: Settles) -> SettlementFailed | None:
    """Tell an adapter of outcomes, all together; return the error if it did not take them."""
    try:
        adapter.settle(batch)
    except Exception as error:
        return _settlement_failure(batch, error)
    return None


def _settlement_failure(batch: Sequence[HandlingContext[M]], error: Exception) -> SettlementFailed:
    """Return the error of a settlement that the transport did not take."""
    if isinstance(error, SettlementFailed):
        return error
    for context in batch:
        context.outcome = None
    failure = SettlementFailed(batch[0].message, "settlement")
    failure.__cause__ = error
    return failure


def _write_letters(
    batch: Sequence[HandlingContext[M]], dlq: DLQ | None
) -> dict[HandlingContext[M], Exception]:
    """Write the letters of a batch; return the contexts whose letter was refused, and by what."""
    dead = [context for context in batch if context.outcome is DEAD_LETTERED]
    deferred = [context for context in batch if context.outcome is DEFERRED and context.letter]
    refused: dict[HandlingContext[M], Exception] = {}
    if isinstance(dlq, DeadLetterStore):
        for contexts, write in ((dead, dlq.put_many), (deferred, dlq.defer)):
            if not contexts:
                continue
            try:
                write([context.letter for context in contexts if context.letter])
            except Exception as error:
                refused.update(dict.fromkeys(contexts, error))
    elif dlq is not None:
        for context in dead:
            assert context.letter is not None
            try:
                dlq[context.letter.id] = (context.message, context.letter.reason)
            except Exception as error:
                refused[context] = error
    for context in dead + deferred:
        if context not in refused:
            _log_letter(context)
    return refused


def _write_failure(
    context: HandlingContext[M], dlq: Any, cause: Exception, count: int
) -> DeadLetterWriteFailed:
    """Chain a failed write to what the DLQ raised, and that to what the message failed by."""
    original = context.error or cause
    failure = DeadLetterWriteFailed(context.message, dlq, original, count)
    failure.__cause__ = cause
    last: BaseException = cause
    seen = {id(failure), id(cause), id(original)}
    while (deeper := last.__cause__ or last.__context__) is not None and id(deeper) not in seen:
        seen.add(id(deeper))
        last = deeper
    if last is not original:
        last.__context__ = original
    logger.critical(
        "could not write %d dead letter(s), the first %s: %s; not acked",
        count,
        format_id(context.message.message_id),
        named(cause),
    )
    return failure


def _log_letter(context: HandlingContext[M]) -> None:
    letter, error = context.letter, context.error
    assert letter is not None
    if context.outcome is DEFERRED:
        logger.log(
            # The breaker logs each change; what it refuses is not logged too.
            logging.DEBUG if context.paused and error is None else logging.INFO,
            "deferred %s for %.3g s after attempt %d: handler %s, %s",
            format_id(letter.id),
            context.delay,
            letter.attempt,
            letter.handler or "none",
            "nacked" if error is None else named(error),
        )
        return
    assert error is not None
    logger.warning(
        "dead-lettered %s: stage %s, %s, %s",
        format_id(letter.id),
        letter.stage,
        "no handler" if letter.handler is None else f"handler {letter.handler}",
        letter.reason if type(error) is MessageRejected else named(error),
    )
    logger.debug("%s failed by", format_id(letter.id), exc_info=error)
