"""The receive loop: one run of a polling adapter, from first delivery to last settlement."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from itertools import chain
from time import monotonic
from typing import Any

from ..delivery import Delivery, Envelope
from ..errors import DrainTimeout
from ..ids import format_id
from ..message import M
from ..run import ProcessingContext
from .connection import Connection
from .executor import Executor
from .held import delivery_of
from .inline import InlineExecutor
from .port import Port
from .threads import ThreadExecutor
from .turn import BUSY_TIMEOUT, Turns, printable_id
from .watch import Turnstile, Watch

logger = logging.getLogger("missive.polling.loop")


class Loop(Turns[M]):
    """One run of a polling adapter: receives, has messages handled, settles in this very thread.

    Whatever ends it, what is in flight is settled first; then the first error is raised.
    """

    def run(self) -> None:
        """Run until stop, the end of the input, or a failure.

        :raises BaseException: the first failure, or DrainTimeout.
        """
        try:
            while not self.over:
                self.turn()
        except BaseException as error:
            self.fail(error)
        self._settling.refused.stop_waiting()
        for step in (self._drain, self._settling.flush, self._leave):
            try:
                step()
            except BaseException as error:
                self.fail(error)
        if self._failure is not None:
            raise self._failure

    def _drain(self) -> None:
        """Let what is in flight be finished: at the end of the input all of it, else what can.

        :raises DrainTimeout: handlers had not returned at the deadline.
        """
        port, executor = self._port, self.executor
        if self._failure is None:
            self.intake.close_batches()
        while executor.in_flight or executor.has_finished or self._is_unfinished:
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
                self.intake.close_batches()
            try:
                self._keep_alive()
                if not executor.in_flight and not executor.has_finished:
                    port.wait(self._timeout(wait))  # for what is held until its retry is due
                self._collect(self._timeout(wait))
            except BaseException as error:
                self.fail(error)
        executor.close()
        self._give_up()

    @property
    def _is_unfinished(self) -> bool:
        """Whether the input has ended, and something of it waits to be handled here."""
        if not self._ended or self._failure is not None:
            return False
        # Such an input cannot be read again, so no other run would have its deferred messages.
        port = self._port
        last = port.stopped_at is None and not port.capabilities.crash_redelivery
        return self.intake.waits_at_end if last else self.intake.waits > 0

    def _give_up(self) -> None:
        executor = self.executor
        begun = executor.begun()
        executor.cancel()
        for job in executor.collect(0.0):  # what finished in the very last moment
            self._settling.take(job)
            begun = [context for context in begun if all(context is not each for each in job)]
        while executor.crashes:
            self.fail(executor.crashes.pop(0))
        if begun:
            names = [
                printable_id(context) if context._unbuilt else format_id(context.message.message_id)
                for context in begun
            ]
            raise DrainTimeout(sorted(names), self._port.drain_timeout)
        executor.join()

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

    def withdraw(
        self, sources: Collection[str] | Callable[[Envelope], bool], timeout: float
    ) -> None:
        """Take back the deliveries of sources that another process gets.

        What has not begun is dropped. What is being handled is awaited and settled; past the
        timeout it is forgotten, so that its settlement is not sent.
        """

        def gone(delivery: Any) -> bool:
            chosen = sources(delivery) if callable(sources) else delivery.source in sources
            return delivery.settler is None and chosen

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

    # For the adapter's users and authors, from any thread.

    def unsettled(self) -> list[Delivery | bytes]:
        """Return what was received and is not settled: begun, handled or waiting."""
        contexts = [*self.executor.unsettled(), *chain.from_iterable(self._collected)]
        contexts += self._settling.unsettled()
        # What is handled in the receiving thread may be settled already.
        once = {id(context): context for context in contexts}.values()
        return [*map(delivery_of, once), *self.intake.unsettled()]

    def oldest_unsettled(self) -> float | None:
        """Return how many seconds ago the oldest delivery came that is not settled; None: none is.

        A message that is held for another attempt does not count until it begins again.
        """
        executor, intake = self.executor, self.intake
        waits = bool(intake.backlog)  # which one receive filled, when it was empty
        if isinstance(executor, InlineExecutor):
            waits = waits or executor.current is not None
            received: list[float] = []
        else:
            received = [context._received for context in executor.unsettled()]
        if waits:
            received.append(intake.received_at)
        return monotonic() - min(received) if received else None

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


@contextmanager
def start_loop(
    port: Port[M], ctx: ProcessingContext[M], connection: Connection
) -> Generator[Loop[M]]:
    """Make the loop of a run, with its executor: tasks where handlers are async, threads where
    there are several workers, else the receiving thread itself.

    :param port: the adapter.
    :param ctx: the run, entered.
    :param connection: the transport's connection, open.
    """
    wakes: list[Loop[M]] = []

    def on_done() -> None:
        for loop in wakes:
            loop.wake()

    def keep_alive() -> None:
        if port.keepalive_interval is not None:
            port.keepalive()

    executor: Executor[M]
    intervals = [port.keepalive_interval]
    if ctx.is_async:
        from .event_loop import EventLoopExecutor  # a plain run imports no asyncio

        executor = EventLoopExecutor(ctx, port.workers, on_done)
    elif port.workers > 1:
        executor = ThreadExecutor(ctx, port.workers, on_done)
    else:
        executor = InlineExecutor(ctx)
        intervals.append(port.handler_timeout)
    interval = min((each for each in intervals if each), default=None)
    watch: Watch | None = None
    if interval is not None:
        ctx.elsewhere = turnstile = Turnstile()
        recoverable = (*port.fatal_errors, *port.connection_errors)
        watch = Watch(turnstile, interval, keep_alive, port.overdue, recoverable)
        if isinstance(executor, InlineExecutor):
            executor.busy = turnstile
    loop = Loop(port, ctx, connection, executor, watch)
    wakes.append(loop)
    try:
        yield loop
    finally:
        if watch is not None:
            watch.close()
