"""The caller's loop: deliveries handled on an event loop that is not the run's own."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Generic

from .around import closing_steps, delivery_steps, live_bare
from .callables import call_on_loop
from .delivery import Delivery
from .handling import ACKED, HandlingContext
from .lifecycle import set_variables
from .message import M, Message
from .steps import call_here, run_async


class OnCallersLoop(Generic[M]):
    """What a :class:`ProcessingContext` does on the running event loop of its caller."""

    async def adeliver(
        self: Any, delivery: Delivery, threads: AbstractAsyncContextManager[Any]
    ) -> HandlingContext[M]:
        """Do what ``deliver`` does: async handlers on the running loop, plain ones in threads.

        :param threads: entered while a thread is occupied: a semaphore.
        :raises CancelledError: the caller's task was cancelled; the message is unsettled.
        :raises Exception: what left the message unsettled; see the settlement table.
        """
        if self.variables:
            set_variables(self.variables)
        context: HandlingContext[M] = self.begin(delivery.raw_data, delivery)
        if not self.is_async or self.is_plain((context,)):
            await _occupy(threads, _handle_and_settle, self, context)
            return context
        if self.bare:  # the same as its steps, where it stands alone (benchmarks/asgi.py)
            await live_bare(self, context, _raised)
        else:
            await self.arun(context, partial(call_on_loop, partial(_occupy, threads)))
        simple = self._ack is not None and context._routine and not self._observers
        if simple and context.outcome is ACKED:
            self.settle_one(context)  # as most messages end
        else:
            await self.asettle(context)
        return context

    async def arun(self: Any, context: HandlingContext[M], call: Any = call_here) -> None:
        """Do what ``run`` does, on the running event loop.

        :param call: calls the handler.
        """
        await run_async(delivery_steps(self, context, call), partial(_raised, context.message))

    async def asettle(self: Any, context: HandlingContext[M]) -> None:
        """Do what ``settle`` does for one delivery, on the running event loop.

        A letter is written in a thread, since a store may have to wait for its disk.
        """
        from .loop_thread import call_in_thread

        settle, batch = self._settle, (context,)
        error = settle(batch) if context.letter is None else await call_in_thread(settle, batch)
        await run_async(closing_steps(context))
        await run_async(self._observing_steps(context))
        if error is not None:
            raise error


def _raised(message: Message, error: BaseException) -> BaseException:
    """Return what an error in the caller's task means, where somebody else may cancel the task."""
    from .loop_tasks import raised_in_callers_task  # a plain run imports no asyncio

    return raised_in_callers_task(message, error)


def _handle_and_settle(run: Any, context: HandlingContext[Any]) -> None:
    run.run(context)
    run.settle_one(context)


async def _occupy(threads: AbstractAsyncContextManager[Any], function: Any, *args: Any) -> Any:
    """Call a plain function in a thread, when one is free."""
    from .loop_thread import call_in_thread  # a plain run imports no asyncio

    async with threads:
        return await call_in_thread(function, *args)
