"""The receive loop: one run of a polling adapter, from first delivery to last settlement."""

from __future__ import annotations

import logging
from collections.abc import Collection
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
from .intake import Intake, delivery_of
from .lanes import Job
from .port import EndOfInput, Port
from .settling import Settling
from .watch import Watch

logger = logging.getLogger("missive.polling.loop")

#: While messages are being handled, one ``receive`` waits no longer than this, in seconds: a
#: transport that does not wait with ``PollingAdapter.wait`` is not woken when a handler returns.
BUSY_TIMEOUT = 0.05


class Loop(Generic[M]):
    """One run of a polling adapter: receives, has messages handled, settles in this very thread.

    Whatever ends it, what is in flight is settled first; then the first error is raised.

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
        self._settling: Settling[M] = Settling(
            port, ctx, self.intake, executor.halt, self._lost
        )
        self._ended = False
        self._failure: BaseException | None = None
        self._failed_at = 0.0
        self._in_receive = False
        self._keepalive_due = monotonic()

    def run(self) -> None:
        """Run until stop, the end of the input, or a failure.

        :raises BaseException: the first failure, or DrainTimeout.
        """
        try:
            while not self.over:
                self._turn()
        except BaseException as error:
            self.fail(error)
        for step in (self._drain, self._settling.flush, self._leave):
            try:
                step()
            except BaseException as error:
                self.fail(error)
        if self._failure is not None:
            raise self._failure

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

    # One turn.

    def _turn(self) -> None:
        """Begin what waits, receive more where there is room, settle what has finished."""
        intake = self.intake
        intake.refill()
        self._keep_alive()
        pause = self._pause()
        if pause is None and intake.has_room:
            self._receive()
        elif self.executor.in_flight:
            self._collect(self._timeout(self._port.poll_timeout))
        elif pause is not None:
            self._port.wait(self._timeout(pause))
        if self._port.pauses or self._failure is not None:
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
        at_once = not batches or ctx.acks_singly
        delivery: Delivery | bytes | None = None
        acked = counted = 0
        try:
            while backlog and port.stopped_at is None:
                delivery = backlog.popleft()
                if isinstance(delivery, bytes):
                    context = begin(delivery, shared)
                else:
                    context = begin(delivery.raw_data, delivery)
                executor.current = context
                if busy is None:
                    handle(context)
                else:
                    with busy:
                        handle(context)
                if context.outcome is ACKED and at_once:
                    try:
                        settle_one(context)
                        acked += 1
                    except SettlementFailed as error:
                        settling.recover(error)
                else:
                    if acked > counted:
                        settling.nacks_in_a_row, counted = 0, acked
                    settling.take([context])
                    if not self.intake.is_plain or settling.nack_pause() is not None:
                        break
                if batches and monotonic() >= settling.flush_due:
                    settling.flush()
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
        for job in self.executor.collect(timeout):
            self._take(job)
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
        if self.executor.in_flight:
            timeout = min(timeout, BUSY_TIMEOUT)
        self._in_receive = True  # before the look at the executor: so no job is missed by both
        try:
            busy = self.executor.has_finished or self.intake.backlog
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

    def wake(self) -> None:
        """Wake the receiving thread where it waits for the transport; from any thread."""
        if self._in_receive:
            self._port.wake()

    def _timeout(self, longest: float) -> float:
        """Return how long this thread may wait before something else is to be done."""
        soonest = self.intake.seconds_to_next()
        timeout = longest if soonest is None else min(longest, soonest)
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
        if not port.capabilities.settles_across_connections:
            self._ctx.lose_connections_before(generation + 1)
            if port.capabilities.crash_redelivery:
                self._settling.forget_connection(gone, self.executor.unsettled())
        self._connection.reopen(error)

    def withdraw(self, sources: Collection[str], timeout: float) -> None:
        """Take back the deliveries of sources that another process gets.

        What has not begun is dropped. What is being handled is awaited and settled; past the
        timeout it is forgotten, so that its settlement is not sent.
        """

        def gone(delivery: Any) -> bool:
            return delivery.source in sources and delivery.settler is None

        self.intake.drop(gone)
        deadline = monotonic() + timeout
        while any(gone(context.delivery) for context in self.executor.unsettled()):
            left = deadline - monotonic()
            if left <= 0:
                break
            for job in self.executor.collect(min(left, BUSY_TIMEOUT)):
                self._take(job)
        self._settling.flush()
        in_flight = self.executor.unsettled()
        for context in in_flight:
            if gone(context.delivery):
                context.delivery.generation = -1  # of no connection that will ever be used
                across = self._port.capabilities.settles_across_connections
                self._ctx.lose_connections_before(0 if across else self._connection.generation)
        self._settling.forget(gone, in_flight)

    # The end.

    def _drain(self) -> None:
        """Let what is in flight be finished: at the end of the input all of it, else what can.

        :raises DrainTimeout: handlers had not returned at the deadline.
        """
        port, executor = self._port, self.executor
        if not self.over or self._ended:
            self.intake.close_batches()
        while executor.in_flight or (self._ended and self._failure is None and self.intake.waits):
            wait = port.poll_timeout
            began = port.stopped_at if self._failure is None else self._failed_at
            if began is not None:
                executor.close()
                wait = min(wait, began + port.drain_timeout - monotonic())
                if wait <= 0 and not executor.has_finished:  # what is done is settled, however late
                    break
            else:
                self.intake.refill()
                self.intake.begin()
            try:
                self._keep_alive()
                self._collect(self._timeout(wait))
            except BaseException as error:
                self.fail(error)
        executor.close()
        self._give_up()

    def _give_up(self) -> None:
        executor = self.executor
        begun = executor.begun()
        executor.cancel()
        if begun:
            names = [
                printable_id(context)
                if context._unbuilt
                else format_id(context.message.message_id)
                for context in begun
            ]
            raise DrainTimeout(sorted(names), self._port.drain_timeout)
        executor.join()

    def _check_drain(self, executor: InlineExecutor[M]) -> None:
        """Report a handler that returned after the drain deadline; its message is settled."""
        stopped_at, timeout = self._port.stopped_at, self._port.drain_timeout
        if stopped_at is not None and monotonic() > stopped_at + timeout:
            assert executor.current is not None
            raise DrainTimeout([printable_id(executor.current)], timeout)

    def _leave(self) -> None:
        """Leave what was received and not handled to the transport, or else to the next run."""
        left = self.intake.leave(self.executor.skipped)
        if not left:
            return
        port = self._port
        again = port.capabilities.crash_redelivery
        if again:
            try:
                port.give_back(left)
            except (*port.fatal_errors, *port.connection_errors) as error:
                logger.debug("giving back: %s", type(error).__name__)
        else:
            port.leftover.extend(left)
        logger.warning(
            "%s ended with %d received message(s) not handled; %s",
            type(port).__name__,
            len(left),
            "the transport delivers them again" if again else port.where_leftovers_go,
        )

    # For the adapter's users and authors, from any thread.

    def unsettled(self) -> list[Delivery | bytes]:
        """Return what was received and is not settled: begun, handled or waiting."""
        contexts = [*self.executor.unsettled(), *self._settling.unsettled()]
        return [*map(delivery_of, contexts), *self.intake.unsettled()]

    def open_breakers(self) -> tuple[str, ...]:
        """Return the names of the breakers that are open."""
        return tuple(f"breaker of {state.name}" for state in self._ctx.breakers.open())

    @property
    def handling(self) -> str | None:
        """The printable id of what is handled in this thread, where its transport gave it one."""
        executor = self.executor
        current = executor.current if isinstance(executor, InlineExecutor) else None
        if current is None or not current.delivery.message_id:
            return None
        return printable_id(current)


def printable_id(context: HandlingContext[Any]) -> str:
    """Return the printable id of a message, or say that its transport gave it none."""
    if not context.delivery.message_id:
        return "a message without an id of its transport"
    return format_id(context.message.message_id)
