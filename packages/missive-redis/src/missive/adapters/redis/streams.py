"""Streams: entries of consumer groups, at least once, on any number of machines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from missive import Capabilities, ConfigurationError, Delivery, HandlingContext, M, Outcome
from missive.polling import (
    PollingAdapter,
    Status,
    check_count,
    check_names,
    check_seconds,
    read_flag,
)

from .connections import connection_maker
from .entries import StreamEntry
from .groups import Group
from .lag import Lag, measure
from .links import Link
from .members import unique_name
from .names import can_be_name, encode
from .session import CONNECTION_ERRORS, Session
from .urls import read_adapter_url, read_names

if TYPE_CHECKING:
    from missive import Processor
    from missive.polling import PollingOptions
    from typing_extensions import Unpack

    from redis import Redis

#: How long settled entries wait at most for others to be acked together, in seconds.
FLUSH_INTERVAL = 0.25
#: The longest ``retry_after``, in seconds: Redis takes no entry for idle since before 1970.
RETRY_AFTER_LONGEST = 1e9

_START = re.compile(r"\$|\d+(-\d+)?")


class RedisStreamsAdapter(PollingAdapter[M]):
    """Takes the entries of Redis Streams as one consumer of a consumer group, at least once.

    Any number of processes, on any number of machines, share the entries of a group. Messages that
    a process nacked, or had in flight when it died, are redelivered to any of them.

    A message is the entry's field ``body_field``; its headers are the other fields, its ``source``
    the stream, its id ``stream/group/entry-id``, its ``native`` the :class:`StreamEntry`.

    :param streams: the names of the streams.
    :param group: the consumer group. Missing groups and streams are created.
    :param consumer: the name of this consumer. No two running consumers may have the same, so by
        default each ``run`` makes a unique one. It is removed when ``run`` ends, unless entries are
        pending for it.
    :param url: the server, as ``redis.from_url`` takes it.
    :param client: a ``redis.Redis`` whose settings are used instead of the URL, for connections of
        the adapter's own.
    :param body_field: the field that is the message. An entry without it is a dead letter.
    :param batch_size: how many entries of each stream are read at once, at most.
    :param ack_every: ack after this many settled entries, and wait for the reply. By default, acks
        are sent with the next read, or after a quarter of a second if that is later.
    :param retry_after: seconds until an entry is redelivered that was nacked or whose consumer
        died. A handler may take longer: a heartbeat keeps entries in flight.
    :param max_deliveries: after this many deliveries without settlement, an entry becomes a dead
        letter without being handled again; without a DLQ the adapter stops.
    :param start: where a new group begins: ``"0"`` for everything in the stream, ``"$"`` for new
        entries only, or the id of an entry.
    :param trim: delete entries once every group of their stream has settled them.
    :param options: what every :class:`~missive.polling.PollingAdapter` takes.
    :raises ConfigurationError: an argument cannot work; no connection was made.
    """

    messaging_system = "redis"
    capabilities = Capabilities(
        delivery="at-least-once",
        nack="redeliver",
        persistent=True,
        crash_redelivery=True,
        ordering="source",
        competing_consumers=True,
        stable_id=True,
        delivery_count=True,
        delayed_nack=True,
        headers=True,
        max_bytes=512 * 1024 * 1024,  # proto-max-bulk-len, unless the server is told otherwise
        reconnects=True,
        settles_across_connections=True,
    )
    connection_errors = CONNECTION_ERRORS

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        processor: Processor[M],
        streams: Iterable[str] | str,
        group: str,
        *,
        consumer: str | None = None,
        url: str = "redis://localhost:6379",
        client: Redis | None = None,
        body_field: str = "data",
        batch_size: int = 100,
        ack_every: int | None = None,
        retry_after: float = 30.0,
        max_deliveries: int = 5,
        start: str = "0",
        trim: bool = False,
        **options: Unpack[PollingOptions],
    ) -> None:
        super().__init__(message_cls, processor, **options)
        self.streams = check_names(self, "streams", streams, can_be_name)
        if not self.streams:
            raise ConfigurationError(f"{type(self).__name__} needs the names of streams")
        check_names(self, "group", (group,), can_be_name)
        check_names(self, "body_field", (body_field,), can_be_name)
        check_names(self, "consumer", () if consumer is None else (consumer,), can_be_name)
        check_count(self, "batch_size", batch_size)
        check_count(self, "max_deliveries", max_deliveries)
        check_count(self, "ack_every", 1 if ack_every is None else ack_every)
        check_seconds(self, "retry_after", retry_after, zero=False, most=RETRY_AFTER_LONGEST)
        if not _START.fullmatch(start):
            raise ConfigurationError(
                f"{type(self).__name__} cannot start from {start!r}; give '0' for all that is"
                " there, '$' for what is new, or the id of an entry"
            )
        self.group = group
        #: The name of this consumer; None before the first ``run`` where it makes one of its own.
        self.consumer = consumer
        self.body_field = body_field
        self.batch_size = batch_size
        self.ack_every = ack_every
        self.retry_after = retry_after
        self.max_deliveries = max_deliveries
        self.start = start
        self.trim = trim
        self.flush_interval = min(FLUSH_INTERVAL, retry_after / 4)
        self._own_name = consumer is None
        self._make_connection = connection_maker(
            self, url, client, tuple(map(encode, self.streams))
        )
        self._session = Session(
            self._open_link,
            Group(self.streams, group, start, trims=trim),
            retry_after=retry_after,
            max_deliveries=max_deliveries,
            body_field=encode(body_field),
            batch_size=batch_size,
            trims=trim,
        )
        self._ledger = self._session.ledger
        self._redelivery = self._session.redelivery
        self._trimmer = self._session.trimmer
        self.keepalive_interval = self._session.leases.interval

    @classmethod
    def from_url(
        cls,
        url: str,
        message_cls: Callable[[bytes], Any],
        processor: Processor[Any],
        **options: Any,
    ) -> RedisStreamsAdapter[Any]:
        """Build the adapter from ``redis+streams://host:port/0?streams=orders&group=billing``.

        ``rediss+streams://`` is TLS. The other keyword arguments may stand in the query too, and
        those of redis-py's connections (``ssl_ca_certs``, ``client_name``…).
        """
        readers: dict[str, Callable[[str], Any]] = {
            **cls.url_options,
            "streams": read_names,
            "group": str,
            "consumer": str,
            "body_field": str,
            "batch_size": int,
            "ack_every": int,
            "retry_after": float,
            "max_deliveries": int,
            "start": str,
            "trim": read_flag,
        }
        server, own = read_adapter_url(url, readers)
        given: dict[str, Any] = {"url": server, **own, **options}
        for name in ("streams", "group"):
            if name not in given:
                raise ConfigurationError(f"the URL lacks {name}=…, which {cls.__name__} needs")
        return cls(message_cls, processor, **given)

    # Connecting and reading.

    def open(self) -> None:
        """Connect, and create the group where it is absent.

        :raises ConfigurationError: a handler may have more attempts than an entry deliveries.
        """
        if not self.reconnecting:
            self._check_retries()
            if self.consumer is None or self._own_name:
                self.consumer = unique_name()  # here, since the process may have forked
            self._session.begin(encode(self.consumer))
        self._session.open(recover=self.reconnecting and self._own_name)

    def _check_retries(self) -> None:
        """Refuse a policy that the server's count of deliveries would end before its time.

        :raises ConfigurationError: a handler may have more attempts than an entry deliveries.
        """
        for handler in self.processor.router.handlers:
            retry = handler.retry or self.processor.retry
            if retry is not None and retry.attempts > self.max_deliveries and not retry.in_order:
                raise ConfigurationError(
                    f"{handler.name} has a Retry of {retry.attempts} attempts, but"
                    f" {type(self).__name__} delivers an entry {self.max_deliveries} times at most;"
                    f" give it max_deliveries={retry.attempts} or more"
                )

    def _open_link(self) -> Link:
        return Link(self._make_connection, self)

    def close(self) -> None:
        """Send the pending acks, leave the group where nothing is pending, and disconnect."""
        self._session.close(is_unique=self._own_name)

    def receive(self, timeout: float) -> Sequence[Delivery]:
        """Return the next entries: one that is due again, or else new ones."""
        with self._session.connected() as consumer:
            return self._session.reader.receive(consumer, timeout, self.wait, self.room)

    def keepalive(self) -> None:
        """Keep what is in flight from being taken by other consumers."""
        self._session.keep_alive()

    # Settling.

    def ack(self, message: M) -> None:
        """Note that the entry is settled; it is acked with the next read, or when ``flush`` says.

        One that was delivered several times is acked at once: the next to be handled may kill the
        process, and would make what is settled and not acked seem to have been killing too.
        """
        ledger = self._ledger
        # What native gives, two calls later: 3 % of what an entry costs (benchmarks/redis_streams).
        entry: Any = message.envelope
        ledger.ack(entry)
        self._trimmer.wanted = True
        if entry.delivery_count > self._redelivery.trusted or (
            self.ack_every is not None and ledger.unsent >= self.ack_every
        ):
            self._session.tell()

    def nack(self, message: M) -> None:
        """Leave the entry pending: it is redelivered ``retry_after`` seconds from now."""
        self._ledger.nack(cast("StreamEntry", message.native))

    def settle(self, batch: Sequence[HandlingContext[M]]) -> None:
        """Ack and nack entries; those that were nacked with a delay are redelivered after that."""
        ledger, trusted, at_once = self._ledger, self._redelivery.trusted, False
        for context in batch:
            entry: Any = context.message.envelope
            if context.outcome is not Outcome.NACKED:
                ledger.ack(entry)
                at_once = at_once or entry.delivery_count > trusted
            else:
                ledger.nack(entry, context.delay)
                if context.delay is not None:
                    self._redelivery.due_in(context.delay)
        self._trimmer.wanted = True
        if at_once or (self.ack_every is not None and ledger.unsent >= self.ack_every):
            self._session.tell()

    settle.tells_one_by_one = True  # type: ignore[attr-defined]

    def flush(self) -> None:
        """Ack what is settled, where it has waited for long, or where no read follows."""
        session, ledger = self._session, self._ledger
        if not session.is_connected:
            return
        if self.ending:
            session.give_back()
        elif not ledger.unsent or (
            monotonic() - ledger.unsent_since < (self.flush_interval or 0.0) / 2
        ):
            return
        session.tell()

    def give_back(self, deliveries: Sequence[Delivery | bytes]) -> None:
        """Have entries that were read and not handled delivered again at once, to any consumer."""
        entries = [entry for entry in deliveries if isinstance(entry, StreamEntry)]
        self._ledger.drop(entries)
        self._session.give_back(entries)

    def dropped(self, deliveries: Sequence[Delivery]) -> None:
        """Have entries that were read on a lost connection, and not handled, delivered again."""
        self._ledger.drop([entry for entry in deliveries if isinstance(entry, StreamEntry)])

    # Probing.

    def status(self) -> Status:
        """Return how the adapter is doing; from any thread."""
        self.counters.vanished = self._redelivery.vanished
        return super().status()

    def lag(self) -> Lag:
        """Say how far the group is behind; from any thread, on a connection of its own.

        :raises RedisRefused: Redis does not say.
        :raises redis.exceptions.RedisError: Redis cannot be asked now.
        """
        link = self._open_link()
        try:
            return measure(link, self._session.group)
        finally:
            link.close()

    def lag_by_source(self) -> dict[str, int] | None:
        """Return how many entries of each stream are not settled; None where Redis cannot say.

        :raises RedisRefused: Redis does not say.
        :raises redis.exceptions.RedisError: Redis cannot be asked now.
        """
        lag = self.lag()
        if lag.waiting is None:
            return None
        return {name: (each.waiting or 0) + each.pending for name, each in lag.streams.items()}
