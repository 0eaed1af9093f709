"""The intake: what was received and waits to be handled, and the order in which it begins."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any

from ..delivery import Delivery, Envelope
from ..handling import HandlingContext
from ..matching import stage_of
from ..message import M
from ..run import ProcessingContext
from .executor import Executor
from .held import delivery_of, delivery_of_next, stamp
from .placing import Placing
from .port import Port
from .pump import Pump


class Intake(Placing[M]):
    """Everything that waits in one run, until the executor has it."""

    def __init__(self, port: Port[M], ctx: ProcessingContext[M], executor: Executor[M]) -> None:
        super().__init__(port, ctx, executor)
        self.shared_envelope = Envelope(source=port.source)
        self.backlog: deque[Delivery | bytes] = deque(port.leftover)
        port.leftover.clear()
        #: When the backlog came; it is filled when it is empty.
        self.received_at = monotonic()
        #: Returns how many handled messages wait until those before them are settled.
        self.unreleased: Callable[[], int] = int
        #: Told of each message that began and is forgotten.
        self.on_drop: Callable[[HandlingContext[M]], None] | None = None
        self._most = max([port.max_in_flight, *(2 * size for size in self._sizes)])

    @property
    def is_plain(self) -> bool:
        """Whether messages may simply be handled one after the other, as they came."""
        return not (
            self._sizes
            or self._ready
            or self._lanes
            or self._always_ordered
            or self.breaker_pause() is not None
        )

    @property
    def waits(self) -> int:
        """How many messages wait here."""
        return len(self.backlog) + len(self._ready) + self._behind

    @property
    def waits_at_end(self) -> bool:
        """Whether something waits that no other run will have, once the input has ended."""
        return self.waits > 0 or (self._pump is not None and self._pump.holds_alone)

    @property
    def _behind(self) -> int:
        return len(self.held) + len(self._batches) + self._lanes.waiting

    @property
    def has_room(self) -> bool:
        """Whether more should be received."""
        if self.backlog or self._ready:
            return False
        begun = self._executor.in_flight + len(self._batches)
        behind = self._behind + self.unreleased()
        return begun < self._most and behind < max(self._most, self._port.waiting_room)

    @property
    def room(self) -> int:
        """How many messages may be received, so that no more than ``max_in_flight`` are in flight."""
        if self._executor.inline:  # one after the other, however many came
            return sys.maxsize
        return self._most - self._executor.in_flight - len(self._batches)

    @property
    def may_begin(self) -> bool:
        """Whether something waits that can begin before anything else has finished."""
        waits = bool(self.backlog or self._ready)
        return waits and self._executor.in_flight < self._port.max_in_flight

    @property
    def _is_full_of_batches(self) -> bool:
        """Whether open batches take all the room, as they do where there are many keys."""
        if not self._batches or self.backlog or self._ready:
            return False
        in_flight = self._executor.in_flight
        return in_flight + len(self._batches) >= self._most and in_flight < self._port.max_in_flight

    def add(self, batch: Sequence[Delivery | bytes], generation: int) -> None:
        """Take what was received.

        :param generation: of the connection that it came on.
        """
        self._port.counters.received += len(batch)
        if generation:
            stamp(batch, generation)
            if self.shared_envelope.generation != generation:
                self.shared_envelope = Envelope(source=self._port.source)
                self.shared_envelope.generation = generation
        if batch:
            self.received_at = monotonic()
        self.backlog.extend(batch)

    def refill(self) -> None:
        """Take up what is due: messages held here, batches, and deferred ones of the store."""
        for context in self.held.due():
            self._again(context)
        for job in self._batches.due():
            self._submit(job)
        if self._is_full_of_batches:
            self._submit(self._batches.take_oldest())
        if self._pump is not None:
            self._take_deferred(self._pump)

    def look(self) -> None:
        """Have the store looked into in the next turn; from any thread, in a run that has one."""
        assert self._pump is not None
        self._pump.look()

    def _again(self, context: HandlingContext[M]) -> None:
        """Have a held message begin its next attempt, before others."""
        delivery = delivery_of_next(context)
        again = self._ctx.begin(delivery.raw_data, delivery)
        again._lane, again._number = context._lane, context._number
        again._received = monotonic()
        self._ready.append(again)

    def _take_deferred(self, pump: Pump) -> None:
        closed = self._ctx.breakers.closed()
        if closed:
            pump.hasten(closed)
        room = self._room_for_deferred()
        if room:
            with self._ctx.elsewhere:
                due = pump.take(room)
            if due:
                self.received_at = monotonic()
                self.backlog.extend(due)

    def _room_for_deferred(self) -> int:
        """Return how many messages of the store may begin now."""
        room = self._most - self._executor.in_flight
        if self.backlog or self._ready or room <= 0 or self._port.pauses:
            return 0
        if self.breaker_pause() is not None:
            return int(self._ctx.breakers.may_probe())
        return room

    def seconds_to_next(self) -> float | None:
        """Return in how many seconds something is due; None where nothing waits."""
        times = [self.held.seconds_to_next(), self._batches.seconds_to_next()]
        if self._pump is not None and self._room_for_deferred():
            times.append(self._pump.seconds_to_next())
        known = [seconds for seconds in times if seconds is not None]
        return min(known) if known else None

    def breaker_pause(self) -> float | None:
        """Return for how long nothing may be received because of breakers; None where it may."""
        breakers = self._ctx.breakers
        if not breakers.open():
            return None
        is_empty = not self.waits and not self._executor.in_flight
        return breakers.pause(is_empty=is_empty, defers=self._pump is not None)

    def begin(self) -> None:
        """Have messages handled, as far as there is room and order allows."""
        executor, most = self._executor, self._port.max_in_flight
        probing = self.breaker_pause() is not None
        if probing:
            most = 1 if self._ctx.breakers.may_probe() else 0
        elif not (self._ready or self._lanes or self._always_ordered):
            with executor.together():
                self._gather(most) if self._sizes else self._begin_unordered(most)
            return
        while (self._ready or self.backlog) and self._port.stopped_at is None:
            if not executor.inline and executor.in_flight >= most:
                return
            if self._ready:
                self._place(self._ready.popleft())
            else:
                self._place(self._context_of(self.backlog.popleft()))
            if executor.has_handled or (probing and executor.inline):
                return  # one at a time: settled before the next is handled

    def _begin_unordered(self, most: int) -> None:
        """Do the same where no message waits for another: without a look at lanes for each."""
        executor, port, backlog = self._executor, self._port, self.backlog
        inline, received_at, numbers = executor.inline, self.received_at, self._numbers
        while backlog and port.stopped_at is None and (inline or executor.in_flight < most):
            context = self._context_of(backlog.popleft())
            context._number = next(numbers)
            context._received = received_at
            executor.submit([context])
            if inline and executor.has_handled:
                return

    def _gather(self, most: int) -> None:
        """Do the same where there are batch handlers: most messages go straight to their batch.

        In one loop, which takes half the time (benchmarks/handlers.py).
        """
        executor, port, backlog, batches = self._executor, self._port, self.backlog, self._batches
        inline, received_at, shared = executor.inline, self.received_at, self.shared_envelope
        begin, match, last, job, size = self._ctx.begin, self._ctx.match, None, [], 0
        while backlog and port.stopped_at is None and (inline or executor.in_flight < most):
            item = backlog.popleft()
            raw, envelope = (item, shared) if isinstance(item, bytes) else (item.raw_data, item)
            context = begin(raw, envelope)
            if not inline:
                context._received = received_at
            handler = None
            if context.error is None:
                try:
                    handler = context.handler = match(context.message)
                except Exception as error:
                    context.fail(error, stage_of(error))
            if handler is None or handler.batch is None:
                full, context._number = [context], next(self._numbers)
            else:
                if handler is not last:
                    job, last, size = batches.open(handler, None), handler, handler.batch.size
                if not job:
                    context._number = next(self._numbers)  # the others follow it
                job.append(context)
                if len(job) < size:
                    continue
                full, last = batches.close(handler, None), None
            executor.submit(full)
            if inline and executor.has_handled:
                return

    def _context_of(self, item: Delivery | bytes) -> HandlingContext[M]:
        """Return the context of what was received: built here where order or batches need it."""
        ctx = self._ctx
        here = self._executor.builds or self._sizes or self._lanes or self._lanes.by_key
        begin = ctx.begin if here else ctx.unbuilt
        if isinstance(item, bytes):
            context = begin(item, self.shared_envelope)
        else:
            context = begin(item.raw_data, item)
        context._received = self.received_at
        return context

    def drop(self, gone: Callable[[Any], bool]) -> list[Delivery]:
        """Forget the messages that have not begun and are ``gone``, as judged by their delivery.

        :returns: what was forgotten.
        """
        dropped: list[Delivery] = []
        for _ in range(len(self.backlog)):  # in place, since the loop is going through it
            item = self.backlog.popleft()
            if not gone(self.shared_envelope if isinstance(item, bytes) else item):
                self.backlog.append(item)
            elif not isinstance(item, bytes):
                dropped.append(item)
        contexts = [context for context in self._ready if gone(context.delivery)]
        self._ready = deque(context for context in self._ready if not gone(context.delivery))
        contexts += [*self.held.drop(gone), *self._batches.drop(gone), *self._lanes.drop(gone)]
        for context in contexts:
            if context._lane is not None:
                self._release(context._lane)
            if self.on_drop is not None:
                self.on_drop(context)
            if isinstance(context.delivery, Delivery):
                dropped.append(context.delivery)
        return dropped

    def unsettled(self) -> list[Delivery | bytes]:
        """Return what waits here, in about the order of delivery."""
        return [*map(delivery_of, self._begun()), *self.backlog]

    def _begun(self, *others: HandlingContext[M]) -> list[HandlingContext[M]]:
        contexts = [
            *others,
            *self._ready,
            *self.held.contexts(),
            *self._batches.contexts(),
            *self._lanes.parked(),
        ]
        return sorted(contexts, key=lambda context: context._number or 0)

    def leave(self, skipped: Iterable[HandlingContext[M]]) -> list[Delivery | bytes]:
        """Return the transport's deliveries that were not handled; give deferred ones back.

        :param skipped: what the executor had and did not begin.
        """
        left = [*map(delivery_of, self._begun(*skipped)), *self.backlog]
        mine = [item for item in left if not isinstance(item, bytes) and item.settler is not None]
        if self._pump is not None:
            self._pump.close(mine)
        return [item for item in left if isinstance(item, bytes) or item.settler is None]
