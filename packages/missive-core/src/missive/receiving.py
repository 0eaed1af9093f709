"""The receive loop: one run of a polling adapter, from first delivery to last settlement."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Generic

from .contexts import ProcessingContext
from .errors import DrainTimeout, SettlementFailed, TransportRefused
from .hooks import note_later_error
from .loggers import logger_of
from .messages import Delivery, M
from .settlement import DEAD_LETTERED, NACKED, Verdict
from .workers import WorkerPool, printable_id

if TYPE_CHECKING:
    from .polling import PollingAdapter

logger = logger_of("missive.receiving")


class EndOfInput(Exception):
    """Raised by ``receive``: there will never be another message. Ends ``run`` cleanly."""


#: While messages are with workers, one ``receive`` waits no longer than this, in seconds: a
#: transport that does not wait with ``PollingAdapter.wait`` is not woken by their verdicts.
BUSY_TIMEOUT = 0.05
#: So many nacks in a row are let through at full speed; after more, each batch waits.
FREE_NACKS = 10
#: The longest wait between batches that were all nacked, in seconds.
NACK_PAUSE_LONGEST = 1.0


class Receiving(Generic[M]):
    """One run of a polling adapter: receives, has messages handled, settles in this very thread.

    Whatever ends it, what is in hand is settled first; then the first error is raised.
    """

    def __init__(self, adapter: PollingAdapter[M], ctx: ProcessingContext[M]) -> None:
        self._adapter = adapter
        self._ctx = ctx
        self._pool: WorkerPool[M] | None = None
        if adapter.workers > 1:
            self._pool = WorkerPool(ctx, adapter.workers, self._worker_done, adapter.ordering_key)
        self._backlog: deque[Delivery | bytes] = deque(adapter.leftover)
        adapter.leftover.clear()
        self._in_receive = False
        self._inline: Delivery | None = None
        self._ended = False
        self._failure: BaseException | None = None
        self._unsettled: list[Verdict[M]] = []
        self._flush_due = monotonic() + (adapter.flush_interval or 0.0)
        self._nacks_in_a_row = 0
        self._hold_until = 0.0

    @property
    def in_flight(self) -> int:
        """How many messages are with workers and not yet settled."""
        return self._pool.in_flight if self._pool is not None else 0

    @property
    def waiting(self) -> int:
        """How many deliveries were received and are not begun."""
        return len(self._backlog)

    @property
    def handling(self) -> str | None:
        """The printable id of what is handled in this thread, where its transport gave it one."""
        delivery = self._inline
        return None if delivery is None or not delivery.message_id else printable_id(delivery)

    def halt(self) -> None:
        """Let no further message begin, and end the wait for verdicts; also in a signal handler."""
        if self._pool is not None:
            self._pool.halt()

    def run(self) -> None:
        """Run until stop, the end of the input, or a failure.

        :raises BaseException: the first failure, or DrainTimeout.
        """
        turn = self._turn_inline if self._pool is None else self._turn_with_workers
        try:
            while not self.over:
                turn()
        except BaseException as error:
            self._fail(error)
        for step in (self._drain, self._settle_and_flush, self._leave_backlog):
            try:
                step()
            except BaseException as error:
                self._fail(error)
        if self._failure is not None:
            raise self._failure

    @property
    def over(self) -> bool:
        """Whether nothing more is to be received."""
        return self._ended or self._failure is not None or self._adapter.stopping

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
            self._failed_at = monotonic()
        else:
            note_later_error(self._failure, error)

    # One turn of the loop.

    def _turn_inline(self) -> None:
        """Receive a batch and handle it in this thread."""
        if not self._backlog:
            self._backlog.extend(self._receive(self._adapter.poll_timeout))
        if self._backlog:
            self._handle()
        self._settle_and_flush()
        while (held := self._hold_until - monotonic()) > 0 and not self._adapter.stopping:
            self._adapter.wait(held)

    def _handle(self) -> None:
        """Handle the backlog in this thread, until it is empty or stop is asked for."""
        adapter, backlog, unsettled = self._adapter, self._backlog, self._unsettled
        take, take_bytes, shared = self._ctx.take, self._ctx.take_bytes, adapter.shared_envelope
        interval = adapter.flush_interval
        delivery: Delivery | bytes | None = None
        clean = 0
        try:
            while backlog and adapter.stopped_at is None:
                delivery = backlog.popleft()
                try:
                    if isinstance(delivery, bytes):
                        verdict = take_bytes(delivery, shared)
                    elif delivery.rejection is None:
                        self._inline = delivery
                        verdict = take_bytes(delivery.raw_data, delivery)
                    else:
                        verdict = take(delivery)
                except SettlementFailed as error:
                    self._recover(error)
                    continue
                if verdict is None:
                    clean += 1
                else:
                    unsettled.append(verdict)
                    if interval is None or verdict.decision is None:
                        self._settle()
                if interval is not None and monotonic() >= self._flush_due:
                    self._settle_and_flush()
            if delivery is not None:
                self._check_drain(delivery)
        finally:
            self._inline = None
            adapter.count(acked=clean)
            if clean:
                self._nacks_in_a_row = 0

    def _check_drain(self, delivery: Delivery | bytes) -> None:
        """Report a handler that returned after the drain deadline; its message is settled."""
        stopped_at, timeout = self._adapter.stopped_at, self._adapter.drain_timeout
        if stopped_at is not None and monotonic() > stopped_at + timeout:
            raise DrainTimeout([printable_id(delivery)], timeout)

    def _turn_with_workers(self) -> None:
        """Hand out what waits, receive more where there is room, settle what came back."""
        pool, adapter, backlog = self._pool, self._adapter, self._backlog
        assert pool is not None
        held = self._hold_until - monotonic()
        if held > 0:
            verdicts = pool.collect(held)
        else:
            while backlog and pool.in_flight < adapter.max_in_flight:
                pool.submit(self._as_delivery(backlog.popleft()))
            if pool.in_flight >= adapter.max_in_flight:
                verdicts = pool.collect(adapter.poll_timeout)
            else:
                backlog.extend(self._receive_beside_workers(pool))
                verdicts = pool.collect(0)
        self._settle_collected(pool, verdicts)

    def _as_delivery(self, item: Delivery | bytes) -> Delivery:
        return Delivery(item, source=self._adapter.source) if isinstance(item, bytes) else item

    def _receive_beside_workers(self, pool: WorkerPool[M]) -> Sequence[Delivery | bytes]:
        """Receive, but not for long while verdicts may come: a worker's ends the wait."""
        timeout = BUSY_TIMEOUT if pool.in_flight else self._adapter.poll_timeout
        self._in_receive = True  # before the look at the pool: so no verdict is missed by both
        try:
            return self._receive(0.0 if pool.has_verdicts else timeout)
        finally:
            self._in_receive = False

    def _worker_done(self) -> None:
        """Wake the receiving thread where it waits for the transport; called in a worker."""
        if self._in_receive:
            self._adapter.wake()

    def _settle_collected(self, pool: WorkerPool[M], verdicts: list[Verdict[M]]) -> None:
        while pool.crashes:
            self._fail(pool.crashes.pop(0))
        self._unsettled += verdicts
        interval = self._adapter.flush_interval
        if interval is None or not pool.in_flight or monotonic() >= self._flush_due:
            self._settle_and_flush()
        else:
            self._settle()

    # The transport, and what becomes of its errors.

    def _receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        adapter = self._adapter
        try:
            batch = adapter.receive(timeout)
        except EndOfInput:
            self._ended = True
            return ()
        except (*adapter.fatal_errors, *adapter.connection_errors) as error:
            self._lost(error)
            return ()
        adapter.count(received=len(batch))
        return batch

    def _settle(self) -> None:
        """Settle the verdicts that wait, all together."""
        if not self._unsettled:
            return
        verdicts = self._unsettled[:]
        self._unsettled.clear()
        try:
            self._ctx.settle(verdicts)
        except SettlementFailed as error:
            self._recover(error)
        decisions = [verdict.decision for verdict in verdicts]
        nacked, dead = decisions.count(NACKED), decisions.count(DEAD_LETTERED)
        self._adapter.count(acked=len(verdicts) - nacked - dead, nacked=nacked, dead=dead)
        self._throttle(nacked, len(verdicts))

    def _throttle(self, nacked: int, settled: int) -> None:
        """Hold the next batch back when nothing but nacks came for a while."""
        self._nacks_in_a_row = self._nacks_in_a_row + nacked if nacked == settled else 0
        excess = self._nacks_in_a_row - FREE_NACKS
        if excess > 0:
            pause = min(NACK_PAUSE_LONGEST, 0.01 * 2 ** min(excess // FREE_NACKS, 10))
            self._hold_until = monotonic() + pause

    def _settle_and_flush(self) -> None:
        """Settle what waits, and send the acks that the transport batched."""
        adapter = self._adapter
        self._settle()
        try:
            adapter.flush()
        except (*adapter.fatal_errors, *adapter.connection_errors) as error:
            self._lost(error)
        if adapter.flush_interval is not None:
            self._flush_due = monotonic() + adapter.flush_interval

    def _recover(self, failed: SettlementFailed) -> None:
        """Go on after an ack that the transport did not take, where its connection was at fault."""
        adapter, cause = self._adapter, failed.__cause__
        if isinstance(cause, TransportRefused):
            failed.__cause__ = None  # else each would be what led to the other
            raise cause
        if cause is None or not isinstance(
            cause, (*adapter.fatal_errors, *adapter.connection_errors)
        ):
            raise failed
        self._lost(cause)

    def _lost(self, error: BaseException) -> None:
        """Connect again; what was not acked is delivered again. Not where this run is ending."""
        adapter = self._adapter
        if isinstance(error, adapter.fatal_errors):
            raise TransportRefused(adapter, error) from error
        if self.over:
            logger.warning(
                "%s lost its connection while ending (%s); its last acks may not have arrived",
                type(adapter).__name__,
                type(error).__name__,
            )
        else:
            adapter.reconnect(error)

    # The end.

    def _drain(self) -> None:
        """Let what is in hand be finished: at the end of the input all of it, else what can.

        :raises DrainTimeout: workers were not through at the deadline.
        """
        pool, adapter = self._pool, self._adapter
        if pool is None:
            return
        timeout = adapter.drain_timeout
        while pool.in_flight:
            wait = adapter.poll_timeout
            began = adapter.stopped_at if self._failure is None else self._failed_at
            if began is not None:
                pool.close()
                wait = min(wait, began + timeout - monotonic())
                if wait <= 0 and not pool.has_verdicts:  # what is done is settled, however late
                    break
            try:
                self._settle_collected(pool, pool.collect(wait))
            except BaseException as error:
                self._fail(error)
        pool.close()
        self._backlog.extendleft(reversed(pool.skipped + pool.not_begun()))
        if pool.in_flight:
            raise DrainTimeout(pool.in_hand(), timeout)
        pool.join()

    def _leave_backlog(self) -> None:
        """Leave what was received and not handled to the transport, or else to the next run."""
        if not self._backlog:
            return
        adapter = self._adapter
        again = adapter.capabilities.crash_redelivery
        if again:
            try:
                adapter.give_back(list(self._backlog))
            except (*adapter.fatal_errors, *adapter.connection_errors) as error:
                logger.debug("giving back: %s", type(error).__name__)
        else:
            adapter.leftover.extend(self._backlog)
        logger.warning(
            "%s ended with %d received message(s) not handled; %s",
            type(adapter).__name__,
            len(self._backlog),
            "the transport delivers them again" if again else "only its next run can handle them",
        )
