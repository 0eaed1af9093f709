"""Event loop execution: async handlers run as tasks on the run's event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Generic

from ..handling import HandlingContext
from ..ids import format_id
from ..loop_thread import CANCELLED, live, live_together
from ..message import M
from ..run import ProcessingContext
from .executor import Executor
from .lanes import Job

logger = logging.getLogger("missive.polling.event_loop")

#: A handler that keeps the loop from anything else for so many seconds is named in the log.
BLOCKED_AFTER = 1.0


class _Task(Generic[M]):
    """A job on its way across the loop."""

    __slots__ = ("crash", "finished", "job", "started", "task")

    def __init__(self, job: Job[M]) -> None:
        self.job = job
        self.started = False
        self.finished = False
        self.crash: BaseException | None = None
        self.task: asyncio.Task[None] | None = None


class EventLoopExecutor(Executor[M]):
    """Runs each job as a task on the run's loop; plain handlers go to threads.

    :param ctx: the run.
    :param threads: how many plain handlers run at once.
    :param on_done: called on the loop whenever a job was handed back.
    """

    def __init__(
        self, ctx: ProcessingContext[M], threads: int, on_done: Callable[[], None]
    ) -> None:
        super().__init__()
        self._ctx = ctx
        self._on_done = on_done
        self._thread = ctx.loop
        self._loop = ctx.loop.loop
        self._done: SimpleQueue[_Task[M] | None] = SimpleQueue()
        self._tasks: dict[_Task[M], None] = {}
        self._in_flight = 0
        self._halted = False
        self._beat_at = monotonic()
        self._warned = False
        pool = ThreadPoolExecutor(threads, thread_name_prefix="missive-worker")
        self._loop.set_default_executor(pool)
        self._loop.call_soon_threadsafe(self._beat)

    @property
    def in_flight(self) -> int:
        """How many messages were submitted and not yet collected."""
        return self._in_flight

    @property
    def has_finished(self) -> bool:
        """Whether there is something to collect."""
        return not self._done.empty()

    def submit(self, job: Job[M]) -> None:
        """Start a task that handles a job."""
        task = _Task(job)
        self._tasks[task] = None
        self._in_flight += len(job)
        # In a copy of this thread's context variables, which are the run's.
        self._loop.call_soon_threadsafe(self._start, task)

    def _start(self, task: _Task[M]) -> None:
        if self._halted:
            self._hand_back(task)
            return
        task.started = True
        task.task = self._loop.create_task(self._live(task))

    async def _live(self, task: _Task[M]) -> None:
        def decided() -> None:
            task.finished = True
            self._hand_back(task)

        try:
            if len(task.job) == 1:
                await live(self._ctx, task.job[0], decided)
            else:
                await live_together(self._ctx, task.job, decided)
        except asyncio.CancelledError:
            if not task.finished:
                self._hand_back(task)
        except BaseException as error:  # raised by run(), in the receiving thread
            if task.finished:
                raise
            task.crash = error
            self._hand_back(task)

    def _hand_back(self, task: _Task[M]) -> None:
        self._done.put(task)
        self._on_done()

    def collect(self, timeout: float) -> list[Job[M]]:
        """Return finished jobs; wait for one, or for ``halt``, if there are none."""
        self._look_for_blocking()
        finished: list[Job[M]] = []
        try:
            task = self._done.get(timeout=timeout) if timeout > 0 else self._done.get(block=False)
            while True:
                if task is not None and task in self._tasks:
                    self._finish(task, finished)
                task = self._done.get(block=False)
        except Empty:
            return finished

    def _finish(self, task: _Task[M], finished: list[Job[M]]) -> None:
        del self._tasks[task]
        self._in_flight -= len(task.job)
        if task.finished:
            finished.append(task.job)
        elif task.crash is not None:
            self.crashes.append(task.crash)
        elif not task.started:
            self.skipped += task.job

    # A handler that blocks the loop.

    def _beat(self) -> None:
        self._beat_at = monotonic()
        self._beating = self._loop.call_later(BLOCKED_AFTER / 4, self._beat)

    def _look_for_blocking(self) -> None:
        if self._warned or monotonic() - self._beat_at < BLOCKED_AFTER:
            return
        current: Any = asyncio.current_task(self._loop)
        for task in list(self._tasks):
            if task.task is current and current is not None and task.job[0].handler is not None:
                self._warned = True
                logger.warning(
                    "%s blocks the event loop for over %g s, so no other message is handled; await"
                    " what takes long, or make it a plain function, which runs in a thread",
                    task.job[0].handler.name,
                    BLOCKED_AFTER,
                )

    # The end.

    def unsettled(self) -> Sequence[HandlingContext[M]]:
        """Return what was submitted and not yet collected, in order."""
        return list(chain.from_iterable(task.job for task in list(self._tasks)))

    def begun(self) -> list[HandlingContext[M]]:
        """Return what has a task and was not collected."""
        begun = (task.job for task in list(self._tasks) if task.started)
        return list(chain.from_iterable(begun))

    def halt(self) -> None:
        """Let no job begin from now on, and end the wait of ``collect``; also in a signal handler."""
        self._halted = True
        self._done.put(None)

    def close(self) -> None:
        """Let no job begin."""
        self._halted = True

    def cancel(self) -> None:
        """Cancel every task, and wait for their ``finally`` blocks; none of them is settled."""
        cancelled = list(self._tasks)
        ids = [format_id(c.message.message_id) for task in cancelled for c in task.job]
        if ids:
            logger.warning("cancelled at the drain deadline, unsettled: %s", ", ".join(ids))
        self._thread.run(_cancel([task.task for task in cancelled if task.task is not None]))

    def join(self) -> None:
        """End the beat; the run closes its loop."""
        self._loop.call_soon_threadsafe(lambda: self._beating.cancel())


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        setattr(task, CANCELLED, True)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
