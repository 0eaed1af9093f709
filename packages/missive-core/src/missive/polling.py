"""The polling adapter: everything that transports which are read in a loop have in common."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from time import monotonic, time
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from .adapter import Adapter
from .errors import ConfigurationError, TransportRefused, TransportUnreachable
from .hooks import note_later_error, place_of
from .loggers import logger_of
from .messages import Delivery, Envelope, M, check_message_cls
from .receiving import EndOfInput, Receiving
from .shutdown_handler import ShutdownHandler
from .wakeup import Wakeup

if TYPE_CHECKING:
    from datetime import datetime

    from .processor import Processor

__all__ = ["EndOfInput", "PollingAdapter", "PollingOptions", "Status"]

logger = logger_of("missive.polling")

#: The first wait before a connection is tried again, and the longest, in seconds. One that is lost
#: sooner than the longest wait after it was opened counts as another attempt that failed.
BACKOFF_FIRST, BACKOFF_LONGEST = 0.05, 3.0


class PollingOptions(TypedDict, total=False):
    """The keyword arguments that every polling adapter takes; see :class:`PollingAdapter`."""

    # Generic in the message it would say more, but that takes Python 3.11.

    workers: int
    max_in_flight: int | None
    ordering_key: Callable[[Any], Hashable] | None
    drain_timeout: float
    connect_timeout: float | None


class Status(NamedTuple):
    """How a polling adapter is doing, for probes and metrics.

    :ivar connected: whether a message that is published now would be delivered.
    :ivar last_progress: when the receive loop last came round, in UTC; None before it began.
    :ivar in_flight: messages handed to workers and not yet settled.
    :ivar received: deliveries received since the adapter was built; likewise the other counters.
    :ivar waiting: deliveries received and not begun; falls from message to message.
    :ivar handling: the printable id of the message that is handled in the receiving thread, where
        the transport gave it one; None with several workers.
    """

    connected: bool
    last_progress: datetime | None
    in_flight: int
    received: int
    acked: int
    nacked: int
    dead_lettered: int
    reconnections: int
    waiting: int = 0
    handling: str | None = None


class PollingAdapter(Adapter[M]):
    """An adapter that reads its transport in a loop.

    A transport writes ``open``, ``close``, ``receive``, ``ack`` and ``nack``, and ``flush`` where
    it batches its acks. All of them are only ever called in the thread that called ``run``.

    :param message_cls: makes a message of the bytes of a delivery.
    :param processor: the processor to run.
    :param workers: how many messages are handled at once. With one, handlers run in the receiving
        thread; with more, in threads of their own, and the receiving thread settles.
    :param max_in_flight: how many messages are handed to workers and not yet settled, at most; two
        for each worker unless given.
    :param ordering_key: with several workers, messages for which this gives the same key are
        handled one after the other, in the order they came.
    :param drain_timeout: how long handlers may go on after ``stop``, in seconds.
    :param connect_timeout: how long the first connection is tried, in seconds; None: for ever.
    :raises ConfigurationError: these cannot work; nothing was connected to.

    :ivar ready: set while a message that is published now would be delivered.
    """

    #: Errors of the transport's client that mean: the connection is lost, try again.
    connection_errors: tuple[type[Exception], ...] = ()
    #: Errors that no new attempt mends (a wrong password); looked at before connection_errors.
    fatal_errors: tuple[type[Exception], ...] = ()
    #: How long settled messages may wait to be flushed together, in seconds; None: the transport
    #: does not batch, so each message is settled before the next is handled.
    flush_interval: float | None = None
    #: How long one ``receive`` may wait, in seconds.
    poll_timeout: float = 0.5
    #: What may stand in the query of a URL, beside what an adapter adds, and how it is read.
    url_options: Mapping[str, Callable[[str], Any]] = {
        "workers": int,
        "max_in_flight": int,
        "drain_timeout": float,
        "connect_timeout": float,
    }
    #: The source of messages that ``receive`` gives as bytes alone.
    source: str | None = None

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
    ) -> None:
        super().__init__(processor)
        check_message_cls(message_cls)
        if max_in_flight is None:
            max_in_flight = 2 * workers
        self._check(workers, max_in_flight, ordering_key, drain_timeout, connect_timeout)
        self.message_cls = message_cls
        self.workers = workers
        self.max_in_flight = max_in_flight
        self.ordering_key = ordering_key
        self.drain_timeout = drain_timeout
        self.connect_timeout = connect_timeout
        self.ready = threading.Event()
        self.shutdown_handler = ShutdownHandler(self._note_stop)
        #: When stop was asked for, on the clock of time.monotonic; None while it was not.
        self.stopped_at: float | None = None
        self._wakeup: Wakeup | None = None
        self._receiving: Receiving[M] | None = None
        self._running = threading.Lock()
        #: What was received and not handled when ``run`` ended, where the transport will not
        #: deliver it again: the next ``run`` begins with it.
        self.leftover: list[Delivery | bytes] = []
        self._opened_at = 0.0
        self._lost_soon = 0  # how many connections in a row were lost soon after they were opened
        self._last_progress: float | None = None
        self._counts = {"received": 0, "nacked": 0, "dead_lettered": 0, "reconnections": 0}
        self._acked = 0

    def _check(
        self,
        workers: int,
        max_in_flight: int,
        ordering_key: object,
        drain_timeout: float,
        connect_timeout: float | None,
    ) -> None:
        name = type(self).__name__
        if not isinstance(workers, int) or workers < 1:
            raise ConfigurationError(
                f"{name} cannot run with workers={workers!r}; give a whole number from 1"
            )
        if not isinstance(max_in_flight, int) or max_in_flight < workers:
            raise ConfigurationError(
                f"{name} cannot keep {workers} workers busy with max_in_flight={max_in_flight!r};"
                " give a whole number that is no less than workers"
            )
        if workers > 1 and not self.capabilities.out_of_order_ack:
            raise ConfigurationError(
                f"{name} cannot run with workers={workers}, since its transport takes acks only in"
                " the order of delivery; use workers=1, and more processes for more throughput"
            )
        if ordering_key is not None and not callable(ordering_key):
            raise ConfigurationError(
                f"ordering_key of {name} must be a callable from message to key,"
                f" not a {type(ordering_key).__name__}"
            )
        given: object = drain_timeout
        if not isinstance(given, (int, float)) or not given >= 0:
            raise ConfigurationError(
                f"drain_timeout of {name} must be 0 s or more, not {given!r};"
                ' give float("inf") to wait for ever'
            )
        given = connect_timeout
        if given is not None and (not isinstance(given, (int, float)) or not given > 0):
            raise ConfigurationError(
                f"connect_timeout of {name} must be more than 0 s, or None to try for ever,"
                f" not {given!r}"
            )

    # What a transport writes.

    @abstractmethod
    def open(self) -> None:
        """Connect, and return when a message that is published now would be delivered."""

    @abstractmethod
    def close(self) -> None:
        """Disconnect, from any state, also after a failed ``open``; called more than once."""

    @abstractmethod
    def receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        """Give what has come; wait for something if nothing has.

        Wait with :meth:`wait`, so that ``stop`` takes effect at once. Bytes alone stand for a
        delivery without an envelope of its own.

        :param timeout: wait at most so many seconds.
        :returns: the deliveries in order; empty when idle.
        :raises EndOfInput: there will never be another message.
        """

    def flush(self) -> None:
        """Send the acks that were batched; called after each batch, when idle, and on stop."""

    def give_back(self, deliveries: Sequence[Delivery | bytes]) -> None:
        """Have what was received and not handled delivered again soon, to anybody.

        Called when ``run`` ends, before ``close``, where the transport redelivers at all; unless
        overridden it does so in its own time, as after a crash.
        """

    # What a transport is given.

    def wait(self, timeout: float, readable: Any = None) -> bool:
        """Wait until a file is readable, ``stop`` is called, a worker is done, or time is over.

        :param timeout: at most so many seconds.
        :param readable: a socket, a file descriptor or an object with ``fileno()``.
        :returns: whether ``readable`` is readable.
        """
        assert self._wakeup is not None, "wait() is for a running adapter"
        return self._wakeup.wait(timeout, readable)

    def wake(self) -> None:
        """End the wait that is under way, or else the next one; from any thread."""
        wakeup = self._wakeup
        if wakeup is not None:
            wakeup.ring()

    @property
    def stopping(self) -> bool:
        """Whether ``stop`` was called."""
        return self.stopped_at is not None

    @property
    def ending(self) -> bool:
        """Whether the run receives no more: after ``stop``, the end of the input, or a failure."""
        receiving = self._receiving
        return self.stopping or (receiving is not None and receiving.over)

    @property
    def reconnecting(self) -> bool:
        """Whether the run had a connection before: what was received with it may be in hand."""
        return self._receiving is not None

    # What a user or a supervisor calls.

    def run(self) -> None:
        """Receive, handle and settle until the input ends or ``stop`` is called.

        In the main thread SIGINT and SIGTERM stop it; a second one ends the process.

        :raises TransportUnreachable: the first connection failed for ``connect_timeout``.
        :raises TransportRefused: the transport refused in a way that trying again does not mend.
        :raises DrainTimeout: handlers were not through ``drain_timeout`` after ``stop``.
        :raises BaseException: what left a message unsettled; see the settlement table.
        """
        if not self._running.acquire(blocking=False):
            raise ConfigurationError(
                f"this {type(self).__name__} runs already; build one for each thread"
            )
        try:
            self._wakeup = Wakeup()
            # At the start, since the end of a run may overtake the stop() that led to it.
            self.shutdown_handler.clear_flag()
            self.shutdown_handler.enable()
            if not self.stopping:
                self._run()
        finally:
            self.ready.clear()
            self.shutdown_handler.disable()
            self.stopped_at = None
            wakeup, self._wakeup = self._wakeup, None
            if wakeup is not None:
                wakeup.close()
            self._running.release()

    def _run(self) -> None:
        with self.processor.context(self.message_cls, self) as ctx:
            try:
                self.connect(self.connect_timeout)
                if not self.stopping:
                    self._receiving = Receiving(self, ctx)
                    self._receiving.run()
            except BaseException as error:
                try:
                    self._disconnect()
                except Exception as later:  # what ended the run counts
                    note_later_error(error, later)
                raise
            else:
                self._disconnect()
            finally:
                self._receiving = None

    def stop(self) -> None:
        """Ask ``run`` to finish what is in hand and return.

        From any thread or a handler, any number of times. Before ``run`` it makes the next ``run``
        return at once, without having connected.
        """
        self._note_stop()
        self.shutdown_handler.set_flag()

    def _note_stop(self, signum: int | None = None) -> None:
        # May run in a signal handler: takes no lock.
        if self.stopped_at is None:
            self.stopped_at = monotonic()
        receiving = self._receiving
        if receiving is not None:
            receiving.halt()
        self.wake()

    def status(self) -> Status:
        """Say how the adapter is doing; from any thread."""
        from datetime import datetime, timezone

        receiving, progress = self._receiving, self._last_progress
        return Status(
            connected=self.ready.is_set(),
            last_progress=None
            if progress is None
            else datetime.fromtimestamp(progress, timezone.utc),
            in_flight=receiving.in_flight if receiving is not None else 0,
            waiting=receiving.waiting if receiving is not None else 0,
            handling=receiving.handling if receiving is not None else None,
            acked=self._acked,
            **self._counts,
        )

    # Connection, for the receive loop.

    def connect(self, give_up_after: float | None = None) -> None:
        """Open the transport, trying again with growing, jittered pauses; return when stopped.

        :param give_up_after: raise after so many seconds; None: try for ever.
        :raises TransportUnreachable: it could not be opened in that time.
        :raises TransportRefused: it refused in a way that trying again does not mend.
        """
        began, pause, attempts = monotonic(), BACKOFF_FIRST, 0
        while not self.stopping:
            try:
                self.open()
            except self.fatal_errors as error:
                raise TransportRefused(self, error) from error
            except self.connection_errors as error:
                attempts += 1
                self._disconnect()
                elapsed = monotonic() - began
                if give_up_after is not None and elapsed >= give_up_after:
                    raise TransportUnreachable(self, give_up_after, error) from error
                if attempts == 1:
                    logger.warning(
                        "%s cannot connect (%s at %s); trying again until it can",
                        type(self).__name__,
                        type(error).__name__,
                        place_of(error),
                    )
                if give_up_after is not None:
                    pause = min(pause, give_up_after - elapsed)
                self.wait(pause * _jitter())
                pause = min(pause * 2, BACKOFF_LONGEST)
            else:
                if attempts:
                    logger.warning(
                        "%s connected after %d attempts in %.1f s",
                        type(self).__name__,
                        attempts + 1,
                        monotonic() - began,
                    )
                self._opened_at = monotonic()
                self.ready.set()
                return

    def reconnect(self, error: BaseException) -> None:
        """Open the transport again after a connection error.

        At once, unless the connection was lost soon after it was opened, as behind a proxy whose
        server is down: then after pauses that grow, and with one line in the log for the whole row.
        """
        self.ready.clear()
        self._counts["reconnections"] += 1
        if monotonic() - self._opened_at >= BACKOFF_LONGEST:
            self._lost_soon = 0
        if self._lost_soon < 2:
            logger.warning(
                "%s lost its connection%s (%s at %s)",
                type(self).__name__,
                " again; trying with pauses until one lasts" if self._lost_soon else "",
                type(error).__name__,
                place_of(error),
            )
        self._disconnect()
        if self._lost_soon:
            # Ten doublings are well past the longest.
            pause = BACKOFF_FIRST * 2 ** min(self._lost_soon - 1, 10)
            self.wait(min(pause, BACKOFF_LONGEST) * _jitter())
        self._lost_soon += 1
        self.connect()

    def _disconnect(self) -> None:
        try:
            self.close()
        except (*self.connection_errors, *self.fatal_errors) as error:
            logger.debug("closing %s: %s", type(self).__name__, type(error).__name__)

    def count(self, *, received: int = 0, acked: int = 0, nacked: int = 0, dead: int = 0) -> None:
        """Note progress of the receive loop."""
        self._last_progress = time()
        self._acked += acked
        self._counts["received"] += received
        self._counts["nacked"] += nacked
        self._counts["dead_lettered"] += dead

    @property
    def shared_envelope(self) -> Envelope:
        """The envelope of messages that ``receive`` gives as bytes alone."""
        return Envelope(source=self.source)


def _jitter() -> float:
    """Give a factor that keeps the adapters that lost one server from coming back in step."""
    import random  # not by those that connect at once: it takes 3 ms

    return random.uniform(0.5, 1.0)
