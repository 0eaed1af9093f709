"""The transports that are soaked, and how their adapters are set up for that."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .. import harnesses, kafka_harnesses, nats_harnesses


@dataclass(frozen=True)
class Transport:
    """One transport.

    :ivar title: its name, for people.
    :ivar harness: the class that the conformance kit judges its adapter with.
    :ivar options: keyword arguments of the adapter: what the kit hurries is as in production here.
    :ivar outages: whether its broker is stopped and killed too, where the harness can.
    :ivar workers: how many processes consume it at once.
    """

    title: str
    harness: Any
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    outages: bool = True
    workers: int = 2


TRANSPORTS = {
    "redis-streams": Transport("Redis Streams", harnesses.StreamsHarness, {"retry_after": 5.0}),
    "redis-pubsub": Transport("Redis Pub/Sub", harnesses.PubSubHarness, workers=1),
    "rabbitmq-classic": Transport("RabbitMQ, classic queues", harnesses.RabbitMQHarness),
    "rabbitmq-quorum": Transport("RabbitMQ, quorum queues", harnesses.QuorumHarness),
    "nats-jetstream": Transport("NATS JetStream", nats_harnesses.JetStreamHarness),
    "nats-subjects": Transport("NATS subjects, in a queue group", nats_harnesses.QueueGroupHarness),
    "kafka": Transport("Kafka (tansu)", kafka_harnesses.TansuHarness),
    # Its outage is a gate that is shut, which the proxy would lead around.
    "sqs": Transport("SQS (moto)", harnesses.SQSHarness, {"visibility": 10}, outages=False),
    "wsgi": Transport("WSGI, Missive's own server", harnesses.WSGIHarness, workers=1),
}
