"""Event loop execution: async handlers run as tasks on the run's event loop."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import TimeoutError as StillRunning
from contextlib import contextmanager
from time import monotonic
from typing import Any

from ..around import live_bare
from ..ids import format_id
from ..loop_tasks import CANCELLED, is_bare, live, raised_here
from ..loop_thread import GRACE
from ..message import M
from ..run import ProcessingContext
from .lanes import Job
from .threads import Task, ThreadExecutor

logger = logging.getLogger("missive.polling.event_loop")

#: A handler that keeps the loop from anything else for so many seconds is named in the log.
BLOCKED_AFTER = 1.0


class _Suspect:
    """A task that seems to block the loop.

    :param beat_at: when the loop's beat was last heard, as all times on the monotonic clock.
    :param now: when the task was seen running.
    """

    def __init__(self, task: Any, name: str, beat_at: float, now: float) -> None:
        self.task = task
        self.name = name
        self.beat_at = beat_at
        self.first_seen = self.last_seen = now


class EventLoopExecutor(ThreadExecutor[M]):
    """Runs each job as a task on the run's loop; those of plain handlers go to threads.

    :param ctx: the run.
    :param count: how many plain handlers run at once.
    :param on_done: called whenever a job was handed back, on the loop or in a thread.
    """

    def __init__(self, ctx: ProcessingContext[M], count: int, on_done: Callable[[], None]) -> None:
        handlers = ctx.processor.router.handlers
        #: Whether every job needs the loop, so that none has to be matched in advance.
        self._all_async = ctx.hooks.is_async or all(handler.is_async for handler in handlers)
        self.builds = self._all_async
        super().__init__(ctx, 0 if self._all_async else count, on_done)
        self._thread = ctx.loop
        self._thread.on_crash = self._crash
        self._loop = ctx.loop.loop
        self._new: deque[Task[M]] = deque()
        self._grouping = False
        self._handed: deque[Task[M]] = deque()
        self._beat_at = monotonic()
        self._suspect: _Suspect | None = None
        self._warned = False
        self._loop.call_soon_threadsafe(self._begin, count)

    def _begin(self, count: int) -> None:
        self._thread.threads = asyncio.Semaphore(count)
        self._beat()

    def _enqueue(self, task: Task[M]) -> None:
        if not self._all_async and self._ctx.is_plain(task.job):
            super()._enqueue(task)
            return
        self._new.append(task)
        if not self._grouping and len(self._new) == 1:  # else the loop is on its way here already
            self._wake_loop()

    def _wake_loop(self) -> None:
        # In a copy of this thread's context variables, which are the run's.
        self._loop.call_soon_threadsafe(self._start)

    @contextmanager
    def together(self) -> Generator[None]:
        """Wake the loop once, at the end: each time takes as long as a handler or two."""
        self._grouping = True
        try:
            yield
        finally:
            self._grouping = False
            if self._new:
                self._wake_loop()

    def _start(self) -> None:
        bare = self._ctx.bare
        while self._new:
            task = self._new.popleft()
            if self._halted and not task.last:
                self._hand_back(task)
            else:
                task.started = True
                live_task = self._live_bare if bare and len(task.job) == 1 else self._live
                task.asyncio_task = self._loop.create_task(live_task(task))

    async def _live_bare(self, task: Task[M]) -> None:
        """Do what ``_live`` does, where most often only an async handler is to be called."""
        run, context = self._ctx, task.job[0]
        if not is_bare(run, context):
            await self._live(task)
            return
        try:
            await live_bare(run, context, raised_here)
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # raised by run(), in the receiving thread
            task.crash = error
        else:
            if getattr(task.asyncio_task, CANCELLED, False):  # and it went on regardless
                context.outcome = None
            else:
                task.finished = True
        self._hand_back(task)

    async def _live(self, task: Task[M]) -> None:
        def decided() -> None:
            task.finished = True
            self._hand_back(task)

        try:
            await live(self._ctx, task.job, decided)
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # raised by run(), in the receiving thread
            task.crash = error
        if not task.finished:  # else only its last hooks were cut short
            self._hand_back(task)

    def _hand_back(self, task: Task[M]) -> None:
        # Together with what else finishes in this turn of the loop: to wake the receiving thread for
        # each takes longer than a short handler (benchmarks/redis_streams.py).
        self._handed.append(task)
        if len(self._handed) == 1 and not self._loop.is_closed():
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        self._done.put(None)  # ends the wait of collect
        self._on_done()

    @property
    def has_finished(self) -> bool:
        """Whether there is something to collect."""
        return bool(self._handed) or super().has_finished

    def _crash(self, error: BaseException) -> None:
        self.crashes.append(error)
        self._done.put(None)
        self._on_done()

    def collect(self, timeout: float) -> list[Job[M]]:
        """Return finished jobs; wait for one, or for ``halt``, if there is nothing."""
        self._look_for_blocking()
        wait = 0.0 if self._handed else min(timeout, BLOCKED_AFTER / 8)
        finished = super().collect(wait)
        while self._handed:
            task = self._handed.popleft()
            if task in self._tasks:  # not where cancel gave it up
                self._finish(task, finished)
        return finished

    # A handler that blocks the loop.

    def _beat(self) -> None:
        now = monotonic()
        self._warn_of_blocking(now)
        self._beat_at = now
        self._beating = self._loop.call_later(BLOCKED_AFTER / 4, self._beat)

    def _look_for_blocking(self) -> None:
        """Find out who blocks the loop, while it does."""
        now, beat_at, suspect = monotonic(), self._beat_at, self._suspect
        if self._warned or now - beat_at < BLOCKED_AFTER / 4:
            return
        current: Any = asyncio.current_task(self._loop)
        if suspect is not None and suspect.task is current and suspect.beat_at == beat_at:
            suspect.last_seen = now
            self._warn_of_blocking(now)
            return
        for task in list(self._tasks):
            if task.asyncio_task is current and current is not None and task.job[0].handler:
                self._suspect = _Suspect(current, task.job[0].handler.name, beat_at, now)

    def _warn_of_blocking(self, now: float) -> None:
        """Name what was seen to keep the loop since its last beat: it alone, not many in turn."""
        suspect = self._suspect
        if self._warned or suspect is None or suspect.beat_at != self._beat_at:
            return
        seen = suspect.last_seen - suspect.first_seen
        if now - self._beat_at < BLOCKED_AFTER or seen < BLOCKED_AFTER / 4:
            return
        self._warned = True
        logger.warning(
            "%s blocks the event loop for over %g s, so no other message is handled; await"
            " what takes long, or make it a plain function, which runs in a thread",
            suspect.name,
            BLOCKED_AFTER,
        )

    # The end.

    def cancel(self) -> None:
        """Cancel every task, and wait for their ``finally`` blocks; none of them is settled."""
        super().cancel()
        cancelled = [task for task in self._tasks if task.asyncio_task and not task.finished]
        ids = [format_id(c.message.message_id) for task in cancelled for c in task.job]
        if not ids:
            return
        logger.warning("cancelled at the drain deadline, unsettled: %s", ", ".join(ids))
        try:
            self._thread.run(_cancel([task.asyncio_task for task in cancelled]), GRACE)
        except StillRunning:
            logger.error("a handler blocks the event loop, so none can be cancelled")

    def join(self) -> None:
        """Wait for the threads, and end the beat; the run closes its loop."""
        super().join()
        self._loop.call_soon_threadsafe(lambda: self._beating.cancel())


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        setattr(task, CANCELLED, True)
        task.cancel()
    _, pending = await asyncio.wait(tasks, timeout=GRACE / 2)
    if pending:
        logger.error("%d handler(s) went on although they were cancelled", len(pending))
