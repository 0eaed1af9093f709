"""The adapter of RabbitMQ: queues, at least once, on any number of machines."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from missive import Capabilities, ConfigurationError, Delivery, M, ShutdownHandler
from missive.polling import PollingAdapter, check_count, check_names, check_seconds, read_flag

from .acks import Acks, Returns
from .errors import PIKA_ERRORS, RabbitMQRefused, RabbitMQUnavailable, raise_lasting
from .lag import Lag
from .link import Link
from .queue_message import QueueMessage
from .queues import Queues, declare, exists, ready_and_consumers
from .subscriptions import Subscriptions, begin_all
from .suspects import Suspects
from .urls import read_parameters, split_url

if TYPE_CHECKING:
    from missive import Processor
    from typing_extensions import Unpack

    from .options import SharedOptions

logger = logging.getLogger("missive.adapters.rabbitmq.adapter")

#: How long settled messages wait at most for others to be acked together, in seconds.
FLUSH_INTERVAL = 0.1
#: The most that AMQP can ask for ahead.
PREFETCH_MOST = 65535
#: The longest ``retry_after``, in seconds.
RETRY_AFTER_LONGEST = 1e9


class RabbitMQAdapter(PollingAdapter[M]):
    """Reads queues of RabbitMQ, at least once; any number of processes share a queue.

    A message's ``source`` is its queue, its id the ``message_id`` that its publisher gave it, its
    headers the properties of AMQP and its own, its ``native`` the :class:`QueueMessage`. On a quorum
    queue ``delivery_count`` is set; a classic queue does not count.

    :param queues: the names of the queues.
    :param url_or_conn: the broker: ``amqp://user:password@host:port/vhost?heartbeat=30``, or
        ``amqps://`` for TLS.
    :param disable_shutdown_handler: leave SIGINT, SIGTERM and SIGHUP to the program.
    :param prefetch: how many messages of each queue the broker sends ahead; raised to
        ``max_in_flight`` or the size of a batch if that is more.
    :param max_deliveries: after this many deliveries without settlement, a message of a quorum
        queue becomes a dead letter without being handled again; without a DLQ the adapter stops.
    :param retry_after: seconds until a nacked message returns to its queue.
    :param declare: create queues that are missing, as durable quorum queues.
    :param options: what every :class:`~missive.polling.PollingAdapter` takes.
    :raises ConfigurationError: an argument cannot work; no connection was made.
    """

    messaging_system = "rabbitmq"
    capabilities = Capabilities(
        delivery="at-least-once",
        nack="redeliver",
        persistent=True,
        crash_redelivery=True,
        ordering="source",
        competing_consumers=True,
        headers=True,
        max_bytes=128 * 1024 * 1024,  # max_message_size, unless the server is told otherwise
        reconnects=True,
    )
    connection_errors = (RabbitMQUnavailable,)
    flush_interval = FLUSH_INTERVAL

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        processor: Processor[M],
        queues: Iterable[str] | str,
        url_or_conn: object = "amqp://localhost",
        disable_shutdown_handler: bool = False,
        drain_timeout: float = 30.0,
        *,
        prefetch: int = 100,
        max_deliveries: int = 5,
        retry_after: float = 30.0,
        declare: bool = False,
        **options: Unpack[SharedOptions],
    ) -> None:
        super().__init__(message_cls, processor, drain_timeout=drain_timeout, **options)
        self.queues = check_names(self, "queues", queues, _is_short)
        if not self.queues:
            raise ConfigurationError(f"{type(self).__name__} needs the names of queues")
        check_count(self, "prefetch", prefetch, PREFETCH_MOST)
        check_count(self, "max_deliveries", max_deliveries)
        check_seconds(self, "retry_after", retry_after, zero=True, most=RETRY_AFTER_LONGEST)
        if disable_shutdown_handler:
            self.shutdown_handler = _WithoutSignals(self._note_stop)
        self.prefetch = prefetch
        self.max_deliveries = max_deliveries
        self.retry_after = retry_after
        self.declare = declare
        self._parameters = read_parameters(url_or_conn)
        heartbeat: Any = self._parameters.heartbeat
        self.keepalive_interval = min(1.0, heartbeat / 4) if heartbeat else 1.0
        self._queues = Queues(self, max_deliveries)
        self._link: Link | None = None
        self._subscriptions: Subscriptions | None = None
        self._acks, self._returns, self._incoming = Acks(), Returns(), Suspects()
        self._ack_every = 1

    @classmethod
    def from_url(
        cls,
        url: str,
        message_cls: Callable[[bytes], Any],
        processor: Processor[Any],
        **options: Any,
    ) -> RabbitMQAdapter[Any]:
        """Build the adapter from ``amqp://user:password@host:port/vhost?queues=orders,returns``.

        ``amqps://`` is TLS, whose certificate is verified (``cafile``, ``certfile``, ``keyfile``).
        The other keyword arguments may stand in the query too, and ``heartbeat``.

        :raises ConfigurationError: the URL cannot be read, or names no queue.
        """
        readers: dict[str, Callable[[str], Any]] = {
            **cls.url_options,
            "queues": lambda text: [name for name in text.split(",") if name],
            "prefetch": int,
            "max_deliveries": int,
            "retry_after": float,
            "declare": read_flag,
        }
        broker, own = split_url(url, readers)
        given: dict[str, Any] = {"url_or_conn": broker, **own, **options}
        if "queues" not in given:
            raise ConfigurationError(f"the URL lacks queues=…, which {cls.__name__} needs")
        return cls(message_cls, processor, **given)

    # Connecting.

    def open(self) -> None:
        """Connect, look at the queues, and consume from them."""
        again = self.reconnecting
        self._acks, self._returns, self._incoming = Acks(), Returns(), Suspects()
        prefetch = self._prefetch()
        self._ack_every = max(1, prefetch // 2)
        with self._noting_loss(waits_for_queues=again):
            link = self._link = Link(self._parameters, lambda: self.stopping)
            if not again:
                self._look_at_queues(link)
            self._subscriptions = Subscriptions(link, self._queues, prefetch, self._take)
            if again:
                begin_all(self._subscriptions, link, self.queues)
            else:
                for queue in self.queues:
                    self._subscriptions.begin(queue)

    def _prefetch(self) -> int:
        batches = [h.batch.size for h in self.processor.router.handlers if h.batch is not None]
        wanted = max([self.prefetch, self._given_max_in_flight or 1, self.workers, *batches])
        return min(wanted, PREFETCH_MOST)

    def _look_at_queues(self, link: Link) -> None:
        for queue in self.queues:
            if not exists(link, queue):
                if not self.declare:
                    raise RabbitMQRefused(self, 404, f"NOT_FOUND - no queue {queue!r}")
                declare(link, queue)
            self._queues.forget(queue)
            self._queues.kind(link, queue)

    def close(self) -> None:
        """Disconnect; what was delivered and not settled returns to its queue at once."""
        link, self._link = self._link, None
        self._subscriptions = None
        if link is not None:
            with self._noting_loss():
                link.close()

    @contextmanager
    def _noting_loss(self, *, waits_for_queues: bool = True) -> Generator[None]:
        """Raise what pika raises as what it means."""
        try:
            yield
        except RabbitMQUnavailable:
            raise
        except PIKA_ERRORS as error:
            raise_lasting(error, self, waits_for_queues=waits_for_queues)

    def _connected(self) -> Link:
        if self._link is None:
            raise RabbitMQUnavailable("the adapter is not connected")
        return self._link

    # Receiving.

    def _take(self, message: QueueMessage) -> None:
        """Take what pika has read."""
        self._acks.begin(message.tag)
        count = message.delivery_count
        if count is not None and count > self.max_deliveries:
            times = "1 time" if count == 2 else f"{count - 1} times"
            message.rejection = (f"delivered {times} without being settled", "settling")
        self._incoming.add(message)

    def receive(self, timeout: float) -> Sequence[Delivery]:
        """Return what has come; wait for something if nothing has."""
        with self._noting_loss():
            link = self._connected()
            self._look_after(link)
            taken = self._taken(link)  # what was read while acks were sent
            if taken:
                return taken
            if timeout > 0:
                link.wait(self._shortened(timeout), self.wait)
                self._look_after(link)
            else:
                link.step()
            return self._taken(link)

    def _taken(self, link: Link) -> list[QueueMessage]:
        incoming = self._incoming
        if not incoming:
            return []
        if self._queues.problem is not None:
            raise self._queues.problem
        if not incoming.waits_for_calm:
            return incoming.take(True)
        is_calm = len(self.unsettled()) <= self.status().held
        if is_calm:
            self._send_acks(link)
        return incoming.take(is_calm)

    def _look_after(self, link: Link) -> None:
        """Return what is due to its queue, and look for queues that are missing."""
        due = self._returns.due()
        for tag in due:
            link.channel.basic_nack(tag, requeue=True)
            self._acks.returned(tag)
        if due:
            link.step()
        subscriptions = self._subscriptions
        if subscriptions is not None and not subscriptions.are_complete:
            self.ready.clear()
            if subscriptions.look():
                self.ready.set()

    def _shortened(self, timeout: float) -> float:
        """Return how long to wait until something else is to be done."""
        soon = [self._returns.seconds_to_next()]
        if self._subscriptions is not None:
            soon.append(self._subscriptions.seconds_to_look())
        return min([timeout, *(seconds for seconds in soon if seconds is not None)])

    def keepalive(self) -> None:
        """Serve the connection while handlers are busy: heartbeats, and what is due."""
        link = self._link
        if link is None or not link.is_alive:
            return  # the receiving thread finds out, and connects again
        with self._noting_loss():
            link.step()
            self._look_after(link)
            self._send_acks(link)

    # Settling.

    def ack(self, message: M) -> None:
        """Note that the message is settled; it is acked together with others."""
        # What native gives, two calls later.
        delivery: Any = message.envelope
        if self._acks.ack(delivery.tag) >= self._ack_every:
            with self._noting_loss():
                self._send_acks(self._connected())

    def nack(self, message: M) -> None:
        """Hold the message, unsettled; it returns to its queue ``retry_after`` seconds from now."""
        self._returns.hold(message.native.tag, self.retry_after)

    def flush(self) -> None:
        """Ack what is settled; on ``stop``, have nothing more delivered."""
        link = self._link
        if link is None:
            return
        with self._noting_loss():
            if self.ending and self._subscriptions is not None and link.is_alive:
                self._subscriptions.end()
            self._send_acks(link)

    def _send_acks(self, link: Link) -> None:
        if not self._acks.unsent:
            return
        link.check()
        channel = link.channel
        for tag, multiple in self._acks.take():
            channel.basic_ack(tag, multiple)
        link.step()

    # Probing.

    def lag(self) -> Lag:
        """Return how much waits in the queues; from any thread, on a connection of its own.

        :raises RabbitMQRefused: a queue is missing, or RabbitMQ refuses.
        :raises RabbitMQUnavailable: RabbitMQ cannot be asked now.
        """
        ready: dict[str, int] = {}
        consumers = 0
        with self._noting_loss(waits_for_queues=False):
            link = Link(self._parameters, lambda: False)
            try:
                for queue in self.queues:
                    counts = ready_and_consumers(link, queue)
                    if counts is None:
                        raise RabbitMQRefused(self, 404, f"NOT_FOUND - no queue {queue!r}")
                    ready[queue] = counts[0]
                    consumers += counts[1]
            finally:
                link.close()
        return Lag(sum(ready.values()), len(self.unsettled()), consumers, ready)

    def lag_by_source(self) -> dict[str, int]:
        """Return how many messages of each queue wait for a consumer.

        :raises RabbitMQRefused: a queue is missing, or RabbitMQ refuses.
        :raises RabbitMQUnavailable: RabbitMQ cannot be asked now.
        """
        return dict(self.lag().queues)


def _is_short(queue: str) -> bool:
    """Return whether AMQP can carry the name of a queue: 255 bytes at most."""
    return len(queue.encode("utf-8", "replace")) < 256


class _WithoutSignals(ShutdownHandler):
    """A shutdown handler that leaves the signals to the program."""

    def enable(self) -> None:
        """Take over no signal."""
