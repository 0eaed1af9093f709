"""The adapter of JetStream: durable pull consumers, at least once, on any number of machines."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from missive import Capabilities, ConfigurationError, Delivery, HandlingContext, M, Outcome
from missive.polling import check_count, read_flag

from .connected import MOST_AT_ONCE, ConnectedAdapter
from .consumers import Wanted, check_name, check_subjects, find
from .lag import Lag
from .link import CLOSE_TIMEOUT, Link
from .messages import StreamMessage
from .pulls import Pulls
from .servers import read_servers, split_url
from .suspects import Suspects

if TYPE_CHECKING:
    from missive import Processor
    from missive.polling import PollingOptions
    from typing_extensions import Unpack

    from nats.aio.msg import Msg

#: How long settled messages wait at most for others to be acked together, in seconds.
FLUSH_INTERVAL = 0.1
#: What is sent to settle a message.
ACK, NAK, TERM, IN_PROGRESS = b"", b"-NAK", b"+TERM", b"+WPI"


class NATSAdapter(ConnectedAdapter[M]):
    """Reads a stream of JetStream by a durable pull consumer, at least once.

    Any number of processes share a consumer. A message's ``source`` is its subject, its id
    ``stream-sequence``, its ``delivery_count`` the server's, its ``native`` the
    :class:`StreamMessage`.

    :param stream: the name of the stream.
    :param consumer: the name of its durable consumer.
    :param servers: ``nats://user:password@host:4222``, or ``tls://``; several of one cluster as a
        list, or with commas between the hosts.
    :param filter_subjects: the subjects to read; the consumer must have just these. None given:
        whatever the consumer reads.
    :param batch_size: how many messages are fetched at once.
    :param retry_after: seconds until a nacked message is redelivered. A new consumer gets it as its
        ``ack_wait``: the time after which messages of a dead process are redelivered.
    :param max_deliveries: after this many deliveries without settlement, a message becomes a dead
        letter without being handled again; without a DLQ the adapter stops. Raised to the attempts
        of a ``Retry`` if those are more.
    :param create: create a missing consumer, for the whole stream and with explicit acks.
    :param domain: the JetStream domain, where there are several.
    :param credentials: the path of a credentials file.
    :param nkey: the path of a file with an NKey seed.
    :param tls: settings of TLS, if the system's certificate authorities are not enough.
    :param inbox_prefix: the subject below which the server answers, if permissions limit that.
    :param heartbeat: seconds between signs of life of server and client; after three missing ones
        the connection counts as lost.
    :param options: what every :class:`~missive.polling.PollingAdapter` takes.
    :raises ConfigurationError: an argument cannot work; no connection was made.
    """

    messaging_system = "nats"
    capabilities = Capabilities(
        delivery="at-least-once",
        nack="redeliver",
        persistent=True,
        crash_redelivery=True,
        ordering="source",
        competing_consumers=True,
        stable_id=True,
        delivery_count=True,
        headers=True,
        max_bytes=1024 * 1024,  # max_payload, unless the server is told otherwise
        reconnects=True,
        delayed_nack=True,
        settles_across_connections=True,
    )
    flush_interval = FLUSH_INTERVAL

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        processor: Processor[M],
        stream: str,
        consumer: str,
        *,
        servers: str | Iterable[str] = "nats://localhost:4222",
        filter_subjects: Iterable[str] | str = (),
        batch_size: int = 100,
        retry_after: float = 30.0,
        max_deliveries: int = 5,
        create: bool = False,
        domain: str | None = None,
        credentials: str | None = None,
        nkey: str | None = None,
        tls: ssl.SSLContext | None = None,
        inbox_prefix: str = "_INBOX",
        heartbeat: float = 5.0,
        **options: Unpack[PollingOptions],
    ) -> None:
        known = read_servers(
            servers,
            credentials=credentials,
            nkey=nkey,
            tls=tls,
            inbox_prefix=inbox_prefix,
            heartbeat=heartbeat,
        )
        super().__init__(message_cls, processor, known, **options)
        name = type(self).__name__
        self.stream = check_name("stream", stream, name)
        self.consumer = check_name("consumer", consumer, name)
        given = (filter_subjects,) if isinstance(filter_subjects, str) else tuple(filter_subjects)
        self.filter_subjects = check_subjects("filter_subjects", given, name)
        if domain is not None:
            check_name("domain", domain, name)
        for what, count in (("batch_size", batch_size), ("max_deliveries", max_deliveries)):
            check_count(self, what, count)
        number = isinstance(retry_after, (int, float)) and not isinstance(retry_after, bool)
        if not number or not 0.1 <= retry_after < 1e9:
            raise ConfigurationError(
                f"retry_after of {name} must be 0.1 s or more, not {retry_after!r}"
            )
        self.batch_size = batch_size
        self.retry_after = retry_after
        self.max_deliveries = max_deliveries
        self.create = create
        self._prefix = "$JS.API" if domain is None else f"$JS.{domain}.API"
        self._pulls: Pulls | None = None
        self._lease = retry_after
        self._most = max_deliveries
        self._suspects = Suspects(max_deliveries)
        self._extended_at = 0.0
        self._unsent: list[tuple[str, bytes]] = []

    @classmethod
    def from_url(
        cls,
        url: str,
        message_cls: Callable[[bytes], Any],
        processor: Processor[Any],
        **options: Any,
    ) -> NATSAdapter[Any]:
        """Build the adapter from ``nats://user:password@host:4222/?stream=ORDERS&consumer=ship``.

        ``tls://`` is TLS, whose certificate is verified (``cafile``, ``certfile``, ``keyfile``).
        The other keyword arguments may stand in the query too.

        :raises ConfigurationError: the URL cannot be read, or names no stream or consumer.
        """
        readers: dict[str, Callable[[str], Any]] = {
            **cls.url_options,
            "stream": str,
            "consumer": str,
            "filter_subjects": lambda text: [name for name in text.split(",") if name],
            "batch_size": int,
            "retry_after": float,
            "max_deliveries": int,
            "create": read_flag,
            "domain": str,
        }
        given: dict[str, Any] = {**split_url(url, readers), **options}
        for needed in ("stream", "consumer"):
            if needed not in given:
                raise ConfigurationError(f"the URL lacks {needed}=…, which {cls.__name__} needs")
        return cls(message_cls, processor, **given)

    # Connecting.

    def open(self) -> None:
        """Connect, and look at the consumer."""
        with self._noting_loss(waits=self.reconnecting):
            self._most = self._deliveries()
            self._suspects = Suspects(self._most)
            link = self._connect()
            consumer = link.run(find(link, self._wanted(), self), gives_up=self._gives_up)
            self._lease = consumer.lease
            self.keepalive_interval = consumer.lease / 3
            batch = min(self.batch_size, consumer.batch or self.batch_size)
            self._pulls = Pulls(link, consumer.subject, batch, consumer.linger, self._on_message)
        # What came before is handled, unless another process has it by now.
        oldest = monotonic() - self._lease
        fresh = [m for m in self._arrivals if max(m.came_at, self._extended_at) > oldest]
        self._arrivals.clear()
        self._arrivals.extend(fresh)
        self.keepalive()

    def _wanted(self) -> Wanted:
        return Wanted(
            prefix=self._prefix,
            stream=self.stream,
            name=self.consumer,
            filters=self.filter_subjects,
            lease=self.retry_after,
            deliveries=self._most,
            create=self.create,
        )

    def _deliveries(self) -> int:
        """How often a message is delivered at most: each attempt of a retry is a delivery."""
        default = self.processor.retry
        retries = [handler.retry or default for handler in self.processor.router.handlers]
        attempts = [retry.attempts for retry in [*retries, default] if retry is not None]
        return max([self.max_deliveries, *attempts])

    def close(self) -> None:
        """Disconnect; when the run ends, what came and was not handled is given back."""
        self._pulls = None
        frames: list[tuple[str, bytes]] = []
        if self.ending:
            frames = [*self._unsent, *((m.reply, NAK) for m in self._arrivals)]
        self._hang_up(frames)
        if self.ending:
            self._unsent.clear()
            self._arrivals.clear()

    # Receiving.

    def _on_message(self, msg: Msg) -> None:
        """Take a message, on the link's loop."""
        message = StreamMessage(msg, monotonic())
        if message.deliveries > self._most:
            times = message.deliveries - 1
            message.rejection = (
                f"delivered {times} time{'s' * (times > 1)} without being settled",
                "settling",
            )
        self._arrived(message)

    def receive(self, timeout: float) -> Sequence[Delivery]:
        """Return what has come; ask for more and wait where nothing has."""
        with self._noting_loss():
            link = self._connected()
            link.check()
            pulls = self._pulls
            assert pulls is not None
            taken = self._taken(link)
            if taken:
                return taken
            if self._arrivals or self._suspects.in_flight:
                self.wait(timeout)
            else:
                if not pulls.is_active:
                    one = self._suspects.come
                    link.call(lambda: link.spawn(pulls.demand(1 if one else None)))
                self._wait_for_arrivals(timeout)
            link.check()
            return self._taken(link)

    def _taken(self, link: Link) -> list[StreamMessage]:
        def is_calm() -> bool:
            if len(self.unsettled()) > self.status().held:
                return False
            if self._unsent:  # or the death of the next would have them delivered again
                unsent = list(self._unsent)
                link.run(link.deliver(unsent), gives_up=self._gives_up)
                del self._unsent[: len(unsent)]
            return True

        return self._suspects.take(self._arrivals, MOST_AT_ONCE, is_calm)

    def dropped(self, deliveries: Sequence[Delivery]) -> None:
        """Keep what had not begun: a lease outlasts its connection."""
        self._arrivals.extendleft(reversed(deliveries))

    def give_back(self, deliveries: Sequence[Delivery | bytes]) -> None:
        """Have what was not handled delivered again at once, to any process."""
        self._unsent += [(m.reply, NAK) for m in deliveries if isinstance(m, StreamMessage)]

    def keepalive(self) -> None:
        """Extend the leases of what is in flight or waits here."""
        link = self._link
        if link is None or link.failure is not None:
            return  # the receiving thread finds out, and connects again
        waiting = [*self.unsettled(), *self._arrivals]
        link.post([(m.reply, IN_PROGRESS) for m in waiting if isinstance(m, StreamMessage)])
        self._extended_at = monotonic()

    # Settling.

    def settle(self, batch: Sequence[HandlingContext[M]]) -> None:
        """Note what becomes of messages; it is sent together with others."""
        for context in batch:
            message: Any = context.delivery
            reply: str = message.reply
            outcome = context.outcome
            if outcome is Outcome.ACKED or outcome is Outcome.DEFERRED:
                self._unsent.append((reply, ACK))
            elif outcome is Outcome.DEAD_LETTERED:
                self._unsent.append((reply, TERM))
            else:
                delay = self.retry_after if context.delay is None else context.delay
                self._suspects.note_nack(message)
                self._unsent.append((reply, _nak(delay)))

    def ack(self, message: M) -> None:
        """Note that the message is settled."""
        self._unsent.append((message.native.reply, ACK))

    def nack(self, message: M) -> None:
        """Note that the message is delivered again after ``retry_after``."""
        self._suspects.note_nack(message.native)
        self._unsent.append((message.native.reply, _nak(self.retry_after)))

    def flush(self) -> None:
        """Send what was noted; take nothing more off the server when paused or ending."""
        link, pulls = self._link, self._pulls
        if link is None or pulls is None:
            return
        ending = self.ending
        with self._noting_loss():
            link.check()
            if (ending or self.pauses) and pulls.is_active:
                link.run(pulls.cancel(), CLOSE_TIMEOUT)
            unsent, self._unsent = self._unsent, []
            if unsent and ending:
                link.run(link.deliver(unsent), CLOSE_TIMEOUT)
            elif unsent:
                link.post(unsent)

    # Probing.

    def lag(self) -> Lag:
        """Return how much waits for the consumer; from any thread, on a connection of its own.

        :raises NATSRefused: the stream or consumer is missing, or NATS refuses.
        :raises NATSUnavailable: NATS cannot be asked now.
        """
        with self._noting_loss(waits=False):
            link = Link(self.servers, lambda: None, lambda: False)
            try:
                info = link.run(
                    link.ask(f"{self._prefix}.CONSUMER.INFO.{self.stream}.{self.consumer}")
                )
            finally:
                link.close()
        return Lag(
            pending=info["num_pending"],
            unsettled=info["num_ack_pending"],
            redelivered=info["num_redelivered"],
            waiting=info["num_waiting"],
        )

    def lag_by_source(self) -> dict[str, int]:
        """Return how many messages of the stream the consumer has not settled.

        :raises NATSRefused: the stream or consumer is missing, or NATS refuses.
        :raises NATSUnavailable: NATS cannot be asked now.
        """
        lag = self.lag()
        return {self.stream: lag.pending + lag.unsettled}


def _nak(delay: float) -> bytes:
    """Return what has a message delivered again after so many seconds."""
    if delay <= 0:
        return NAK
    return NAK + b" " + json.dumps({"delay": int(delay * 1e9)}).encode()
