"""Placing: a message goes to the executor, or waits in its lane or its batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from itertools import count
from typing import Generic

from ..handling import HandlingContext
from ..letters.store import DeadLetterStore
from ..message import M
from ..run import ProcessingContext
from .batches import Batches
from .executor import Executor
from .held import Held
from .lanes import Job, Lanes
from .port import Port
from .pump import Pump


class Placing(Generic[M]):
    """What has begun in one run and waits for others, until the executor has it.

    :param port: the adapter.
    :param ctx: the run.
    :param executor: where handlers are called.
    """

    def __init__(self, port: Port[M], ctx: ProcessingContext[M], executor: Executor[M]) -> None:
        self._port = port
        self._ctx = ctx
        self._executor = executor
        self._ready: deque[HandlingContext[M]] = deque()  # built, and begun before the backlog
        self._lanes: Lanes[M] = Lanes(port.ordering_key)
        self._batches: Batches[M] = Batches()
        self.held: Held[M] = Held()
        self._sizes = [h.batch.size for h in ctx.processor.router.handlers if h.batch is not None]
        self._always_ordered = port.capabilities.ordered_acks or (
            self._lanes.by_key and (bool(self._sizes) or not executor.inline)
        )
        self._pump = Pump(ctx.dlq) if isinstance(ctx.dlq, DeadLetterStore) else None
        self._numbers = count(1)
        #: Told of each message that begins, in order; it has its number.
        self.on_begin: Callable[[HandlingContext[M]], None] | None = None

    @property
    def has_store(self) -> bool:
        """Whether deliveries may come from a store, which has them removed together."""
        return self._pump is not None

    @property
    def has_lanes(self) -> bool:
        """Whether a message may wait for another to be settled."""
        return bool(self._lanes)

    def _place(self, context: HandlingContext[M]) -> None:
        """Submit a message, or have it wait in its lane or its batch."""
        if context._number is None:
            context._number = next(self._numbers)
            if self.on_begin is not None:
                self.on_begin(context)
        lane = context._lane
        if lane is None and (self._lanes or self._always_ordered):
            lane = self._lanes.lane_of(context)
            if lane is not None and self._park(lane, context):
                return
        if self._sizes and self._is_batched(context):
            job = self._batches.add(context, lane)
            if job is not None:
                self._submit(job)
        else:
            self._submit([context])

    def _park(self, lane: Hashable, context: HandlingContext[M]) -> bool:
        """Have a message wait behind others of its lane, one that waits in a batch included."""
        if self._lanes.by_key and not self._is_batched(context):
            for job in self._batches.take(lane):
                self._submit(job)
        return self._lanes.park(lane, context)

    def _is_batched(self, context: HandlingContext[M]) -> bool:
        if context.error is not None or not self._sizes:
            return False
        handler = self._ctx.handler_of(context)
        return handler is not None and handler.batch is not None

    def _submit(self, job: Job[M], last: bool = False) -> None:
        if self._lanes.by_key and not self._executor.inline:
            for context in job:
                if context._lane is None:
                    context._lane = self._lanes.enter(context)
        self._executor.submit(job, last)

    def done(self, context: HandlingContext[M]) -> None:
        """Take note that a message was settled, or is held: let what waited for it go on."""
        lane, context._lane = context._lane, None
        if context.held:
            if context.paused and self._lanes.by_key:
                context.in_place = True  # whatever its policy: nothing overtakes it in its key
            if context.in_place:
                # Where it has a lane, it holds that already.
                context._lane = self._lanes.enter(context) if lane is None else lane
            self.held.add(context)
            if context.in_place:
                return
        elif self._pump is not None and context.delay is not None:
            self._pump.look_within(context.delay)
        if lane is not None:
            self._release(lane)

    def _release(self, lane: Hashable) -> None:
        waiting = self._lanes.release(lane)
        if not waiting:
            return
        if not self._lanes.by_key or self._executor.inline:
            self._ready.extend(waiting)
            return
        first = waiting.popleft()
        if self._is_batched(first):
            self._release_batch(lane, first, waiting)
            return
        first._lane = lane
        self._lanes.take(lane)
        self._lanes.put_back(lane, waiting)
        self._ready.append(first)

    def _release_batch(
        self, lane: Hashable, first: HandlingContext[M], waiting: deque[HandlingContext[M]]
    ) -> None:
        """Have messages that waited in a lane handled together, or wait for more of them."""
        handler = first.handler
        assert handler is not None
        assert handler.batch is not None
        job = [first]
        while waiting and len(job) < handler.batch.size:
            if not self._is_batched(waiting[0]) or waiting[0].handler is not handler:
                break
            job.append(waiting.popleft())
        if not waiting and len(job) < handler.batch.size:
            for context in job:
                self._batches.add(context, lane)
            return
        self._submit(job)
        self._lanes.put_back(lane, waiting)

    def close_batches(self) -> None:
        """Have the open batches handled as they are: nothing more will come for them."""
        for job in self._batches.take_all():
            self._submit(job, last=True)
