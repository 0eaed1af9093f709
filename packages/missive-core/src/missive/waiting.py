"""Waiting: the ways in which a message waits for its next attempt."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from .breaker import BreakerState
from .capabilities import Capabilities
from .errors import ConfigurationError, MissiveError
from .handling import DEFERRED, NACKED, HandlingContext
from .hooks import ProcessorHooks
from .letters.claim import ClaimedDelivery
from .letters.letter import DeadLetter, utc_now
from .letters.store import DLQ, DeadLetterStore
from .matching import Handler, Router
from .message import M
from .retry import Retry

#: The reason of the letter of a message that a breaker refused.
REFUSED = "its handler's breaker is open"
#: The reason of a letter without an error, by whether a breaker gave the message back.
_NO_ERROR = {False: "nacked", True: REFUSED}


class Settles(Protocol):
    """What settlement asks of an adapter, or of whatever else settles a message."""

    capabilities: Capabilities

    def settle(self, batch: Sequence[HandlingContext[Any]]) -> None:
        """Tell the transport what became of deliveries; see ``Adapter.settle``."""
        ...


class Declared(Protocol[M]):
    """What a run needs of a :class:`Processor`."""

    router: Router[M]
    hooks: ProcessorHooks
    dlq: DLQ | None
    retry: Retry | None


def plan_pause(
    context: HandlingContext[M],
    adapter: Settles,
    dlq: DLQ | None,
    retry: Retry | None,
    breaker: BreakerState,
    *,
    holds: bool,
) -> bool:
    """Plan that a message is given back by its breaker, not counted as an attempt.

    :param dlq: where it may wait; None keeps it where it is.
    :returns: False where nothing can keep it.
    """
    capabilities = adapter.capabilities
    in_order = retry is not None and retry.in_order
    was_open, context.paused = context.paused, True  # else an outage may just have begun
    context.delay = breaker.wait_time() if was_open else breaker.breaker.pause
    context.next_attempt = context.attempt
    if isinstance(dlq, DeadLetterStore) and not (in_order and holds):
        if was_open:
            context.delay = breaker.keep_for()
        _defer(context)
    elif holds:
        context.held, context.in_place, context.outcome = True, in_order, DEFERRED
    elif capabilities.nack != "drop-refused" and (capabilities.stable_id or was_open):
        context.outcome = NACKED
    else:
        context.paused = was_open
        return False
    return True


def plan_wait(
    context: HandlingContext[M], adapter: Settles, dlq: DLQ | None, in_order: bool, holds: bool
) -> bool:
    """Plan that a message is handled again after its delay; return False where nothing can wait.

    The ways, in this order: in place, by the transport, by the store, by this process.
    """
    capabilities = adapter.capabilities
    context.next_attempt = context.attempt + 1
    if in_order and holds:
        context.held, context.in_place, context.outcome = True, True, DEFERRED
    elif capabilities.delayed_nack:
        context.outcome = NACKED
    elif isinstance(dlq, DeadLetterStore):
        _defer(context)
    elif capabilities.nack == "error-response":  # the sender has it, and tries again
        context.outcome = NACKED
    elif holds and capabilities.crash_redelivery:
        context.held, context.outcome = True, DEFERRED
    else:
        return False
    return True


def _defer(context: HandlingContext[M]) -> None:
    assert context.delay is not None
    due = utc_now() + timedelta(seconds=context.delay)
    context.letter = letter_of(context, context.error, due, context.next_attempt - 1)
    context.outcome = DEFERRED


def can_wait(capabilities: Capabilities, dlq: DLQ | None, retry: Retry, *, holds: bool) -> bool:
    """Return whether something can keep a message until its retry is due."""
    return (
        (retry.in_order and holds)
        or capabilities.delayed_nack
        or isinstance(dlq, DeadLetterStore)
        or capabilities.nack == "error-response"
        or (holds and capabilities.crash_redelivery)
    )


def letter_of(
    context: HandlingContext[M],
    error: Exception | None,
    due: datetime | None = None,
    attempt: int | None = None,
) -> DeadLetter:
    """Return the letter of a message that failed, or that waits for another attempt.

    :param error: what it failed by, if it did.
    :param due: when it is handled again; None for a dead letter.
    :param attempt: how many attempts were made; the context's own unless given.
    """
    letter = DeadLetter.from_failure(
        context.message,
        stage=context.stage,
        reason=_NO_ERROR[context.paused] if error is None else reason_of(error),
        error=error,
        handler=context.handler.name if context.handler is not None else None,
        attempt=context.attempt if attempt is None else attempt,
        due=due,
    )
    delivery = context.delivery
    return delivery.continued(letter) if isinstance(delivery, ClaimedDelivery) else letter


def check_retries(
    handlers: Sequence[Handler[Any]],
    default: Retry | None,
    adapter: Settles,
    dlq: DLQ | None,
    *,
    holds: bool,
) -> None:
    """Refuse policies that a run could not keep.

    :param default: the policy of handlers without one of their own.
    :raises ConfigurationError: nothing can keep a message until then, or not for so long.
    """
    capabilities, name = adapter.capabilities, type(adapter).__name__
    for handler in handlers:
        retry = handler.retry or default
        if retry is None or retry.attempts == 1:
            continue
        if not can_wait(capabilities, dlq, retry, holds=holds):
            raise ConfigurationError(
                f"{handler.name} has a Retry, but nothing can keep its messages until then:"
                f" {name} cannot delay or redeliver them. Keep them with processor.set_dlq(...)"
                " and a store such as SQLiteDLQ or MemoryDLQ, or use Retry(in_order=True)"
            )
        longest = capabilities.max_delay
        native = capabilities.delayed_nack and not (retry.in_order and holds)
        if native and longest is not None and retry.longest_delay > longest:
            raise ConfigurationError(
                f"{handler.name} has a Retry that waits up to {retry.longest_delay:g} s, but {name}"
                f" can wait {longest:g} s at most; lower max_delay"
            )


def reason_of(error: Exception) -> str:
    """Return why a message failed: the text of the error, or its type where that is empty."""
    try:
        reason = error.reason if isinstance(error, MissiveError) else None
        text = str(error) if reason is None else str(reason)
    except Exception:  # a broken __str__ must not lose the message
        text = ""
    return text or type(error).__name__
