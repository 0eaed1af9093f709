"""What Kafka answers when it will not serve, and which of that a new attempt may mend."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError
from missive.errors import TransportRefused

from .settings import without_secrets

#: What no new attempt mends, with the remedy.
LASTING: dict[int, str] = {
    KafkaError._AUTHENTICATION: "check sasl.username, sasl.password and sasl.mechanisms in config",
    KafkaError.SASL_AUTHENTICATION_FAILED: "check sasl.username and sasl.password in config",
    KafkaError.UNSUPPORTED_SASL_MECHANISM: "give one that the broker has as sasl.mechanisms",
    KafkaError.ILLEGAL_SASL_STATE: "check security.protocol in config",
    KafkaError._SSL: "check ssl.ca.location and the names of the brokers",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "grant the user to read and describe the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "grant the user to read the consumer group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "grant the user access to the cluster",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "create the topic, or give a pattern such as ^orders",
    KafkaError.TOPIC_EXCEPTION: "check the name of the topic",
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: (
        "the group has consumers with another partition.assignment.strategy; stop them, or give"
        " the same in config"
    ),
    KafkaError.INVALID_GROUP_ID: "check the name of the group",
    KafkaError.INVALID_SESSION_TIMEOUT: "give a session.timeout.ms that the broker allows",
    KafkaError.FENCED_INSTANCE_ID: (
        "another process has the same group.instance.id; give each its own"
    ),
    KafkaError.UNSUPPORTED_VERSION: "the broker is too old, or no Kafka; see the documentation",
    KafkaError._UNSUPPORTED_FEATURE: "the broker is too old, or no Kafka; see the documentation",
}
#: What ends the assignment of this process, or finds it ended.
FENCED = (
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
)


class KafkaUnavailable(Exception):
    """No broker can be reached, or Kafka cannot serve now; later it can.

    :ivar safe_text: what the client said; it holds no content.
    """

    safe_text = ""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.safe_text = text


class KafkaRefused(TransportRefused):
    """Kafka refused in a way that trying again does not mend.

    :param error: confluent-kafka's.

    :ivar code: the error code of Kafka, or below 0 that of librdkafka.
    """

    def __init__(self, adapter: Any, error: Any, what: str = "") -> None:
        self.code: int = error.code()
        known = LASTING.get(self.code, "see the error code")
        about = f" {what}" if what else ""
        said = without_secrets(error.str(), adapter.config)
        # The base class knows the error's type alone; the broker says more, and no payload.
        super(TransportRefused, self).__init__(
            f"{type(adapter).__name__} was refused by Kafka{about}: {said}"
            f" ({error.name()}); {known}"
        )


def is_lasting(error: KafkaError) -> bool:
    """Return whether no new attempt mends an error."""
    fatal: Any = error.fatal()
    if error.code() == KafkaError._AUTHENTICATION and "transport failure" in error.str():
        return False  # the broker went away meanwhile
    return bool(fatal) or error.code() in LASTING
