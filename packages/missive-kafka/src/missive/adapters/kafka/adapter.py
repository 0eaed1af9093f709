"""The adapter of Kafka: topics in a consumer group, at least once, in parallel by key."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from missive import Capabilities, M
from missive.polling import check_count

from .assignment import Assignment
from .checks import (
    check_name,
    check_one_of,
    check_seconds,
    check_topics,
    check_url_has,
)
from .errors import KafkaUnavailable
from .lag import Lag, ask_lag
from .reader import GroupReader
from .record import Record
from .settings import Start, check_config, client_settings, member_settings
from .urls import split_url

if TYPE_CHECKING:
    from missive import Processor
    from missive.polling import PollingOptions, Status
    from typing_extensions import Unpack

#: What is handled in order where several messages are handled at once.
Ordering = Literal["key", "partition", "none"]


@dataclass(frozen=True)
class AssignedPartition:
    """How far a partition is that this process has.

    :ivar position: the offset below which everything is settled.
    :ivar gap: how many messages were received at or above the position.
    :ivar paused: whether nothing more is fetched, since the gap is at ``max_gap``.
    :ivar careful: whether messages are handled one at a time, since one may have killed a process.
    """

    position: int
    gap: int
    paused: bool
    careful: bool


class KafkaAdapter(GroupReader[M]):
    """Reads topics of Kafka as a member of a consumer group, at least once.

    A message's ``source`` is its topic, its id ``topic-partition-offset``, its headers its own with
    ``kafka-key``, ``kafka-timestamp`` and ``kafka-tombstone``, its ``native`` confluent-kafka's
    message. For each partition the offset is committed below which everything is settled.

    :param topics: the names of the topics; a pattern begins with ``^``.
    :param group: the name of the consumer group.
    :param bootstrap: brokers to connect to first, as ``host:port,host:port``.
    :param ordering: what stays in order if several messages are handled at once: messages of one
        key in a partition, messages of a partition, or nothing. ``ordering_key`` overrides it.
    :param start: where to begin in a partition of which the group has committed nothing.
    :param config: settings of librdkafka's, such as those of TLS and SASL.
    :param retry_after: seconds until a nacked message is handled again; later messages of its key,
        or its partition, wait behind it.
    :param max_deliveries: if a message was begun this many times, and its process died each time,
        it becomes a dead letter without being handled again; without a DLQ the adapter stops.
    :param max_gap: how many messages of a partition are received beyond the lowest unsettled one,
        at most.
    :param commit_every: commit offsets after this many settled messages, or
    :param commit_interval: after this many seconds.
    :param options: what every :class:`~missive.polling.PollingAdapter` takes.
    :raises ConfigurationError: an argument cannot work; no connection was made.
    """

    messaging_system = "kafka"
    capabilities = Capabilities(
        delivery="at-least-once",
        nack="redeliver",
        persistent=True,
        crash_redelivery=True,
        ordering="source",
        competing_consumers=True,
        stable_id=True,
        headers=True,
        max_bytes=1_000_000,  # unless message.max.bytes of the broker and its producers is more
        reconnects=True,
        settles_across_connections=True,
    )
    connection_errors = (KafkaUnavailable,)

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        processor: Processor[M],
        topics: Iterable[str] | str,
        group: str,
        *,
        bootstrap: str = "localhost:9092",
        ordering: Ordering = "key",
        start: Start = "earliest",
        config: Mapping[str, Any] | None = None,
        retry_after: float = 30.0,
        max_deliveries: int = 5,
        max_gap: int = 10_000,
        commit_every: int = 1000,
        commit_interval: float = 0.2,
        **options: Unpack[PollingOptions],
    ) -> None:
        super().__init__(message_cls, processor, **options)
        name = type(self).__name__
        check_one_of(name, "ordering", ordering, ("key", "partition", "none"))
        check_one_of(name, "start", start, ("earliest", "latest"))
        check_seconds(name, "retry_after", retry_after)
        check_seconds(name, "commit_interval", commit_interval)
        check_count(self, "max_deliveries", max_deliveries)
        check_count(self, "max_gap", max_gap)
        check_count(self, "commit_every", commit_every)
        self.topics = check_topics(name, topics)
        self.group = check_name(name, "group", group)
        self.bootstrap = check_name(name, "bootstrap", bootstrap)
        self.start: Start = start
        self.config = check_config(name, {} if config is None else config)
        self.commit_every = commit_every
        self.nack_delay = retry_after
        self.flush_interval = commit_interval
        if self.ordering_key is None and ordering != "none":
            self.ordering_key = self._key_of if ordering == "key" else self._partition_of
        # max_gap bounds what waits in lanes; one that is full must not keep the others waiting.
        self.waiting_room = 1 << 62
        self.poll_limit = int(self.config["max.poll.interval.ms"]) / 1000
        self.keepalive_interval = min(1.0, self.poll_limit / 10)
        self._assignment = Assignment(max_deliveries, max_gap)

    @classmethod
    def from_url(
        cls,
        url: str,
        message_cls: Callable[[bytes], Any],
        processor: Processor[Any],
        **options: Any,
    ) -> KafkaAdapter[Any]:
        """Build the adapter from ``kafka://host:9092,host2:9092/?topics=orders&group=shipping``.

        The other keyword arguments may stand in the query too, and settings of librdkafka's, whose
        names have a dot in them. A user and a password before the hosts are those of SASL.

        :raises ConfigurationError: the URL cannot be read, or names no topic or group.
        """
        readers: dict[str, Callable[[str], Any]] = {
            **cls.url_options,
            "topics": lambda text: [name for name in text.split(",") if name],
            "group": str,
            "ordering": str,
            "start": str,
            "retry_after": float,
            "max_deliveries": int,
            "max_gap": int,
            "commit_every": int,
            "commit_interval": float,
        }
        bootstrap, given = split_url(url, readers)
        if bootstrap is not None:
            given["bootstrap"] = bootstrap
        given.update(options)
        check_url_has(cls.__name__, given, "topics", "group")
        return cls(message_cls, processor, **given)

    # Order: what has the same key here is handled one after the other.

    def _key_of(self, message: M) -> Hashable:
        record = message.envelope
        if not isinstance(record, Record):  # a store kept it meanwhile
            return message.message_id
        key = record.native.key()
        if key is not None:
            return record.partition, key
        # Without a key no order is asked for; but a batch is made of messages of the same.
        batches = any(handler.batch is not None for handler in self.processor.router.handlers)
        return record.partition if batches else record

    def _partition_of(self, message: M) -> Hashable:
        record = message.envelope
        return record.partition if isinstance(record, Record) else message.message_id

    # What the reader needs.

    def settings(self) -> Mapping[str, Any]:
        """Return what librdkafka is told."""
        return member_settings(self.bootstrap, self.group, self.config)

    @property
    def begins_at_start(self) -> bool:
        """Whether a partition of which nothing was committed is read from its start."""
        return self.start == "earliest"

    # Probing.

    def assignment(self) -> dict[str, AssignedPartition]:
        """Return the partitions that this process has, by names such as ``orders-0``.

        From any thread.
        """
        return {
            p.name: AssignedPartition(p.position, p.gap, p.is_paused, p.careful)
            for p in list(self._assignment.partitions.values())
        }

    def status(self) -> Status:
        """Return how the adapter is doing, with its partitions; from any thread."""
        return super().status()._replace(assignment=self.assignment())

    def lag(self) -> Lag:
        """Return how far the group is behind; from any thread, on a connection of its own.

        :raises KafkaRefused: a topic is missing, or Kafka refuses.
        :raises KafkaUnavailable: Kafka cannot be asked now.
        """
        settings = {**client_settings(self.bootstrap, self.config), "group.id": self.group}
        waiting = ask_lag(self, settings, self.topics, self.begins_at_start)
        partitions = {f"{topic}-{number}": count for (topic, number), count in waiting.items()}
        return Lag(sum(waiting.values()), len(self.unsettled()), partitions)

    def lag_by_source(self) -> dict[str, int]:
        """Return how many messages of each topic the group has not settled.

        :raises KafkaRefused: a topic is missing, or Kafka refuses.
        :raises KafkaUnavailable: Kafka cannot be asked now.
        """
        by_topic: dict[str, int] = {}
        for name, count in self.lag().partitions.items():
            topic = name.rpartition("-")[0]
            by_topic[topic] = by_topic.get(topic, 0) + count
        return by_topic
