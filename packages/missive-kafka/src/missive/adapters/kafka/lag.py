"""Lag: how far the group is behind, for probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition

from .errors import KafkaRefused, KafkaUnavailable, is_lasting
from .member import ANSWER_TIMEOUT, is_meant


@dataclass(frozen=True)
class Lag:
    """How many messages the group has not settled.

    :ivar waiting: messages at or above the committed offsets, those of all partitions together.
        In a compacted topic, and with transactions, it is an upper bound.
    :ivar unsettled: messages that this process received and has not settled.
    :ivar partitions: ``waiting`` of each partition, by names such as ``orders-0``.
    """

    waiting: int
    unsettled: int
    partitions: Mapping[str, int] = field(default_factory=dict[str, int], repr=False)


def ask_lag(
    adapter: object, settings: Mapping[str, Any], topics: Sequence[str], from_start: bool
) -> dict[tuple[str, int], int]:
    """Return how many messages of each partition the group has not settled.

    :param settings: those of a client with the id of the group; it does not join.
    :param topics: names of topics, or patterns that begin with ``^``.
    :param from_start: whether a partition of which nothing was committed is read from its start.
    :raises KafkaRefused: a topic is missing, or Kafka refuses.
    :raises KafkaUnavailable: Kafka cannot be asked now.
    """
    consumer: Any = Consumer(dict(settings))
    try:
        places = _places(adapter, consumer, topics)
        waiting: dict[tuple[str, int], int] = {}
        committed: Any = consumer.committed(places, timeout=ANSWER_TIMEOUT) if places else ()
        for place in committed:
            low, high = consumer.get_watermark_offsets(place, timeout=ANSWER_TIMEOUT)
            position: int = place.offset
            if position == OFFSET_INVALID:
                position = low if from_start else high
            elif position > high:  # where the messages behind it were lost
                position = low
            waiting[place.topic, place.partition] = max(high - max(position, low), 0)
        return waiting
    except KafkaException as error:
        said: KafkaError = error.args[0]
        if is_lasting(said):
            raise KafkaRefused(adapter, said) from error
        raise KafkaUnavailable(said.str()) from error
    finally:
        consumer.close()


def _places(adapter: object, consumer: Any, topics: Sequence[str]) -> list[TopicPartition]:
    places: list[TopicPartition] = []
    for known in consumer.list_topics(timeout=ANSWER_TIMEOUT).topics.values():
        if any(is_meant(topic, known.topic) for topic in topics):
            places += [TopicPartition(known.topic, number) for number in known.partitions]
    found = {place.topic for place in places}
    for topic in topics:
        if not topic.startswith("^") and topic not in found:
            error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
            raise KafkaRefused(adapter, error, f"the topic {topic!r}")
    return places
