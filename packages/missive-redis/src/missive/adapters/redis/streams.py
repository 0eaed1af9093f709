"""Streams: entries of consumer groups, at least once, on any number of machines."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from missive import (
    Capabilities,
    ConfigurationError,
    Delivery,
    HandlingContext,
    M,
    MissiveError,
    Outcome,
)
from missive.polling import PollingAdapter, Status, read_flag

from redis import exceptions

from .connections import connection_maker
from .consumer import BLOCK, Consumer
from .entries import RejectedEntry, StreamEntry
from .errors import Outage, RedisUnavailable
from .groups import Group, is_no_group
from .heartbeat import Heartbeat
from .lag import Lag, measure
from .ledger import Ledger
from .links import Link
from .members import Members, unique_name
from .names import check_names, encode
from .progress import Progress
from .redelivery import Redelivery
from .replies import UNFINISHED
from .trimming import trim
from .urls import read_adapter_url, read_names

if TYPE_CHECKING:
    from missive import Processor
    from missive.polling import PollingOptions
    from typing_extensions import Unpack

    from redis import Redis

logger = logging.getLogger("missive.adapters.redis.streams")

#: The shortest such wait, in seconds, while an entry is due that cannot be claimed yet.
SHORTEST_BLOCK = 0.02
#: How long settled entries wait at most for others to be acked together, in seconds.
FLUSH_INTERVAL = 0.25
#: The longest ``retry_after``, in seconds: Redis takes no entry for idle since before 1970.
RETRY_AFTER_LONGEST = 1e9

_START = re.compile(r"\$|\d+(-\d+)?")


class RedisStreamsAdapter(PollingAdapter[M]):
    """Takes the entries of Redis Streams as one consumer of a consumer group, at least once.

    Any number of processes, on any number of machines, share the entries of a group. What a process
    had in flight when it died, or nacked, is delivered again to whichever process looks first.

    A message is the entry's field ``body_field``; its headers are the other fields, its ``source``
    the stream, its id ``stream/group/entry-id``, its ``native`` the :class:`StreamEntry`.

    :param streams: the names of the streams.
    :param group: the consumer group. It, and the streams, are created where absent.
    :param consumer: the name of this consumer. No two that live may have the same, so by default each
        ``run`` makes one that is unique; it is removed when ``run`` ends, unless something is
        pending for it.
    :param url: the server, as ``redis.from_url`` takes it.
    :param client: a ``redis.Redis`` whose settings are used instead of the URL, for connections of
        the adapter's own.
    :param body_field: the field that is the message. An entry without it is a dead letter.
    :param batch_size: how many entries of each stream are read at once, at most.
    :param ack_every: ack when so many entries are settled, each time waiting for the answer. Unless
        given, acks go with the next read, or after a quarter of a second where that is later.
    :param retry_after: after so many seconds an entry that was nacked, or whose consumer died, is
        delivered again. A handler may take longer: a heartbeat keeps what is in flight.
    :param max_deliveries: an entry that was delivered so often and never settled is dead-lettered
        without being handled again; without a DLQ the adapter stops.
    :param start: where a group that is created begins: ``"0"`` is all that is there, ``"$"`` only
        what is new, or an id of an entry.
    :param trim: delete entries once every group of their stream has settled them.
    :param options: what every :class:`~missive.polling.PollingAdapter` takes.
    :raises ConfigurationError: these cannot work; nothing was connected to.
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
    connection_errors = (exceptions.ConnectionError, exceptions.TimeoutError)

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
        names = check_names(self, "streams", (streams,) if isinstance(streams, str) else streams)
        if not names:
            raise ConfigurationError(f"{type(self).__name__} needs the names of streams")
        check_names(self, "group", (group,))
        check_names(self, "body_field", (body_field,))
        check_names(self, "consumer", () if consumer is None else (consumer,))
        self._check_counts(
            batch_size=batch_size,
            max_deliveries=max_deliveries,
            ack_every=1 if ack_every is None else ack_every,
        )
        given: object = retry_after
        if not isinstance(given, (int, float)) or not 0 < given <= RETRY_AFTER_LONGEST:
            raise ConfigurationError(
                f"retry_after of {type(self).__name__} must be a number of seconds, more than 0"
                f" and at most {RETRY_AFTER_LONGEST:g}, not {given!r}"
            )
        if not _START.fullmatch(start):
            raise ConfigurationError(
                f"{type(self).__name__} cannot start from {start!r}; give '0' for all that is"
                " there, '$' for what is new, or the id of an entry"
            )
        self.streams = names
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
        self._make_connection = connection_maker(self, url, client, tuple(map(encode, names)))
        self._group = Group(names, group, start, trims=trim)
        self._body_field = encode(body_field)
        self._ledger = Ledger(self._group)
        self._redelivery = Redelivery(self._group, self._ledger, retry_after, max_deliveries)
        self._progress = Progress(self._group, self._ledger)
        self._members = Members(self._group, retry_after)
        self._consumer: Consumer | None = None
        self._heartbeat: Heartbeat | None = None
        self._outage = Outage()
        self._lost = False  # the connection broke while it was used, and was not closed since
        self._restored = False  # the group was made anew, and nothing was read since
        self._claims_in_a_row = 0
        self._trim_wanted = False

    def _check_counts(self, **counts: object) -> None:
        for what, count in counts.items():
            if not isinstance(count, int) or count < 1:
                raise ConfigurationError(
                    f"{what} of {type(self).__name__} must be a whole number from 1, not {count!r}"
                )

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

    # Connecting.

    def open(self) -> None:
        """Connect, and create the group where it is absent."""
        if not self.reconnecting:
            self._check_retries()
            self._begin()
        self._redelivery.forget()
        self._restored = False
        try:
            self._consumer = self._make_consumer()
        except RedisUnavailable as error:
            self._outage.note(error)
            raise
        self._heartbeat = Heartbeat(
            self._open_link, self._ledger, self._group, self.retry_after, self.wake
        )

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

    def _begin(self) -> None:
        """Begin a run: decide who this consumer is, in the process that it runs in."""
        if self.consumer is None or self._own_name:
            self.consumer = unique_name()
        self._group.consumer = encode(self.consumer)
        self._ledger.begin()
        self._redelivery.begin()

    def _make_consumer(self) -> Consumer:
        consumer = Consumer(self._open_link, self._group, self._ledger, self._progress)
        try:
            if self.reconnecting and self._own_name:
                self._redelivery.recover(consumer.link)
        except BaseException:
            consumer.close()
            raise
        return consumer

    def _open_link(self) -> Link:
        return Link(self._make_connection, self)

    def close(self) -> None:
        """Send the pending acks, leave the group where nothing is pending, and disconnect."""
        heartbeat, self._heartbeat = self._heartbeat, None
        if heartbeat is not None:
            heartbeat.close()
        consumer, self._consumer = self._consumer, None
        self._ledger.reading_since = None
        self._redelivery.report()
        lost, self._lost = self._lost, False
        try:
            if consumer is not None and consumer.is_open and not lost:
                self._take_leave(consumer)
        finally:
            if consumer is not None:
                consumer.close()
            self._ledger.untold()

    def _take_leave(self, consumer: Consumer) -> None:
        try:
            consumer.tell()
            self._return_late(consumer)
            self._trim(consumer)
            self._members.leave(consumer.link, is_unique=self._own_name)
        except (*self.connection_errors, MissiveError) as error:
            logger.warning(
                "%s could not take leave of its group (%s); what it could not ack is redelivered",
                type(self).__name__,
                type(error).__name__,
            )

    @property
    def _is_connected(self) -> bool:
        """Whether there is a connection that is not known to be lost."""
        return self._consumer is not None and not self._lost

    @contextmanager
    def _noting_loss(self) -> Generator[Consumer]:
        """Note a connection error, so that no call waits on a dead connection."""
        consumer = self._consumer
        if consumer is None or not self._is_connected:
            raise exceptions.ConnectionError("the adapter is not connected")
        try:
            yield consumer
        except self.connection_errors as error:
            self._lost = True
            self._outage.note(error)
            raise

    # Reading.

    def receive(self, timeout: float) -> Sequence[Delivery]:
        """Return the next entries: one that is due again, or else new ones."""
        if self._heartbeat is not None:
            self._heartbeat.check()
        with self._noting_loss() as consumer:
            if consumer.is_reading:
                timeout = self._until_due(consumer, timeout)
            else:
                self._progress.observe_in_time(consumer.link)
                claimed = self._claim(consumer)
                if claimed is not None:
                    return (claimed,)
                seconds = min(BLOCK, max(self._redelivery.pause, SHORTEST_BLOCK))
                consumer.start_read(self.batch_size, seconds)
            return self._read(consumer, timeout)

    def _until_due(self, consumer: Consumer, timeout: float) -> float:
        """Return how long to wait for a read; end it early where a delayed entry is due sooner."""
        seconds = self._redelivery.seconds_to_due
        if seconds > 0.0:
            return min(timeout, seconds)
        consumer.unblock()
        return timeout

    def _read(self, consumer: Consumer, timeout: float) -> Sequence[Delivery]:
        """Wait for the reply to the read that is under way."""
        deadline = monotonic() + timeout
        while True:
            readable = self.wait(max(0.0, deadline - monotonic()), consumer.link.socket)
            reply = consumer.poll(readable=readable)
            if reply is not UNFINISHED:
                return self._entries(consumer.link, reply)
            if not readable:
                return ()

    def _entries(self, link: Link, reply: Any) -> list[StreamEntry]:
        """Turn the reply to a read into entries, or mend what it complains of."""
        if is_no_group(reply):
            if self._restored:  # somebody deletes it again and again, or it does not stay
                raise RedisUnavailable(f"NOGROUP: the group {self.group} does not stay")
            self._progress.restore(link)
            self._restored = True
            return []
        link.verify(reply)
        self._restored = False
        self._outage.end()
        entries: list[StreamEntry] = []
        body_field, progress = self._body_field, self._progress
        for key, items in reply or ():
            source, prefix = self._group.origins[key]
            entries += [
                StreamEntry(key, source, prefix, entry_id, flat, body_field, 1)
                for entry_id, flat in progress.take(link, key, items)
            ]
        for index, entry in enumerate(entries):
            if entry.body_at < 0:
                entries[index] = self._without_body(entry)
        if entries:
            self._ledger.take_in(entries, self._ledger.reading_since)
            self._claims_in_a_row = 0
        self._ledger.reading_since = None
        return entries

    def _claim(self, consumer: Consumer) -> StreamEntry | None:
        """Claim one entry that is due again; new ones have their turn after as many as they bring."""
        redelivery = self._redelivery
        if redelivery.pause > 0 or self._claims_in_a_row >= self.batch_size:
            self._claims_in_a_row = 0
            return None
        self._trim(consumer)
        if self._ledger.owes_delays:
            consumer.tell()  # else the server would not name what is due
        redelivery.look(consumer.link)
        self._members.bury(consumer.link)
        claimed = redelivery.claim(consumer.link)
        if claimed is None:
            return None
        self._claims_in_a_row += 1
        entry = self._entry(claimed.stream, claimed.entry_id, claimed.flat, claimed.deliveries)
        if claimed.spent:
            times = "1 time" if claimed.deliveries == 1 else f"{claimed.deliveries} times"
            reason = f"delivered {times} without being settled"
            entry = RejectedEntry(entry, reason=reason, stage="settling", counted=False)
        elif entry.body_at < 0:
            entry = self._without_body(entry)
        self._ledger.take_in((entry,))
        if claimed.suspect:
            self._ledger.suspect = entry
        return entry

    def _entry(self, key: bytes, entry_id: bytes, flat: list[bytes], count: int) -> StreamEntry:
        source, prefix = self._group.origins[key]
        return StreamEntry(key, source, prefix, entry_id, flat, self._body_field, count)

    def _without_body(self, entry: StreamEntry) -> RejectedEntry:
        reason = f"the entry has no field {self.body_field!r}"
        return RejectedEntry(entry, reason=reason, stage="decoding")

    def _trim(self, consumer: Consumer) -> None:
        if self.trim and self._trim_wanted:
            consumer.tell()  # what waits to be acked would not be deleted
            self._trim_wanted = False
            for key in self._group.origins:
                trim(consumer.link, key)

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
        self._trim_wanted = True
        at_once = entry.delivery_count > self._redelivery.trusted or (
            self.ack_every is not None and ledger.unsent >= self.ack_every
        )
        if at_once and self._is_connected:
            with self._noting_loss() as consumer:
                consumer.tell()

    def nack(self, message: M) -> None:
        """Leave the entry pending: it is redelivered ``retry_after`` seconds from now."""
        self._nack(message, None)

    def _nack(self, message: M, delay: float | None) -> None:
        entry: Any = message.envelope
        self._ledger.nack(entry, delay)
        if delay is not None:
            self._redelivery.due_in(delay)

    def settle(self, batch: Sequence[HandlingContext[M]]) -> None:
        """Ack and nack entries; those that were nacked with a delay are redelivered after that."""
        others: list[HandlingContext[M]] = []
        for context in batch:
            if context.outcome is Outcome.NACKED and context.delay is not None:
                self._nack(context.message, context.delay)
            else:
                others.append(context)
        super().settle(others)

    settle.tells_one_by_one = True  # type: ignore[attr-defined]

    def flush(self) -> None:
        """Ack what is settled, where it has waited for long, or where no read follows."""
        if not self._is_connected:
            return
        ledger = self._ledger
        if self.ending:
            with self._noting_loss() as consumer:
                self._return_late(consumer)
                consumer.tell()
        elif ledger.unsent and (
            monotonic() - ledger.unsent_since >= (self.flush_interval or 0.0) / 2
        ):
            with self._noting_loss() as consumer:
                consumer.tell()

    def give_back(self, deliveries: Sequence[Delivery | bytes]) -> None:
        """Have entries that were read and not handled delivered again at once, to any consumer."""
        entries = [entry for entry in deliveries if isinstance(entry, StreamEntry)]
        self._ledger.drop(entries)
        with self._noting_loss() as consumer:
            self._return_late(consumer)
            self._return(consumer.link, entries)

    def dropped(self, deliveries: Sequence[Delivery]) -> None:
        """Have entries that were read on a lost connection, and not handled, delivered again."""
        self._ledger.drop([entry for entry in deliveries if isinstance(entry, StreamEntry)])

    def _return_late(self, consumer: Consumer) -> None:
        """End the read that is under way, and return what it still brings."""
        for key, items in consumer.finish_read():
            items = self._progress.sift(consumer.link, key, items)
            late = [self._entry(key, entry_id, flat, 1) for entry_id, flat in items]
            self._return(consumer.link, late)

    def _return(self, link: Link, entries: Iterable[StreamEntry]) -> None:
        """Have entries seem idle for long, and not delivered this time."""
        by_count: dict[int, dict[bytes, list[bytes]]] = {}
        for entry in entries:
            ids = by_count.setdefault((entry.delivery_count or 1) - entry.counted, {})
            ids.setdefault(entry.stream, []).append(entry.entry_id)
        idle = round(self.retry_after * 1000) + 1
        for count, ids in by_count.items():
            for reply in link.call(*self._group.keeps(ids, "IDLE", idle, "RETRYCOUNT", count)):
                if not is_no_group(reply):
                    link.verify(reply)

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
            return measure(link, self._group)
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
