"""What groups and producers may be like: static members, eager rebalances, transactions."""

from __future__ import annotations

import uuid
from typing import Any

import missive
import pytest
from confluent_kafka import Producer
from kafka_server import Broker, Client
from missive.adapters.kafka import KafkaAdapter
from patience import eventually
from recorder import Recorder
from running import Running


def adapter_of(recorder: Recorder, broker: Broker, topic: str, **config: Any) -> Any:
    """Build an adapter for a topic, with settings of librdkafka's."""
    settings = {name.replace("_", "."): value for name, value in config.items()}
    return KafkaAdapter(
        missive.RawMessage,
        recorder.processor,
        topic,
        topic,  # the group
        bootstrap=broker.bootstrap,
        commit_interval=0.02,
        config={**broker.settings(), **settings},
    )


def test_an_eager_rebalance_loses_and_doubles_nothing(cluster: Broker, client: Client) -> None:
    """With the strategy "range" all partitions are given up and shared out anew, and work goes on."""
    topic = client.topic(4)
    first, second = Recorder(), Recorder()
    eager = {"partition_assignment_strategy": "range"}

    def publish(begin: int) -> None:
        for number in range(begin, begin + 100):
            client.publish(topic, b"%d" % number, partition=number % 4)

    publish(0)
    with Running(adapter_of(first, cluster, topic, **eager)) as running:
        first.wait_for(100)
        with Running(adapter_of(second, cluster, topic, **eager)) as other:
            eventually(
                lambda: len(running.adapter.assignment()) == len(other.adapter.assignment()) == 2,
                "the partitions are not shared",
            )
            publish(100)
            eventually(lambda: len(first.bodies) + len(second.bodies) >= 200, "not all came")
    assert sorted(map(int, first.bodies + second.bodies)) == list(range(200))
    assert client.remaining(topic, topic, [50] * 4) == 0


def test_a_static_member_goes_on_where_it_stopped(cluster: Broker, client: Client) -> None:
    """A process with a ``group.instance.id`` stops and starts, and handles what came meanwhile."""
    topic = client.topic(2)
    for begin in range(0, 20, 10):
        for number in range(begin, begin + 10):
            client.publish(topic, b"%d" % number, partition=number % 2)
        recorder = Recorder()
        with Running(adapter_of(recorder, cluster, topic, group_instance_id="one")):
            recorder.wait_for(10)
        assert sorted(map(int, recorder.bodies)) == list(range(begin, begin + 10))


def transact(broker: Broker, topic: str, *outcomes: str) -> None:
    """Publish one message in a transaction for each outcome: "commit" or "abort"."""
    producer: Any = Producer(
        {
            "bootstrap.servers": broker.bootstrap,
            "transactional.id": uuid.uuid4().hex,
            "log_level": 0,
        }
    )
    producer.init_transactions(60)
    for outcome in outcomes:
        producer.begin_transaction()
        producer.produce(topic, outcome.encode(), partition=0)
        if outcome == "commit":
            producer.commit_transaction(60)
        else:
            producer.abort_transaction(60)


def test_gaps_in_the_offsets_are_committed_past(cluster: Broker, client: Client) -> None:
    """The marker of a transaction, like a record that was compacted away, holds nothing up."""
    topic = client.topic()
    transact(cluster, topic, *["commit"] * 5)
    client.publish(topic, b"last")
    recorder = Recorder()
    with Running(adapter_of(recorder, cluster, topic)):
        recorder.wait_for(6)
    assert [message.native.offset() for message in recorder.messages] == [0, 2, 4, 6, 8, 10]
    assert client.committed(topic, topic)[0][0] == 11


def test_aborted_messages_are_never_seen(cluster: Broker, client: Client) -> None:
    """Of transactions those messages are handled that were committed."""
    if not cluster.hides_aborted:
        pytest.skip("this broker lists no aborted transactions; set MISSIVE_KAFKA")
    topic = client.topic()
    transact(cluster, topic, "commit", "abort", "commit", "abort")
    client.publish(topic, b"last")
    recorder = Recorder()
    with Running(adapter_of(recorder, cluster, topic)):
        recorder.wait_for(3)
    assert recorder.bodies == [b"commit", b"commit", b"last"]
