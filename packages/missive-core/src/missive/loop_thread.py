"""The event loop of a run: async handlers, hooks and client libraries live on it, in one thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from .around import batch_steps, closing_steps, delivery_steps
from .errors import HandlerCancelled
from .handling import HandlingContext
from .steps import Steps, run_async, run_plainly

#: Set on a task that the run cancels, to tell it from a handler's own CancelledError.
CANCELLED = "missive_cancelled"

T = TypeVar("T")


class LoopThread:
    """An event loop that runs in a thread of its own until it is closed.

    :param loop_factory: makes the loop, such as ``uvloop.new_event_loop``; asyncio's unless given.
    """

    def __init__(self, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
        self.loop = (loop_factory or asyncio.new_event_loop)()
        self._thread = threading.Thread(target=self._run, name="missive-loop", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop, from any other thread; return its future."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for its result, from any other thread."""
        result: list[T] = []
        failure: list[BaseException] = []

        async def guarded() -> None:
            # Within the task: SystemExit in a task would end the loop's thread.
            try:
                result.append(await coroutine)
            except BaseException as error:
                failure.append(error)

        self.submit(guarded()).result()
        if failure:
            raise failure[0]
        return result[0]

    def wait(self, awaitable: Awaitable[T]) -> T:
        """Await something on the loop, from any other thread, and return its result."""

        async def waiting() -> T:
            return await awaitable

        return self.run(waiting())

    def handle(self, run: Any, context: HandlingContext[Any]) -> None:
        """Handle a delivery on the loop, from any other thread, up to its planned outcome."""
        self._live(lambda decided: live(run, context, decided), (context,))

    def handle_batch(self, run: Any, contexts: Sequence[HandlingContext[Any]]) -> None:
        """Handle a batch on the loop, from any other thread, up to its planned outcomes."""
        self._live(lambda decided: live_together(run, contexts, decided), contexts)

    def _live(
        self,
        begin: Callable[[Callable[[], None]], Coroutine[Any, Any, None]],
        contexts: Sequence[HandlingContext[Any]],
    ) -> None:
        decided: Future[None] = Future()
        task = self.submit(_guarded(begin(lambda: decided.set_result(None)), decided))
        decided.result()
        last = contexts[-1]
        signal = last._close
        if signal is not None:

            def close() -> None:
                signal()
                task.result()

            last._close = close

    def close(self) -> None:
        """Cancel what still runs on the loop, wait for it, and end the thread."""
        self.run(_cancel_others())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


async def _guarded(coroutine: Coroutine[Any, Any, None], decided: Future[None]) -> None:
    # Within the task: SystemExit in a task would end the loop's thread.
    try:
        await coroutine
    except BaseException as error:
        if decided.done():
            raise
        decided.set_exception(error)


async def _cancel_others() -> None:
    me = asyncio.current_task()
    others = [task for task in asyncio.all_tasks() if task is not me]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


async def live(run: Any, context: HandlingContext[Any], decided: Callable[[], None]) -> None:
    """Handle a delivery on the running loop, from its first hook to its last.

    Async handlers and hooks run in this one task. A plain handler, unless a hook around it is
    async, runs in a thread together with its hooks.

    :param run: the :class:`ProcessingContext`.
    :param decided: called when the outcome is planned; the delivery is settled after that.
    :raises CancelledError: the task was cancelled from outside.
    """
    run.complete(context)
    loop = asyncio.get_running_loop()
    variables = copy_context()
    plain = not run.hooks.is_async and _goes_to_plain_handler(run, context)

    async def do(steps: Steps[None]) -> None:
        if plain:
            await loop.run_in_executor(None, variables.run, run_plainly, steps, run.wait)
        else:
            await run_async(steps)

    try:
        await do(delivery_steps(run, context))
    except asyncio.CancelledError as error:
        if getattr(asyncio.current_task(), CANCELLED, False):
            raise
        # The handler raised it, or something it awaited was cancelled: its own failure.
        context.fail(HandlerCancelled(context.message, error))
        run.decide(context)
    if not run.hooks.delivery.active:
        decided()
        return
    settled = asyncio.Event()
    context._close = partial(_signal, loop, settled)
    context._routine = False
    decided()
    await settled.wait()
    await do(closing_steps(context))


def _signal(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    loop.call_soon_threadsafe(event.set)


def _goes_to_plain_handler(run: Any, context: HandlingContext[Any]) -> bool:
    if context.error is None:
        try:
            context.handler = context.handler or run.match(context.message)
        except Exception:  # matched again within the hooks, which then see the error
            return True
    return context.handler is None or not context.handler.is_async


async def live_together(
    run: Any, contexts: Sequence[HandlingContext[Any]], decided: Callable[[], None]
) -> None:
    """Handle a batch on the running loop, as :func:`live` does one delivery.

    :param contexts: messages of one batch handler.
    :param decided: called when their outcomes are planned.
    :raises CancelledError: the task was cancelled from outside.
    """
    loop = asyncio.get_running_loop()
    variables = copy_context()
    handler = contexts[0].handler
    plain = not run.hooks.is_async and handler is not None and not handler.is_async

    async def do(steps: Steps[None]) -> None:
        if plain:
            await loop.run_in_executor(None, variables.run, run_plainly, steps, run.wait)
        else:
            await run_async(steps)

    try:
        await do(batch_steps(run, contexts))
    except asyncio.CancelledError as error:
        if getattr(asyncio.current_task(), CANCELLED, False):
            raise
        for context in contexts:
            context.fail(HandlerCancelled(context.message, error))
            run.decide(context)
    if not run.hooks.delivery.active:
        decided()
        return
    settled = [asyncio.Event() for _ in contexts]
    for context, event in zip(contexts, settled, strict=True):
        context._close = partial(_signal, loop, event)
        context._routine = False
    decided()
    for context, event in zip(contexts, settled, strict=True):
        await event.wait()
        await do(closing_steps(context))
