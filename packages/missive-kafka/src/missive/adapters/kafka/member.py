"""The member: this process in its consumer group, through confluent-kafka's consumer."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from missive import ConfigurationError

from .errors import KafkaUnavailable, is_lasting
from .partition import Partition
from .settings import without_secrets

logger = logging.getLogger("missive.adapters.kafka.member")

#: How long Kafka may take to answer a question, and how long while it seems to be away, in seconds.
#: Even a broker that answers at once has librdkafka need some 0.2 s after a loss.
ANSWER_TIMEOUT, PROBE_TIMEOUT = 10.0, 1.0
#: How often to look for brokers that are away, in seconds.
PROBE_EVERY = 0.25
#: How long the last commit may take to arrive, in seconds.
LAST_COMMIT_TIMEOUT = 5.0
#: How long leaving the group may take, in seconds.
LEAVE_TIMEOUT = 15.0


def is_meant(topic: str, name: str) -> bool:
    """Return whether a topic has a name, or fits a pattern that begins with ``^``."""
    return re.match(topic, name) is not None if topic.startswith("^") else topic == name


class Member:
    """A consumer that is a member of a group; everything it says is heard in the calls of `poll`.

    :param settings: what librdkafka is told.
    :param topics: names of topics, or patterns that begin with ``^``.
    :param on_assign: called with partitions that this process gets.
    :param on_revoke: called with partitions that it gives up; they are another's when it returns.
    :param on_lost: called with partitions that are another's already.
    :param on_commit: called with what became of each commit: an error or None, and the partitions.
    :raises ConfigurationError: librdkafka does not take the settings.

    :ivar failure: what no new attempt mends; None so far.
    :ivar problem: why brokers cannot be reached, as the client said last.
    :ivar is_down: whether no broker can be reached.
    :ivar losses: how often that has come about.
    :ivar is_assigned: whether the group has said what this process gets, be it nothing.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        topics: Sequence[str],
        *,
        on_assign: Callable[[Sequence[TopicPartition]], None],
        on_revoke: Callable[[Sequence[TopicPartition]], None],
        on_lost: Callable[[Sequence[TopicPartition]], None],
        on_commit: Callable[[KafkaError | None, Sequence[TopicPartition]], None],
    ) -> None:
        self.failure: KafkaError | None = None
        self.problem = "no broker answers"
        self.is_down = self.is_assigned = False
        self.losses = 0
        self.polled_at = monotonic()
        self._probe_at = 0.0
        self._topics = topics
        strategy = str(settings.get("partition.assignment.strategy", ""))
        by_broker = settings.get("group.protocol") == "consumer"
        self._is_incremental = by_broker or "cooperative" in strategy
        self._waits_for: set[str] = set()
        self._unconfirmed = 0
        self._on_assign, self._on_revoke, self._on_lost = on_assign, on_revoke, on_lost
        self._on_commit = on_commit
        try:
            self.consumer: Any = Consumer(
                {**settings, "error_cb": self._heard, "on_commit": self._committed}
            )
        except (KafkaException, TypeError, ValueError) as error:
            said: Any = error.args[0] if error.args else ""
            text = said.str() if isinstance(said, KafkaError) else str(said)
            raise ConfigurationError(
                f"librdkafka does not take the settings: {without_secrets(text, settings)}"
            ) from None

    # What librdkafka says.

    def _heard(self, error: KafkaError) -> None:
        if is_lasting(error) and error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            self.failure = error
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.losses += not self.is_down
            self.is_down = True
        elif error.code() in (KafkaError._TRANSPORT, KafkaError._RESOLVE):
            self.problem = error.str()

    def _committed(self, error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
        self._unconfirmed -= 1
        if error is None:
            self.is_down = False
        self._on_commit(error, partitions)

    def _assigned(self, consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        self._on_assign(partitions)
        self.is_assigned = True

    def _revoked(self, consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        self._on_revoke(partitions)

    def _was_lost(self, consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        self.is_assigned = False
        self._on_lost(partitions)

    # Joining and leaving.

    def join(self) -> None:
        """Subscribe; the assignment is heard of later."""
        self.consumer.subscribe(
            list(self._topics),
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._was_lost,
        )

    def reach(self, timeout: float) -> dict[str, KafkaError | None]:
        """Ask for the topics; return what is wrong with each, None where nothing is.

        :raises KafkaUnavailable: no broker answers.
        """
        names = [topic for topic in self._topics if not topic.startswith("^")]
        wrong: dict[str, KafkaError | None] = {}
        try:
            for name in names:
                said = self.consumer.list_topics(name, timeout=timeout).topics.get(name)
                wrong[name] = None if said is None else said.error
            if not names:
                self._find(timeout)
        except KafkaException as error:
            raise KafkaUnavailable(self._why(error)) from error
        return wrong

    def _find(self, timeout: float) -> None:
        """Find topics that fit the patterns; librdkafka joins no group until there is one."""
        known = self.consumer.list_topics(timeout=timeout).topics
        if not any(is_meant(pattern, name) for pattern in self._topics for name in known):
            self.is_assigned = True  # nothing, for now

    def _why(self, error: KafkaException) -> str:
        said: Any = error.args[0]
        return self.problem if self.is_down else str(said.str())

    def probe(self) -> None:
        """Look for brokers that were away."""
        if monotonic() < self._probe_at:
            return
        try:
            self.consumer.list_topics("__consumer_offsets", timeout=PROBE_TIMEOUT)
            self.is_down = False
        except KafkaException:
            self._probe_at = monotonic() + PROBE_EVERY

    def leave(self) -> None:
        """Leave the group and forget everything; what was committed before has been sent.

        :raises Exception: the client failed to.
        """
        errors: list[Exception] = []

        def close() -> None:
            try:
                self.consumer.close()
            except Exception as error:
                errors.append(error)

        # Without a broker librdkafka may wait for an answer for ever.
        closing = threading.Thread(target=close, name="missive-kafka-leave", daemon=True)
        closing.start()
        closing.join(LEAVE_TIMEOUT)
        if closing.is_alive():
            logger.warning("Kafka did not answer when this process left the group; it will notice")
        if errors:
            raise errors[0]

    def assign(self, places: list[TopicPartition]) -> None:
        """Begin with partitions, each at its offset; within ``on_assign``."""
        if self._is_incremental:
            self.consumer.incremental_assign(places)
        else:
            self.consumer.assign(places)

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Fetch no more of partitions."""
        self.consumer.pause([TopicPartition(p.topic, p.number) for p in partitions])

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Fetch partitions again."""
        self.consumer.resume([TopicPartition(p.topic, p.number) for p in partitions])

    # Receiving and committing.

    def poll(self, most: int, timeout: float) -> list[Any]:
        """Return messages that have come, in order within a partition; hear what there is to hear.

        :param most: how many at most.
        :param timeout: how long to wait for the first, in seconds.
        """
        self.polled_at = monotonic()
        consumer = self.consumer
        messages: list[Any] = consumer.consume(most, 0.0)
        if not messages and timeout > 0:
            first = consumer.poll(timeout)
            if first is not None:
                messages = [first]
                if most > 1:
                    messages += consumer.consume(most - 1, 0.0)
        return messages

    def complain(self, error: KafkaError) -> None:
        """Take an error that came in place of a message."""
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            topic = error.str()
            if topic not in self._waits_for:
                self._waits_for.add(topic)
                logger.warning("%s; waiting until it is there", topic)
        elif error.code() == KafkaError._MAX_POLL_EXCEEDED:
            logger.warning("%s", error.str())
        else:
            self._heard(error)

    def commit(
        self, offsets: Sequence[tuple[str, int, int, str]], *, wait: bool = False
    ) -> KafkaError | None:
        """Commit offsets, as (topic, partition, offset, metadata).

        :param wait: wait until Kafka has them; else ``on_commit`` is told later.
        :returns: why Kafka did not take them, where that is known.
        """
        if not offsets:
            return None
        places = [
            TopicPartition(topic, number, offset, metadata=metadata)
            for topic, number, offset, metadata in offsets
        ]
        try:
            answer = self.consumer.commit(offsets=places, asynchronous=not wait)
        except KafkaException as error:
            self._on_commit(error.args[0], places)
            said: KafkaError = error.args[0]
            return said
        if not wait:
            self._unconfirmed += 1
            return None
        failed = [place.error for place in answer if place.error is not None]
        self._on_commit(failed[0] if failed else None, answer)
        return failed[0] if failed else None

    def wait_for_commits(self) -> None:
        """Wait until Kafka has answered every commit, for a while."""
        deadline = monotonic() + LAST_COMMIT_TIMEOUT
        while self._unconfirmed > 0 and not self.is_down and monotonic() < deadline:
            self.consumer.poll(0.05)
