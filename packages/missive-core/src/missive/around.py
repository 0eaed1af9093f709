"""Around: the hooks, the breaker and the handler of a delivery, in steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, Protocol

from .batch import BatchContext
from .breaker import Breakers, BreakerState
from .error_notes import log_hook_error
from .handling import ACKED, HandlingContext
from .hooks import Passage, ProcessorHooks
from .matching import Handler
from .message import M
from .steps import Call, Steps, call_here


class Run(Protocol[M]):
    """What is needed here of a :class:`ProcessingContext`."""

    hooks: ProcessorHooks
    breakers: Breakers
    timed: bool

    def handler_of(self, context: HandlingContext[M]) -> Handler[M] | None:
        """Return the handler of a delivery."""
        ...

    def decide(self, context: HandlingContext[M]) -> None:
        """Plan the outcome of a delivery."""
        ...


def delivery_steps(run: Run[M], context: HandlingContext[M], call: Call = call_here) -> Steps[None]:
    """Match and handle a delivery within its around-delivery hooks, and plan its outcome.

    :param call: calls the handler.
    """
    context._started = perf_counter()
    try:
        if run.hooks.delivery.active:
            yield from _enter_delivery(run, context)
        handler = run.handler_of(context)
        if handler is not None and context.error is None:
            yield from _guarded(run, (context,), handler, call)
    except BaseException as error:
        yield from _abandon(context, error)
        raise
    run.decide(context)


async def live_bare(
    run: Run[M], context: HandlingContext[M], raised: Callable[[M, BaseException], BaseException]
) -> None:
    """Do what ``delivery_steps`` does, where an async handler is alone: in a third of the time.

    :param raised: returns what an error that the handler raised means.
    """
    if run.timed:
        context._started = perf_counter()
    message, handler = context.message, context.handler
    assert handler is not None
    message._handling = context
    try:
        await handler.function(message, context)
    except BaseException as given:
        error = raised(message, given)
        if not isinstance(error, Exception):
            raise
        context.fail(error)
    finally:
        message._handling = None
    if context._decision is ACKED and context.error is None and not run.timed:
        context.outcome = ACKED  # as most messages end, without another call
    else:
        run.decide(context)


def _enter_delivery(run: Run[M], context: HandlingContext[M]) -> Steps[None]:
    passage = context._passage = Passage(run.hooks.delivery, (run, context))
    yield from passage.enter()
    # The hooks that were entered see the outcome of a failed delivery, not its error.
    error, passage.error = passage.error, None
    if isinstance(error, Exception):
        context.fail(error)
    elif error is not None:
        raise error


def _abandon(context: HandlingContext[M], error: BaseException) -> Steps[None]:
    """Unwind the around-delivery hooks of a delivery that will not be settled: the run ends."""
    passage, context._passage = context._passage, None
    if passage is not None:
        passage.fail(error)
        yield from passage.exit()


def closing_steps(context: HandlingContext[Any]) -> Steps[None]:
    """Unwind the around-delivery hooks of a delivery that is settled."""
    passage, context._passage = context._passage, None
    if passage is None:
        return
    yield from passage.exit()
    if passage.error is not None:
        log_hook_error("around_delivery", passage.error)


def _call_alone(
    run: Run[M], context: HandlingContext[M], handler: Handler[M], call: Call
) -> Steps[None]:
    """Call a handler within its hooks; an Exception is kept as the error of the context."""
    active = run.hooks.handling.active
    passage = Passage(run.hooks.handling, (run, context), context.fail)
    with context.open():
        if active:
            yield from passage.enter()
        if passage.error is None:
            try:
                yield from call(handler.function, context.message, context)
            except BaseException as error:
                passage.fail(error)
        if active:
            yield from passage.exit()
    if passage.error is not None and not isinstance(passage.error, Exception):
        raise passage.error


def batch_steps(
    run: Run[M], contexts: Sequence[HandlingContext[M]], call: Call = call_here
) -> Steps[None]:
    """Handle the messages of one batch handler together, and plan their outcomes.

    :param call: calls the handler.
    """
    handler = contexts[0].handler
    assert handler is not None
    sound = contexts
    try:
        if run.timed:
            for context in contexts:
                context._started = perf_counter()
                if run.hooks.delivery.active:
                    yield from _enter_delivery(run, context)
            sound = [context for context in contexts if context.error is None]
        if sound:
            yield from _guarded(run, sound, handler, call)
    except BaseException as error:
        for context in reversed(contexts):
            yield from _abandon(context, error)
        raise
    for context in contexts:
        if context._decision is ACKED and context.error is None and not run.timed:
            context.outcome = ACKED  # as most messages end, without another call
        else:
            run.decide(context)


def _guarded(
    run: Run[M], contexts: Sequence[HandlingContext[M]], handler: Handler[M], call: Call
) -> Steps[None]:
    """Call a handler within its hooks, and through its breaker, which judges each message."""
    breaker = run.breakers.of_handler(handler)
    if breaker is not None and not breaker.admit():
        for context in contexts:
            context.paused = True
        return
    try:
        if handler.batch is None:
            yield from _call_alone(run, contexts[0], handler, call)
        else:
            yield from _call_together(run, contexts, handler, call)
    except BaseException:
        if breaker is not None:
            breaker.abandon()
        raise
    if breaker is not None:
        _note_outage(breaker, contexts)


def _note_outage(breaker: BreakerState, contexts: Sequence[HandlingContext[Any]]) -> None:
    if len(contexts) == 1:
        contexts[0].paused = breaker.note(contexts[0].error)
        return
    failed = [context for context in contexts if context.error is not None]
    if not failed:
        breaker.note(None)
    for context in failed:
        context.paused = breaker.note(context.error)
    if breaker.is_open:  # by a later message of this batch: all of them met the same outage
        for context in failed:
            context.paused = context.paused or breaker.breaker.covers(context.error)


def _call_together(
    run: Run[M], contexts: Sequence[HandlingContext[M]], handler: Handler[M], call: Call
) -> Steps[None]:
    """Call a batch handler within the handling hooks of each message.

    :raises BaseException: what is not an Exception, after all hooks were unwound.
    """
    for context in contexts:
        context.message._handling = context
    try:
        if run.hooks.handling.active:
            yield from _call_within_hooks(run, contexts, handler, call)
        else:
            yield from _call(contexts, handler, call)
    finally:
        for context in contexts:
            context.message._handling = None


def _call_within_hooks(
    run: Run[M], contexts: Sequence[HandlingContext[M]], handler: Handler[M], call: Call
) -> Steps[None]:
    begun: list[tuple[HandlingContext[M], Passage]] = []
    fatal: BaseException | None = None
    for context in contexts:
        passage = Passage(run.hooks.handling, (run, context), context.fail)
        begun.append((context, passage))
        yield from passage.enter()
        if passage.error is not None and not isinstance(passage.error, Exception):
            fatal = passage.error
            break
    entered = [context for context, passage in begun if passage.error is None]
    if entered and fatal is None:
        try:
            yield from _call(entered, handler, call)
        except BaseException as error:
            fatal = error
    for context, passage in reversed(begun):
        failure = fatal or context.error
        if failure is not None:
            passage.fail(failure)
        yield from passage.exit()
        if passage.error is not None and not isinstance(passage.error, Exception):
            fatal = fatal or passage.error
    if fatal is not None:
        raise fatal


def _call(contexts: Sequence[HandlingContext[M]], handler: Handler[M], call: Call) -> Steps[None]:
    """Call a batch handler; what it raises fails the messages that it left undecided."""
    assert handler.batch is not None
    messages = [context.message for context in contexts]
    try:
        yield from call(handler.function, messages, BatchContext(contexts))
    except Exception as error:
        undecided = [context for context in contexts if context.decision is None]
        if handler.batch.split_on_error and len(contexts) > 1:
            for context in undecided:
                yield from _call((context,), handler, call)
        else:
            for context in undecided:
                context.fail(error)
