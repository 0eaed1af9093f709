"""Settling: what has been handled, on its way to the transport."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from time import monotonic
from typing import Any, Generic

from ..errors import SettlementFailed, TransportRefused
from ..handling import NACKED, HandlingContext, all_acked
from ..message import M
from ..run import ProcessingContext
from .acks import AckTracker
from .intake import Intake
from .lanes import Job
from .port import Port
from .refused import Refused, is_refused

#: So many nacks in a row are let through at full speed; after more, each batch waits.
FREE_NACKS = 10
#: How long a message of a store that was acked waits for others, in seconds: until the end of the
#: turn at most. To remove each by itself takes a commit each, while the transport waits.
STORED_WAIT = 1.0
#: The longest wait between batches that were all nacked, in seconds.
NACK_PAUSE_LONGEST = 1.0


class Settling(Generic[M]):
    """The last station of a message: settled together with others, in order where that counts.

    :param port: the adapter.
    :param ctx: the run.
    :param intake: told of each message that was settled.
    :param halt: lets no other message begin.
    :param lost: called with a connection error.
    """

    def __init__(
        self,
        port: Port[M],
        ctx: ProcessingContext[M],
        intake: Intake[M],
        halt: Callable[[], None],
        lost: Callable[[BaseException], None],
    ) -> None:
        self._port = port
        self._ctx = ctx
        self._intake = intake
        self._halt = halt
        self._lost = lost
        self._unsettled: list[HandlingContext[M]] = []
        self._unsettled_since = 0.0
        self._batch: list[HandlingContext[M]] = []  # what is being settled
        self.refused: Refused[M] = Refused(ctx.breakers, waits=port.ordering_key is None)
        self.flush_due = monotonic() + (port.flush_interval or 0.0)
        #: As they were handled, with no other outcome between them.
        self.nacks_in_a_row = 0
        self._hold_until = 0.0
        self._in_order: _InOrder[M] | None = None
        if port.capabilities.ordered_acks:
            self._in_order = _InOrder()
            intake.on_begin, intake.on_drop = self._in_order.begin, self._in_order.drop
            intake.unreleased = self._in_order.__len__
        #: Whether a delivery is of a lost connection, so that the transport delivers it again.
        self._gone: Callable[[Any], bool] | None = None

    def take(self, job: Job[M]) -> None:
        """Settle what was handled; together with more where the transport batches its acks.

        :raises Exception: as ``ProcessingContext.settle``.
        """
        if is_refused(job):
            self.refused.add(job)
            if self.refused.seconds_to_due() == 0.0:
                self.settle()
        else:
            if not self._unsettled:
                self._unsettled_since = monotonic()
            self._unsettled += job
        ends = False
        if all_acked(job):
            self.nacks_in_a_row = 0
        else:
            for context in job:
                nacked = context.outcome is NACKED and context.delay is None
                self.nacks_in_a_row = self.nacks_in_a_row + 1 if nacked else 0
            ends = any(context.outcome is None for context in job)
        if ends:  # the run ends with it, and nothing may overtake it
            self._halt()
        waits = self._port.flush_interval is not None or self._may_wait(job)
        if ends or (self._unsettled and not waits):
            self.settle()

    def _may_wait(self, job: Job[M]) -> bool:
        """Return whether a store's messages were acked, so that they may be removed with others."""
        if job[0].delivery.settler is None or not all_acked(job):
            return False
        return monotonic() - self._unsettled_since < STORED_WAIT

    def settle(self) -> None:
        """Settle what waits, all together.

        :raises Exception: as ``ProcessingContext.settle``.
        """
        batch, self._unsettled = self._unsettled, []
        refused = self.refused.take()
        batch += refused
        if not batch and (self._in_order is None or not self._in_order.risen):
            return
        if self._in_order is not None:
            batch = self._in_order.release(batch)
        before, self._batch = self._batch, [*self._batch, *batch]
        began = monotonic()
        try:
            self._ctx.settle(batch)
        except SettlementFailed as error:
            self.recover(error)
        finally:
            self._batch = before
            if refused:
                self.refused.note_written(monotonic() - began)
            self._note_settled(batch)

    def _note_settled(self, batch: list[HandlingContext[M]]) -> None:
        if all_acked(batch) and not (batch and self._intake.has_lanes):
            self._port.counters.acked += len(batch)  # nothing waits for them
            return
        for context in batch:
            if context.held and self._gone is not None and self._gone(context.delivery):
                context.held, context.outcome = False, None  # it is delivered again instead
        self._port.counters.count(batch)
        for context in batch:
            self._intake.done(context)
        self._throttle()

    def _throttle(self) -> None:
        """Hold the next batch back when nothing but nacks came for a while."""
        excess = self.nacks_in_a_row - FREE_NACKS
        if excess > 0:
            pause = min(NACK_PAUSE_LONGEST, 0.01 * 2 ** min(excess // FREE_NACKS, 10))
            self._hold_until = monotonic() + pause

    def nack_pause(self) -> float | None:
        """Return how long to wait after nothing but nacks; None: not at all."""
        held = self._hold_until - monotonic()
        return held if held > 0 else None

    def flush(self) -> None:
        """Settle what waits, and send the acks that the transport batched.

        :raises Exception: as ``ProcessingContext.settle``.
        """
        self.settle()
        port = self._port
        try:
            port.flush()
        except (*port.fatal_errors, *port.connection_errors) as error:
            self._lost(error)
        if port.flush_interval is not None:
            self.flush_due = monotonic() + port.flush_interval

    def recover(self, failed: SettlementFailed) -> None:
        """Go on after an ack that the transport did not take, if its connection was at fault.

        :raises SettlementFailed: it was not.
        :raises TransportRefused: trying again does not mend it.
        """
        port, cause = self._port, failed.__cause__
        if isinstance(cause, TransportRefused):
            failed.__cause__ = None  # else each would be the cause of the other
            raise cause
        if cause is None or not isinstance(cause, (*port.fatal_errors, *port.connection_errors)):
            raise failed
        self._lost(cause)

    def unsettled(self) -> list[HandlingContext[M]]:
        """Return what was handled and is not settled."""
        waiting = [] if self._in_order is None else self._in_order.waiting()
        return [*self._batch, *self._unsettled, *self.refused.contexts, *waiting]

    def forget(self, gone: Callable[[Any], bool], in_flight: Iterable[HandlingContext[M]]) -> None:
        """Send no settlement of messages that are ``gone``, as judged by their delivery.

        :param in_flight: what is being handled; nothing has to wait until that is settled.
        """
        for context in self._batch:  # while a letter of it is written
            if gone(context.delivery):
                context.delivery.generation = -1  # of no connection that will ever be used
        forgotten = [context for context in self._unsettled if gone(context.delivery)]
        self._unsettled = [c for c in self._unsettled if not gone(c.delivery)]
        forgotten += self.refused.drop(gone)
        if self._in_order is not None:
            for context in in_flight:
                if gone(context.delivery):
                    self._in_order.drop(context)
            forgotten += self._in_order.forget(gone)
        # Settled as one whose connection is gone: only its hooks are left.
        for context in forgotten:
            context.held, context.letter, context.outcome = False, None, NACKED
            context.delivery.generation = -1
        self._ctx.settle(forgotten)
        for context in forgotten:
            self._intake.done(context)

    def forget_connection(
        self, gone: Callable[[Any], bool], in_flight: Iterable[HandlingContext[M]]
    ) -> None:
        """Do the same for a lost connection, also of what is held only later."""
        self._gone = gone
        self.forget(gone, in_flight)


class _InOrder(Generic[M]):
    """Releases handled messages in the order of their delivery, for each source."""

    def __init__(self) -> None:
        self._tracker = AckTracker()
        self._handled: dict[Hashable, dict[int, HandlingContext[M]]] = {}
        #: The sources of which more may be settled than before.
        self.risen: set[Hashable] = set()

    def __len__(self) -> int:
        return sum(len(handled) for handled in self._handled.values())

    def begin(self, context: HandlingContext[M]) -> None:
        """Note a message, in the order of delivery."""
        assert context._number is not None
        if context.delivery.settler is None:
            self._tracker.begin(context.message.source, context._number)

    def release(self, batch: list[HandlingContext[M]]) -> list[HandlingContext[M]]:
        """Take messages that were handled; return those that may be settled now, in order."""
        released: list[HandlingContext[M]] = []
        for context in batch:
            number, source = context._number, context.message.source
            mine = number is not None and context.delivery.settler is None
            if not mine or context.held or context.outcome is None:
                released.append(context)
                continue
            assert number is not None
            self._handled.setdefault(source, {})[number] = context
            self._done(source, number)
        while self.risen:
            risen = self.risen.pop()
            handled, limit = self._handled.get(risen, {}), self._tracker.committable(risen) or 0
            released += [handled.pop(known) for known in sorted(handled) if known <= limit]
        return released

    def drop(self, context: HandlingContext[M]) -> None:
        """Note that a message will not be settled: those behind it do not wait for it."""
        number, context._number = context._number, None
        if number is not None:  # else it was dropped before
            self._done(context.message.source, number)

    def _done(self, source: Hashable, number: int) -> None:
        if self._tracker.done(source, number) is not None:
            self.risen.add(source)

    def waiting(self) -> list[HandlingContext[M]]:
        """Return what was handled and waits for messages before it."""
        return [context for handled in self._handled.values() for context in handled.values()]

    def forget(self, gone: Callable[[Any], bool]) -> list[HandlingContext[M]]:
        """Forget messages that wait and are ``gone``, as judged by their delivery; return them."""
        forgotten = [context for context in self.waiting() if gone(context.delivery)]
        for context in forgotten:
            assert context._number is not None
            del self._handled[context.message.source][context._number]
        return forgotten
