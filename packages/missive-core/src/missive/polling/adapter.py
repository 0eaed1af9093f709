"""The polling adapter: everything that transports which are read in a loop have in common."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Hashable, Sequence
from contextvars import copy_context
from datetime import datetime, timezone
from time import monotonic, time
from typing import Any

from ..adapter import Adapter
from ..delivery import Delivery, Envelope
from ..error_notes import note_later_error
from ..errors import ConfigurationError
from ..message import M, check_message_cls
from ..processor import Processor
from ..run import ProcessingContext
from ..shutdown_handler import ShutdownHandler
from .connection import Connection
from .loop import Loop, start_loop
from .options import check_options
from .port import Port
from .status import Counters, Status
from .wakeup import Wakeup
from .watch import HandlerTimeouts


class PollingAdapter(Port[M], Adapter[M]):
    """An adapter that reads its transport in a loop.

    A transport writes ``open``, ``close``, ``receive``, ``ack`` and ``nack``, and ``flush`` where
    it batches its acks. All of them are only ever called in the thread that called ``run``; and
    ``keepalive``, while a handler occupies that thread, in another one instead, never both at once.

    :param message_cls: makes a message from the bytes of a delivery.
    :param processor: the processor to run.
    :param workers: how many messages are handled at once by plain handlers. With one, handlers run
        in the receiving thread; with more, in threads of their own, and the receiving thread
        settles. Where a handler or hook is ``async def``, messages are tasks on an event loop, and
        plain handlers run in so many threads.
    :param max_in_flight: how many messages are being handled or wait for that, at most. Unless
        given: two for each worker, and 100 where handlers are async.
    :param ordering_key: messages for which this returns the same key are handled one after the
        other, in the order in which they came.
    :param drain_timeout: how long handlers may go on after ``stop``, in seconds.
    :param connect_timeout: how long the first connection is tried, in seconds; None: forever.
    :param handler_timeout: a handler that runs for longer, in seconds, is named in the log and in
        ``status()``; it is not killed. None: no limit.
    :param loop_factory: makes the event loop of async handlers, such as ``uvloop.new_event_loop``.
    :raises ConfigurationError: an argument cannot work; no connection was made.

    :ivar ready: set while a message that is published now would be delivered.
    """

    processor: Processor[M]

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        processor: Processor[M],
        *,
        workers: int = 1,
        max_in_flight: int | None = None,
        ordering_key: Callable[[M], Hashable] | None = None,
        drain_timeout: float = 30.0,
        connect_timeout: float | None = None,
        handler_timeout: float | None = None,
        loop_factory: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__(processor)
        check_message_cls(message_cls)
        self.message_cls = message_cls
        self.workers = workers
        self._given_max_in_flight = max_in_flight
        self.ordering_key = ordering_key
        self.drain_timeout = drain_timeout
        self.connect_timeout = connect_timeout
        self.handler_timeout = handler_timeout
        self.loop_factory = loop_factory
        check_options(self, max_in_flight)
        self.stopped_at = None
        self.pauses = {}
        self.counters = Counters()
        self.leftover = []
        self.ready = threading.Event()
        self.shutdown_handler = ShutdownHandler(self._note_stop)
        self._loop: Loop[M] | None = None
        self._running = threading.Lock()
        self._timeouts = HandlerTimeouts()

    def unsettled(self) -> Sequence[Delivery | bytes]:
        """Return what was received and is not settled; call it in ``keepalive`` or ``receive``."""
        loop = self._loop
        return () if loop is None else loop.unsettled()

    def withdraw(
        self, sources: Collection[str] | Callable[[Envelope], bool], timeout: float = 0.0
    ) -> None:
        """Take back deliveries that another process gets from now on, as of a partition.

        Call it in ``receive`` or ``keepalive``. What has not begun is dropped. What is being
        handled is awaited and settled; past the timeout its settlement is not sent.

        :param sources: the ``source`` of the deliveries, or what returns whether one is of them.
        :param timeout: how long to wait for handlers, in seconds; 0.0 where it is gone already.
        """
        if self._loop is not None:
            self._loop.withdraw(sources, timeout)

    @property
    def ending(self) -> bool:
        """Whether the run receives no more: after ``stop``, the end of the input, or a failure."""
        loop = self._loop
        return self.stopping or (loop is not None and loop.over)

    @property
    def reconnecting(self) -> bool:
        """Whether this run had a connection before, whose messages may still be handled."""
        return self._loop is not None

    def run(self) -> None:
        """Receive, handle and settle until the input ends or ``stop`` is called.

        In the main thread SIGINT, SIGTERM and SIGHUP stop it; a second signal ends the process.

        :raises TransportUnreachable: the first connection failed for ``connect_timeout``.
        :raises TransportRefused: the transport refused in a way that trying again does not mend.
        :raises DrainTimeout: handlers had not returned ``drain_timeout`` after ``stop``.
        :raises BaseException: what left a message unsettled; see the settlement table.
        """
        if not self._running.acquire(blocking=False):
            raise ConfigurationError(
                f"this {type(self).__name__} is running already; build one for each thread"
            )
        try:
            self._wakeup = Wakeup()
            # At the start, since the end of a run may overtake the stop() that led to it.
            self.shutdown_handler.clear_flag()
            self.shutdown_handler.enable()
            if not self.stopping:
                copy_context().run(self._run)
        finally:
            self.ready.clear()
            self.shutdown_handler.disable()
            self.stopped_at = None
            wakeup, self._wakeup = self._wakeup, None
            if wakeup is not None:
                wakeup.close()
            self._running.release()

    def _run(self) -> None:
        ctx = ProcessingContext(
            self.message_cls, self, self.processor, holds=True, loop_factory=self.loop_factory
        )
        with ctx.entered():
            connection = Connection(self)
            try:
                connection.open(self.connect_timeout)
                if not self.stopping:
                    with start_loop(self, ctx, connection) as loop:
                        self._loop = loop
                        loop.run()
            except BaseException as error:
                try:
                    connection.close()
                except Exception as later:  # what ended the run counts
                    note_later_error(error, later)
                raise
            else:
                connection.close()
            finally:
                self._loop = None

    def stop(self) -> None:
        """Ask ``run`` to finish what is in flight and return.

        From any thread, any number of times. Before ``run`` the next ``run`` returns at once.
        """
        self._note_stop()
        self.shutdown_handler.set_flag()

    def _note_stop(self, signum: int | None = None) -> None:
        # May run in a signal handler: takes no lock.
        if self.stopped_at is None:
            self.stopped_at = monotonic()
        loop = self._loop
        if loop is not None:
            loop.executor.halt()
        self.wake()

    def status(self) -> Status:
        """Return how the adapter is doing; from any thread."""
        loop, counters = self._loop, self.counters
        progress = counters.last_progress
        begun = [] if loop is None else loop.executor.begun()
        if begun and loop is not None and loop.executor.inline:
            progress = time()  # a handler occupies the receiving thread, as it should
        return Status(
            connected=self.ready.is_set(),
            last_progress=None
            if progress is None
            else datetime.fromtimestamp(progress, timezone.utc),
            in_flight=0 if loop is None else loop.executor.in_flight,
            received=counters.received,
            acked=counters.acked,
            nacked=counters.nacked,
            dead_lettered=counters.dead_lettered,
            reconnections=counters.reconnections,
            waiting=0 if loop is None else len(loop.intake.backlog),
            handling=None if loop is None else loop.handling,
            deferred=counters.deferred,
            held=0 if loop is None else len(loop.intake.held),
            vanished=counters.vanished,
            paused=(*self.pauses, *(() if loop is None else loop.open_breakers())),
            overdue=self.overdue(),
            oldest_unsettled=None if loop is None else loop.oldest_unsettled(),
        )

    def overdue(self) -> tuple[str, ...]:
        """Return the names of the handlers that have run for longer than ``handler_timeout``."""
        begun = [] if self._loop is None else self._loop.executor.begun()
        return self._timeouts.overdue(begun, self.handler_timeout)
