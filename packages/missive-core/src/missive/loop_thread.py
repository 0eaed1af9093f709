"""The event loop of a run: async handlers, hooks and client libraries live on it, in one thread."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as StillRunning
from contextvars import Context, copy_context
from typing import Any, TypeVar

from .error_notes import place_of
from .errors import HandlerCancelled
from .handling import HandlingContext
from .hooks import Passage
from .loop_tasks import live
from .steps import run_async

logger = logging.getLogger("missive.loop")

#: How long cancelled tasks may take to end, in seconds. What blocks the loop for longer is left.
GRACE = 5.0

T = TypeVar("T")


class LoopThread:
    """An event loop that runs in a thread of its own until it is closed.

    :param loop_factory: makes the loop, such as ``uvloop.new_event_loop``; asyncio's unless given.
    """

    def __init__(self, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
        self.loop = (loop_factory or asyncio.new_event_loop)()
        #: How many plain functions of async runs are called at once, in threads; None: any number.
        self.threads: asyncio.Semaphore | None = None
        #: Called on the loop with SystemExit and its kind, raised by a task of the user's own.
        self.on_crash: Callable[[BaseException], None] | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="missive-loop", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._closing:
            try:
                self.loop.run_forever()
            except BaseException as error:  # which asyncio lets through
                self._crash(error)

    def _crash(self, error: BaseException) -> None:
        if self.on_crash is not None:
            self.on_crash(error)
        else:
            logger.error("a task raised %s at %s", type(error).__name__, place_of(error))

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop, from any other thread; return its future."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine on the loop and wait for its result, from any other thread.

        :raises BaseException: what the coroutine raises.
        """
        done: Future[T] = Future()
        self.submit(_guarded(coroutine, done))
        return done.result(timeout)

    def wait(self, awaitable: Awaitable[T]) -> T:
        """Await something on the loop, from any other thread, and return its result.

        :raises HandlerCancelled: it was cancelled from within.
        """

        async def waiting() -> T:
            try:
                return await awaitable
            except asyncio.CancelledError as error:
                raise HandlerCancelled(None, error) from error

        return self.run(waiting())

    def handle(self, run: Any, contexts: Sequence[HandlingContext[Any]]) -> None:
        """Handle a delivery or a batch on the loop, from any other thread.

        Returns when the outcomes are planned.
        """
        decided: Future[None] = Future()
        live_here = live(run, contexts, lambda: decided.set_result(None))
        task = self.submit(_guarded(live_here, decided))
        decided.result()
        last = contexts[-1]
        signal = last._close
        if signal is not None:

            def close() -> None:
                signal()
                task.result()

            last._close = close

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a plain function in a thread, in a copy of the task's context variables."""
        if self.threads is None:
            return await call_in_thread(function, *args)
        async with self.threads:
            return await call_in_thread(function, *args)

    def close(self) -> None:
        """Cancel what still runs on the loop, wait for it, and end the thread.

        A thread that does not end, since something blocks its loop, is left to the process's end.
        """
        try:
            self.run(_cancel_others(), GRACE)
        except StillRunning:
            logger.error("something blocks the event loop, which cannot be closed")
            return
        self._closing = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


async def call_in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Call a plain function in a thread of its own, in a copy of the task's context variables."""
    # A daemon, unlike the threads of an executor: one that hangs keeps no process from ending.
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
    variables = copy_context()

    def hand_back(result: Any, error: BaseException | None) -> None:
        if not future.done():
            future.set_result((result, error))

    def work() -> None:
        try:
            result, error = variables.run(function, *args), None
        except BaseException as raised:
            result, error = None, raised
        try:
            loop.call_soon_threadsafe(hand_back, result, error)
        except RuntimeError:  # the loop was closed meanwhile, and nobody waits
            logger.debug("a function returned after the end of its run")

    threading.Thread(target=work, name="missive-worker", daemon=True).start()
    result, error = await future
    if error is not None:
        raise error
    return result


async def _guarded(coroutine: Coroutine[Any, Any, T], done: Future[T]) -> None:
    # Within the task: SystemExit in a task would end the loop's thread.
    try:
        result = await coroutine
        if not done.done():
            done.set_result(result)
    except BaseException as error:
        if not done.done():  # else only its last hooks were cut short
            done.set_exception(error)


async def _cancel_others() -> None:
    me = asyncio.current_task()
    others = [task for task in asyncio.all_tasks() if task is not me]
    for task in others:
        task.cancel()
    if others:
        _, pending = await asyncio.wait(others, timeout=GRACE / 2)
        if pending:
            logger.error("%d task(s) did not end when they were cancelled", len(pending))
    await asyncio.get_running_loop().shutdown_asyncgens()


class Lifespan:
    """The processing hooks of a run on its loop: in one task, as timeouts and task groups need.

    :param thread: the loop.
    :param passage: through the hooks.
    """

    def __init__(self, thread: LoopThread, passage: Passage) -> None:
        self._thread = thread
        self._passage = passage
        self._entered: Future[Context] = Future()
        self._leave = asyncio.Event()
        self._task: Future[None] | None = None

    def enter(self) -> Context:
        """Enter the hooks; return the context variables that they left."""
        self._task = self._thread.submit(self._live())
        return self._entered.result()

    def exit(self) -> None:
        """Unwind the hooks, and wait for that."""
        assert self._task is not None
        self._thread.loop.call_soon_threadsafe(self._leave.set)
        self._task.result()

    async def _live(self) -> None:
        await run_async(self._passage.enter())
        self._entered.set_result(copy_context())
        await self._leave.wait()
        await run_async(self._passage.exit())
