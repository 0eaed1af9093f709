"""Loop tasks: the life of a delivery on the event loop, in one task from first hook to last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .around import batch_steps, closing_steps, delivery_steps, live_bare
from .callables import call_on_loop
from .errors import HandlerCancelled
from .handling import HandlingContext
from .message import Message
from .steps import call_here, run_async

#: Set on a task that the run cancels, to tell it from a handler's own CancelledError.
CANCELLED = "missive_cancelled"


async def live(
    run: Any, contexts: Sequence[HandlingContext[Any]], decided: Callable[[], None]
) -> None:
    """Handle a delivery, or a batch, on the running loop, from its first hook to its last.

    All of it runs in one task, but a plain handler within async hooks, which runs in a thread.

    :param run: the :class:`ProcessingContext`.
    :param contexts: one, or several of one batch handler.
    :param decided: called when the outcomes are planned; the deliveries are settled after that.
    :raises CancelledError: the run cancelled the task.
    """
    for context in contexts:
        run.complete(context)
    raised = partial(raised_here, contexts[0].message)
    call = call_here if not run.hooks.is_async else partial(call_on_loop, run.loop.call)
    if len(contexts) == 1 and is_bare(run, contexts[0]):
        await live_bare(run, contexts[0], raised_here)
    elif len(contexts) == 1:
        await run_async(delivery_steps(run, contexts[0], call), raised)
    else:
        await run_async(batch_steps(run, contexts, call), raised)
    if getattr(asyncio.current_task(), CANCELLED, False):  # and the handler went on regardless
        for context in contexts:
            context.outcome = None
            await run_async(closing_steps(context))
        raise asyncio.CancelledError
    if not run.hooks.delivery.active:
        decided()
        return
    loop = asyncio.get_running_loop()
    settled = [asyncio.Event() for _ in contexts]
    for context, event in zip(contexts, settled, strict=True):
        context._close = partial(loop.call_soon_threadsafe, event.set)
        context._routine = False
    decided()
    for context, event in zip(contexts, settled, strict=True):
        await event.wait()
        await run_async(closing_steps(context), raised)


def is_bare(run: Any, context: HandlingContext[Any]) -> bool:
    """Return whether there is nothing but an async handler to call for a message."""
    if context.error is not None or run.hooks.delivery.active or run.hooks.handling.active:
        return False
    handler = run.handler_of(context)
    return handler is not None and handler.is_async and not handler.in_steps


def raised_here(message: Message, error: BaseException) -> BaseException:
    """Return what a handler's own CancelledError means: a failure of this message."""
    if not isinstance(error, asyncio.CancelledError):
        return error
    if getattr(asyncio.current_task(), CANCELLED, False):
        return error
    return HandlerCancelled(message, error)


def raised_in_callers_task(message: Message, error: BaseException) -> BaseException:
    """Do the same on a loop of the caller's, where somebody else may cancel the task."""
    if not isinstance(error, asyncio.CancelledError):
        return error
    task: Any = asyncio.current_task()
    # Python 3.10 cannot tell; there the cancellation goes on as it came.
    if not hasattr(task, "cancelling") or task.cancelling():
        return error
    return HandlerCancelled(message, error)
