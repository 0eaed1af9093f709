"""Around: the hooks, the breaker and the handler of a delivery, in steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .batch import BatchContext
from .breaker import Breakers
from .error_notes import log_hook_error
from .handling import HandlingContext
from .hooks import Passage, ProcessorHooks
from .matching import Handler, stage_of
from .message import M
from .steps import Steps, awaited


class Run(Protocol[M]):
    """What is needed here of a :class:`ProcessingContext`."""

    hooks: ProcessorHooks
    breakers: Breakers
    match: Callable[[M], Handler[M]]

    def decide(self, context: HandlingContext[M]) -> None:
        """Plan the outcome of a delivery."""
        ...


def delivery_steps(run: Run[M], context: HandlingContext[M]) -> Steps[None]:
    """Match and handle a delivery within its around-delivery hooks, and plan its outcome."""
    context._passage = Passage(run.hooks.delivery, (run, context))
    try:
        yield from context._passage.enter()
    except Exception as error:
        context.fail(error)
    if context.error is None:
        try:
            handler = context.handler = context.handler or run.match(context.message)
        except Exception as error:
            context.fail(error, stage_of(error))
        else:
            yield from handling_steps(run, context, handler)
    run.decide(context)


def closing_steps(context: HandlingContext[Any]) -> Steps[None]:
    """Unwind the around-delivery hooks of a delivery that is settled."""
    passage = context._passage
    assert passage is not None
    yield from passage.exit()
    if passage.error is not None:
        log_hook_error("around_delivery", passage.error)


def handling_steps(run: Run[M], context: HandlingContext[M], handler: Handler[M]) -> Steps[None]:
    """Run a handler within its hooks, and through its breaker."""
    breaker = run.breakers.of_handler(handler)
    if breaker is not None and not breaker.admit():
        context.paused = True
        return
    try:
        if handler.batch is None:
            yield from _call_alone(run, context, handler)
        else:
            yield from _call_together(run, (context,), handler)
    except Exception as error:
        context.fail(error)
    except BaseException:
        if breaker is not None:
            breaker.abandon()
        raise
    if breaker is not None:
        context.paused = breaker.note(context.error)


def _call_alone(run: Run[M], context: HandlingContext[M], handler: Handler[M]) -> Steps[None]:
    with context.open():
        passage = Passage(run.hooks.handling, (run, context), context.fail)
        try:
            yield from passage.enter()
            yield from awaited(handler.function(context.message, context))
        except BaseException as error:
            passage.fail(error)
        yield from passage.exit()
        if passage.error is not None:
            raise passage.error


def batch_steps(run: Run[M], contexts: Sequence[HandlingContext[M]]) -> Steps[None]:
    """Handle the messages of one batch handler together, and plan their outcomes."""
    handler = contexts[0].handler
    assert handler is not None
    for context in contexts:
        context._passage = Passage(run.hooks.delivery, (run, context))
        try:
            yield from context._passage.enter()
        except Exception as error:
            context.fail(error)
    sound = [context for context in contexts if context.error is None]
    breaker = run.breakers.of_handler(handler)
    if breaker is not None and not breaker.admit():
        for context in sound:
            context.paused = True
    elif sound:
        try:
            failure = yield from _call_together(run, sound, handler)
        except BaseException:
            if breaker is not None:
                breaker.abandon()
            raise
        if breaker is not None and breaker.note(failure):
            for context in sound:
                context.paused = context.error is failure
    for context in contexts:
        run.decide(context)


def _call_together(
    run: Run[M], contexts: Sequence[HandlingContext[M]], handler: Handler[M]
) -> Steps[Exception | None]:
    """Call a batch handler within the handling hooks of each message.

    :returns: what the handler raised.
    """
    failure: Exception | None = None
    passages = [Passage(run.hooks.handling, (run, context), context.fail) for context in contexts]
    entered: list[HandlingContext[M]] = []
    try:
        for context, passage in zip(contexts, passages, strict=True):
            context.message._handling = context
            try:
                yield from passage.enter()
                entered.append(context)
            except Exception as error:
                passage.fail(error)
        if entered:
            failure = yield from _call(entered, handler)
        for context, passage in zip(reversed(contexts), reversed(passages), strict=True):
            if context.error is not None and passage.error is None:
                passage.fail(context.error)
            yield from passage.exit()
            if isinstance(passage.error, Exception):
                context.fail(passage.error)
            elif passage.error is not None:
                raise passage.error
    finally:
        for context in contexts:
            context.message._handling = None
    return failure


def _call(contexts: Sequence[HandlingContext[M]], handler: Handler[M]) -> Steps[Exception | None]:
    """Call a batch handler; what it raises fails the messages that it left undecided."""
    assert handler.batch is not None
    try:
        yield from awaited(handler.function([c.message for c in contexts], BatchContext(contexts)))
    except Exception as error:
        undecided = [context for context in contexts if context.decision is None]
        if handler.batch.split_on_error and len(contexts) > 1:
            for context in undecided:
                yield from _call((context,), handler)
        else:
            for context in undecided:
                context.fail(error)
        return error
    return None
