"""The worker pool: threads that process deliveries and hand verdicts back."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable
from queue import Empty, SimpleQueue
from typing import Generic

from .contexts import ProcessingContext
from .letters import Stage
from .messages import Delivery, M, format_id
from .settlement import Verdict


class _Job(Generic[M]):
    """A delivery on its way through a worker."""

    __slots__ = ("crash", "delivery", "lane", "message", "started", "verdict")

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.message: M | None = None
        self.lane: Hashable = None
        self.started = False
        self.verdict: Verdict[M] | None = None
        self.crash: BaseException | None = None


class WorkerPool(Generic[M]):
    """Threads that process deliveries; all methods but ``halt`` are for the receiving thread.

    A worker never touches the transport: it hands a verdict back, and the receiving thread settles.

    :param ctx: where the workers process.
    :param count: how many threads.
    :param on_done: called in a worker whenever it has handed something back.
    :param ordering_key: messages of equal key are processed one after the other, in order.
    """

    def __init__(
        self,
        ctx: ProcessingContext[M],
        count: int,
        on_done: Callable[[], None],
        ordering_key: Callable[[M], Hashable] | None,
    ) -> None:
        self._ctx = ctx
        self._on_done = on_done
        self._ordering_key = ordering_key
        self._todo: SimpleQueue[_Job[M] | None] = SimpleQueue()
        self._done: SimpleQueue[_Job[M] | None] = SimpleQueue()
        self._lanes: dict[Hashable, deque[_Job[M]]] = {}
        self._jobs: dict[_Job[M], None] = {}  # in the order in which they were submitted
        self._halted = False
        self._closed = False
        #: The deliveries that were collected without having come to a worker, in order.
        self.skipped: list[Delivery] = []
        #: What workers raised, beside verdicts.
        self.crashes: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._work, name=f"missive-worker-{n + 1}", daemon=True)
            for n in range(count)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def in_flight(self) -> int:
        """How many deliveries were submitted and not yet collected."""
        return len(self._jobs)

    @property
    def has_verdicts(self) -> bool:
        """Whether ``collect`` would find something."""
        return not self._done.empty()

    def in_hand(self) -> list[str]:
        """Give the printable ids of the messages that a worker has begun."""
        return sorted(
            printable_id(job.delivery) if job.message is None else format_id(job.message.message_id)
            for job in self._jobs
            if job.started
        )

    def not_begun(self) -> list[Delivery]:
        """Give the deliveries that no worker has begun, in order; after ``close`` none ever does."""
        return [job.delivery for job in self._jobs if not job.started]

    def submit(self, delivery: Delivery) -> None:
        """Have a delivery processed."""
        job: _Job[M] = _Job(delivery)
        if self._ordering_key is not None and delivery.rejection is None:
            self._order(job, self._ordering_key)
        else:
            self._todo.put(job)
        self._jobs[job] = None

    def _order(self, job: _Job[M], ordering_key: Callable[[M], Hashable]) -> None:
        """Queue a job behind the others of its key, or condemn it where there is no key."""
        stage: Stage = "decoding"
        try:
            job.message = self._ctx.build(job.delivery.raw_data, job.delivery)
            stage = "matching"
            lane = (ordering_key(job.message),)
            waiting = self._lanes.get(lane)
        except Exception as error:
            job.verdict = self._ctx.condemn(job.delivery, error, stage)
            self._done.put(job)
            return
        job.lane = lane
        if waiting is None:
            self._lanes[lane] = deque()
            self._todo.put(job)
        else:
            waiting.append(job)

    def collect(self, timeout: float) -> list[Verdict[M]]:
        """Give the verdicts that are there; wait for one, or for ``halt``, if there are none.

        :param timeout: wait at most so many seconds; 0 does not wait.
        """
        verdicts: list[Verdict[M]] = []
        try:
            job = self._done.get(timeout > 0, max(timeout, 0.0))
            while True:
                if job is not None:
                    self._finish(job, verdicts)
                job = self._done.get(False)
        except Empty:
            return verdicts

    def _finish(self, job: _Job[M], verdicts: list[Verdict[M]]) -> None:
        del self._jobs[job]
        if job.verdict is not None:
            verdicts.append(job.verdict)
        elif job.crash is not None:
            self.crashes.append(job.crash)
        else:
            self.skipped.append(job.delivery)
        if job.verdict is None or job.verdict.decision is None:
            # The run ends with this message unsettled: those behind it in its lane stay behind it.
            self._halted = True
        if job.lane is not None:
            self._advance(job.lane)

    def _advance(self, lane: Hashable) -> None:
        """Let the next job of a lane go, or close the lane."""
        waiting = self._lanes[lane]
        if waiting and not self._halted:
            self._todo.put(waiting.popleft())
            return
        for job in waiting:
            del self._jobs[job]
            self.skipped.append(job.delivery)
        del self._lanes[lane]

    def halt(self) -> None:
        """Let no job begin any more, and end the wait of ``collect``; also in a signal handler."""
        self._halted = True
        self._done.put(None)

    def close(self) -> None:
        """Let no job begin any more and the threads end; those in hand are to be collected."""
        self._halted = True
        if self._closed:
            return
        self._closed = True
        for _ in self._threads:
            self._todo.put(None)

    def join(self) -> None:
        """Wait for the threads to end; call it when nothing is in flight."""
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (job := self._todo.get()) is not None:
            job.started = True  # before the look at halt, so that not_begun gives none that begins
            if self._halted:
                job.started = False
            else:
                try:
                    job.verdict = self._process(job)
                except BaseException as error:  # raised by run(), in the receiving thread
                    job.crash = error
            self._done.put(job)
            self._on_done()

    def _process(self, job: _Job[M]) -> Verdict[M]:
        ctx, delivery = self._ctx, job.delivery
        if job.message is None:
            if delivery.rejection is not None:
                return ctx.process_delivery(delivery)
            try:
                job.message = ctx.build(delivery.raw_data, delivery)
            except Exception as error:
                return ctx.condemn(delivery, error, "decoding")
        return ctx.process(job.message)


def printable_id(delivery: Delivery | bytes) -> str:
    """Give the printable id of a delivery, or say that its transport gave it none."""
    message_id = None if isinstance(delivery, bytes) else delivery.message_id
    if not message_id:
        return "a message without an id of its transport"
    if isinstance(message_id, str):
        message_id = message_id.encode("utf-8", "surrogateescape")
    return format_id(message_id)
