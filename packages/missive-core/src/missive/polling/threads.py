"""Threads: handlers run in a pool of worker threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from itertools import chain
from queue import Empty, SimpleQueue
from typing import Any, Generic

from ..handling import HandlingContext
from ..message import M
from ..run import ProcessingContext
from .executor import Executor
from .lanes import Job


class Task(Generic[M]):
    """A job on its way through a worker."""

    __slots__ = ("asyncio_task", "crash", "finished", "job", "last", "started")

    def __init__(self, job: Job[M], last: bool) -> None:
        self.job = job
        self.last = last
        self.asyncio_task: Any = None  # where it runs on an event loop
        self.started = False
        self.finished = False
        self.crash: BaseException | None = None


class ThreadExecutor(Executor[M]):
    """Calls handlers in worker threads, each in a copy of the run's context variables.

    A worker never touches the transport: it hands its job back, and the receiving thread settles.

    :param ctx: the run.
    :param count: how many threads.
    :param on_done: called in a worker whenever it has handed something back.
    """

    def __init__(self, ctx: ProcessingContext[M], count: int, on_done: Callable[[], None]) -> None:
        super().__init__()
        self._ctx = ctx
        self._on_done = on_done
        self._todo: SimpleQueue[Task[M] | None] = SimpleQueue()
        self._done: SimpleQueue[Task[M] | None] = SimpleQueue()
        self._tasks: dict[Task[M], None] = {}  # in the order in which they were submitted
        self._in_flight = 0
        self._halted = False
        self._closed = False
        self._threads = [
            threading.Thread(
                target=copy_context().run,
                args=(self._work,),
                name=f"missive-worker-{number + 1}",
                daemon=True,
            )
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def in_flight(self) -> int:
        """How many messages were submitted and not yet collected."""
        return self._in_flight

    @property
    def has_finished(self) -> bool:
        """Whether there is something to collect."""
        return not self._done.empty()

    def submit(self, job: Job[M], last: bool = False) -> None:
        """Queue a job for the workers."""
        task = Task(job, last)
        self._tasks[task] = None
        self._in_flight += len(job)
        self._enqueue(task)

    def _enqueue(self, task: Task[M]) -> None:
        self._todo.put(task)

    def collect(self, timeout: float) -> list[Job[M]]:
        """Return finished jobs; wait for one, or for ``halt``, if there is nothing."""
        finished: list[Job[M]] = []
        try:
            # Without a timeout where there is nothing to wait for: a queue in pure Python (as
            # under eventlet) refuses a timeout of 0.
            task = self._done.get(timeout=timeout) if timeout > 0 else self._done.get(block=False)
            while True:
                if task is not None and task in self._tasks:  # not where cancel gave it up
                    self._finish(task, finished)
                task = self._done.get(block=False)
        except Empty:
            return finished

    def _finish(self, task: Task[M], finished: list[Job[M]]) -> None:
        del self._tasks[task]
        self._in_flight -= len(task.job)
        if task.finished:
            finished.append(task.job)
        elif task.crash is not None:
            self.crashes.append(task.crash)
        else:
            self.skipped += task.job

    def unsettled(self) -> Sequence[HandlingContext[M]]:
        """Return what was submitted and not yet collected, in order."""
        return list(chain.from_iterable(task.job for task in list(self._tasks)))

    def begun(self) -> list[HandlingContext[M]]:
        """Return what a worker has begun and was not collected."""
        begun = (task.job for task in list(self._tasks) if task.started)
        return list(chain.from_iterable(begun))

    def halt(self) -> None:
        """Let no job begin from now on, and end the wait of ``collect``; also in a signal handler."""
        self._halted = True
        self._done.put(None)

    def close(self) -> None:
        """Let no job begin and the threads end."""
        self._halted = True
        if self._closed:
            return
        self._closed = True
        for _ in self._threads:
            self._todo.put(None)

    def cancel(self) -> None:
        """Give up what no worker has begun; a thread cannot be cancelled."""
        for task in [task for task in self._tasks if not task.started]:
            task.last = False
            del self._tasks[task]
            self._in_flight -= len(task.job)
            self.skipped += task.job

    def join(self) -> None:
        """Wait for the threads to end."""
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (task := self._todo.get()) is not None:
            task.started = True  # before the look at halt, so that cancel gives up none that begins
            if self._halted and not task.last:
                task.started = False
            else:
                try:
                    self._ctx.run_job(task.job)
                    task.finished = True
                except BaseException as error:  # raised by run(), in the receiving thread
                    task.crash = error
            self._done.put(task)
            self._on_done()
