"""One turn of the receive loop, whatever executes the handlers."""

from __future__ import annotations

import logging
from collections import deque
from time import monotonic
from typing import Any, Generic

from ..delivery import Delivery
from ..error_notes import note_later_error
from ..errors import DrainTimeout, SettlementFailed, TransportRefused
from ..handling import ACKED, HandlingContext
from ..ids import format_id
from ..message import M
from ..run import ProcessingContext
from .connection import Connection
from .executor import Executor
from .inline import InlineExecutor
from .intake import Intake
from .lanes import Job
from .port import EndOfInput, Port
from .refused import is_refused
from .settling import Settling
from .watch import Watch

logger = logging.getLogger("missive.polling.turn")

#: While messages are being handled, one ``receive`` waits no longer than this, in seconds: a
#: transport that does not wait with ``PollingAdapter.wait`` is not woken when a handler returns.
BUSY_TIMEOUT = 0.05


class Turns(Generic[M]):
    """The turns of the receive loop: each begins messages, receives, and settles what has finished.

    :param port: the adapter, as the loop sees it.
    :param ctx: the run.
    :param connection: the transport's connection, open.
    :param executor: where handlers are called.
    :param watch: looks after the transport while a handler occupies this thread.
    """

    def __init__(
        self,
        port: Port[M],
        ctx: ProcessingContext[M],
        connection: Connection,
        executor: Executor[M],
        watch: Watch | None,
    ) -> None:
        self._port = port
        self._ctx = ctx
        self._connection = connection
        self.executor = executor
        self._watch = watch
        self.intake: Intake[M] = Intake(port, ctx, executor)
        self._settling: Settling[M] = Settling(port, ctx, self.intake, executor.halt, self._lost)
        self._collected: deque[Job[M]] = deque()  # handled, and not with settling yet
        self._ended = False
        self._failure: BaseException | None = None
        self._failed_at = 0.0
        self._in_receive = False
        self._keepalive_due = monotonic()

    @property
    def over(self) -> bool:
        """Whether nothing more is to be received."""
        return self._ended or self._failure is not None or self._port.stopped_at is not None

    def fail(self, error: BaseException) -> None:
        """End the run with an error, unless another came before it."""
        if self._failure is None:
            self._failure = error
            self._failed_at = monotonic()
        else:
            note_later_error(self._failure, error)

    def turn(self) -> None:
        """Begin what waits, receive more where there is room, settle what has finished."""
        intake = self.intake
        intake.refill()
        self._keep_alive()
        pause = self._pause()
        if pause is None and intake.has_room:
            self._receive()
        elif self.executor.in_flight and (pause is not None or not intake.may_begin):
            self._collect(self._timeout(self._port.poll_timeout))
        elif pause is not None or not intake.may_begin:
            self._settling.refused.hurry()
            self._port.wait(self._timeout(self._port.poll_timeout if pause is None else pause))
        if self._port.pauses or self._failure is not None:
            self._collect(0.0)  # and send what was batched
            return
        if isinstance(self.executor, InlineExecutor) and intake.is_plain:
            self._burst(self.executor)
        else:
            intake.begin()
        self._collect(0.0)

    def _burst(self, executor: InlineExecutor[M]) -> None:
        """Handle what waits in this thread, one message after the other.

        The same as ``intake.begin`` and ``settling.take``, without a queue between them: most
        messages pass here (benchmarks/stdin.py).
        """
        port, ctx, settling, backlog = self._port, self._ctx, self._settling, self.intake.backlog
        begin, handle, settle_one, busy = ctx.begin, ctx.run, ctx.settle_one, executor.busy
        shared, batches = self.intake.shared_envelope, port.flush_interval is not None
        at_once, pauses = not batches or ctx.acks_singly, port.pauses
        stored = self.intake.has_store
        delivery: Delivery | bytes | None = None
        acked = counted = 0
        try:
            while backlog and port.stopped_at is None and not pauses:
                delivery = backlog.popleft()
                if isinstance(delivery, bytes):
                    context = begin(delivery, shared)
                else:
                    context = begin(delivery.raw_data, delivery)
                executor.current = context
                if busy is None:
                    handle(context)
                else:
                    busy.open()
                    try:
                        handle(context)
                    finally:
                        busy.shut()
                from_store = stored and context.delivery.settler is not None
                if context.outcome is ACKED and at_once and not from_store:
                    try:
                        settle_one(context)
                        acked += 1
                    except SettlementFailed as error:
                        settling.recover(error)
                else:
                    if acked > counted:
                        settling.nacks_in_a_row, counted = 0, acked
                    settling.take([context])
                    if context.held:  # so that its lane is taken before the next begins
                        settling.settle()
                    if not self.intake.is_plain or settling.nack_pause() is not None:
                        break
                if batches and monotonic() >= settling.flush_due:
                    settling.flush()
            if acked > counted:
                settling.nacks_in_a_row = 0
            if delivery is not None:
                self._check_drain(executor)
        finally:
            executor.current = None
            port.counters.acked += acked
        settling.settle()

    def _collect(self, timeout: float) -> None:
        """Settle what has finished; wait for something to finish, if nothing has."""
        self._port.counters.progress()
        if self._port.handler_timeout is not None:
            self._port.overdue()
        self._collected.extend(together(self.executor.collect(timeout)))
        while self._collected:
            self._take(self._collected.popleft())
        while self.executor.crashes:
            self.fail(self.executor.crashes.pop(0))
        if self._watch is not None and self._watch.failure is not None:
            failure, self._watch.failure = self._watch.failure, None
            raise failure
        if (
            self._port.flush_interval is None
            or not self.executor.in_flight
            or monotonic() >= self._settling.flush_due
        ):
            self._settling.flush()
        else:
            self._settling.settle()

    def _take(self, job: Job[M]) -> None:
        """Settle a job; what it fails by ends the run, after the others that were collected."""
        try:
            self._settling.take(job)
        except BaseException as error:
            self.fail(error)

    # The transport, and what becomes of its errors.

    def _receive(self) -> None:
        port = self._port
        timeout = port.poll_timeout
        if self.executor.in_flight or self._settling.refused.contexts:
            timeout = min(timeout, BUSY_TIMEOUT)
        self._in_receive = True  # before the look at the executor: so no job is missed by both
        try:
            busy = self.executor.has_finished or self.intake.backlog
            port.room = self.intake.room
            batch = port.receive(0.0 if busy else self._timeout(timeout))
        except EndOfInput:
            self._ended = True
            return
        except (*port.fatal_errors, *port.connection_errors) as error:
            self._lost(error)
            return
        finally:
            self._in_receive = False
        self.intake.add(batch, self._connection.generation)
        if not batch and not self.executor.in_flight:  # nor does a commit hold anything up
            self._settling.refused.hurry()

    def wake(self) -> None:
        """Wake the receiving thread where it waits for the transport; from any thread."""
        if self._in_receive:
            self._port.wake()

    def _timeout(self, longest: float) -> float:
        """Return how long this thread may wait before something else is to be done."""
        timeout = longest
        for soonest in (self.intake.seconds_to_next(), self._settling.refused.seconds_to_due()):
            timeout = timeout if soonest is None else min(timeout, soonest)
        if self._port.keepalive_interval is not None:
            timeout = min(timeout, max(self._keepalive_due - monotonic(), 0.0))
        return timeout

    def _pause(self) -> float | None:
        """Return how long not to receive: paused by hand, by a breaker or after many nacks."""
        if self._port.pauses:
            return self._port.poll_timeout
        return self.intake.breaker_pause() or self._settling.nack_pause()

    def _keep_alive(self) -> None:
        port = self._port
        if port.keepalive_interval is None or monotonic() < self._keepalive_due:
            return
        self._keepalive_due = monotonic() + port.keepalive_interval
        try:
            port.keepalive()
        except (*port.fatal_errors, *port.connection_errors) as error:
            self._lost(error)

    def _lost(self, error: BaseException) -> None:
        """Connect again; what was not acked is delivered again. Not where this run is ending."""
        port = self._port
        if isinstance(error, port.fatal_errors):
            raise TransportRefused(port, error) from error
        if self.over:
            logger.warning(
                "%s lost its connection while ending (%s); its last acks may not have arrived",
                type(port).__name__,
                type(error).__name__,
            )
            return
        generation = self._connection.generation

        def gone(delivery: Any) -> bool:
            return delivery.settler is None and delivery.generation <= generation

        if port.capabilities.crash_redelivery:  # the transport delivers what has not begun again
            port.dropped(self.intake.drop(gone))
        # What is delivered at most once has nothing that an ack could settle by mistake.
        once = port.capabilities.delivery == "at-most-once"
        if not once and not port.capabilities.settles_across_connections:
            self._ctx.lose_connections_before(generation + 1)
            if port.capabilities.crash_redelivery:
                self._settling.forget_connection(gone, self.executor.unsettled())
        self._connection.reopen(error)

    def _check_drain(self, executor: InlineExecutor[M]) -> None:
        """Report a handler that returned after the drain deadline; its message is settled."""
        stopped_at, timeout = self._port.stopped_at, self._port.drain_timeout
        if stopped_at is not None and monotonic() > stopped_at + timeout:
            assert executor.current is not None
            raise DrainTimeout([printable_id(executor.current)], timeout)


def together(jobs: list[Job[M]]) -> list[Job[M]]:
    """Return jobs as fewer ones that settle the same: what a breaker refused stays by itself."""
    if len(jobs) < 2:
        return jobs
    handled: Job[M] = []
    refused: list[Job[M]] = []
    for job in jobs:
        if is_refused(job):
            refused.append(job)
        else:
            handled += job
    return [handled, *refused] if handled else refused


def printable_id(context: HandlingContext[Any]) -> str:
    """Return the printable id of a message, or say that its transport gave it none."""
    if not context.delivery.message_id:
        return "a message without an id of its transport"
    return format_id(context.message.message_id)
