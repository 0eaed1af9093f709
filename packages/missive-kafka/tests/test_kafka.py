"""The adapter with a broker: delivery, settlement, envelope."""

from __future__ import annotations

import asyncio
import threading
import uuid
from typing import Any

import missive
import pytest
from confluent_kafka import Consumer, TopicPartition
from kafka_server import Broker, Client, MockCluster, Tansu
from missive.adapters.kafka import KafkaAdapter, KafkaRefused
from patience import eventually
from recorder import Recorder
from running import Running


def adapter_of(recorder: Recorder, broker: Broker, *topics: str, **options: Any) -> Any:
    """Build an adapter for topics of a broker."""
    config = {**broker.settings(), **options.pop("config", {})}
    group = options.pop("group", "group")
    given = {"retry_after": 0.1, "commit_interval": 0.02, "bootstrap": broker.bootstrap, **options}
    return KafkaAdapter(
        missive.RawMessage, recorder.processor, topics, group, config=config, **given
    )


@pytest.mark.parametrize("workers", [1, 8])
def test_messages_are_handled_in_order_and_committed(
    cluster: Broker, client: Client, workers: int
) -> None:
    """All that is published is handled once, by key in order, and committed."""
    topic, recorder = client.topic(2), Recorder()
    for number in range(300):
        client.publish(topic, b"%d" % number, key=b"%d" % (number % 3), partition=number % 2)
    with Running(adapter_of(recorder, cluster, topic, workers=workers)):
        recorder.wait_for(300)
    numbers = [int(body) for body in recorder.bodies]
    assert sorted(numbers) == list(range(300))
    for lane in range(6):
        mine = [number for number in numbers if number % 6 == lane]
        assert mine == sorted(mine)
    assert [offset for offset, _ in client.committed(topic, "group", 2)] == [150, 150]


def test_the_envelope_says_what_the_broker_said(cluster: Broker, client: Client) -> None:
    """Id, source, key, headers, timestamp and confluent-kafka's own message are there."""
    topic, recorder = client.topic(), Recorder()
    headers = [("Customer", b"Ada"), ("tag", b"1"), ("tag", b"2"), ("none", None)]
    client.publish(topic, b"\x00\xff", key=b"k", headers=headers)
    client.publish(topic, b"bare")
    with Running(adapter_of(recorder, cluster, topic)):
        recorder.wait_for(2)
    message, bare = recorder.messages
    assert (message.raw_data, message.source) == (b"\x00\xff", topic)
    assert message.message_id == f"{topic}-0-0".encode()
    assert message.headers["kafka-key"] == "k"
    assert message.headers["customer"] == "Ada"
    assert message.headers["tag"] == "2"
    assert message.headers["none"] == ""
    assert int(message.headers["kafka-timestamp"]) > 0
    assert message.native.headers() == headers
    assert "kafka-key" not in bare.headers
    assert message.delivery_count is None
    assert "bytes>" in repr(message.envelope)


def test_a_tombstone_is_an_empty_message_with_a_header(cluster: Broker, client: Client) -> None:
    """A record without a value is handled, and is told from one with an empty value."""
    topic, recorder = client.topic(), Recorder()
    client.publish(topic, None, b"", key=b"k")
    with Running(adapter_of(recorder, cluster, topic)):
        recorder.wait_for(2)
    tombstone, empty = recorder.messages
    assert (tombstone.raw_data, empty.raw_data) == (b"", b"")
    assert tombstone.headers["kafka-tombstone"] == "true"
    assert "kafka-tombstone" not in empty.headers


@pytest.mark.parametrize(
    ("ordering", "expected"),
    [
        ("key", [b"a1", b"b1", b"a1", b"a2"]),
        ("partition", [b"a1", b"a1", b"b1", b"a2"]),
        ("none", [b"a1", b"b1", b"a2", b"a1"]),
    ],
)
def test_a_nacked_message_waits_in_its_lane(
    cluster: Broker, client: Client, ordering: str, expected: list[bytes]
) -> None:
    """After a nack the message is handled again, before later ones of its key or partition."""
    topic = client.topic()

    def act(message: Any, ctx: Any) -> None:
        if message.raw_data == b"a1" and ctx.attempt == 1:
            ctx.nack()
        else:
            ctx.ack()

    recorder = Recorder(act)
    client.publish(topic, b"a1", key=b"a")
    client.publish(topic, b"b1", key=b"b")
    client.publish(topic, b"a2", key=b"a")
    adapter = adapter_of(recorder, cluster, topic, ordering=ordering, retry_after=0.5)
    with Running(adapter):
        recorder.wait_for(4)
    assert recorder.bodies == expected
    assert client.committed(topic, "group")[0][0] == 3


def test_a_slow_key_holds_back_nobody_else(cluster: Broker, client: Client) -> None:
    """While one message is handled, later ones of its partition are, and nothing is committed."""
    topic, gate = client.topic(), threading.Event()

    def act(message: Any, ctx: Any) -> None:
        if message.raw_data == b"slow":
            assert gate.wait(60)
        ctx.ack()

    recorder = Recorder(act)
    client.publish(topic, b"slow", b"after", key=b"s")
    for number in range(200):
        client.publish(topic, b"%d" % number, key=b"%d" % (number % 5))
    adapter = adapter_of(recorder, cluster, topic, workers=4)
    with Running(adapter):
        recorder.wait_for(201)
        assert b"after" not in recorder.bodies
        eventually(lambda: adapter.assignment()[f"{topic}-0"].gap == 202, "something is missing")
        assert adapter.assignment()[f"{topic}-0"].position == 0
        gate.set()
        recorder.wait_for(202)
    assert client.committed(topic, "group")[0][0] == 202


def test_the_gap_is_bounded_and_other_partitions_go_on(cluster: Broker, client: Client) -> None:
    """At max_gap a partition is fetched no further, while the others are handled to the end."""
    topic, gate = client.topic(2), threading.Event()

    def act(message: Any, ctx: Any) -> None:
        if message.raw_data == b"slow":
            assert gate.wait(60)
        ctx.ack()

    recorder = Recorder(act)
    client.publish(topic, b"slow", key=b"s")
    client.publish(topic, *[b"left"] * 3000, key=b"s")
    client.publish(topic, *[b"right"] * 3000, key=b"r", partition=1)
    adapter = adapter_of(recorder, cluster, topic, workers=4, max_gap=100)
    with Running(adapter):
        recorder.wait_for(3001)
        assert recorder.bodies.count(b"right") == 3000
        state = adapter.status().assignment[f"{topic}-0"]
        assert state.paused
        assert (state.position, 100 <= state.gap < 100 + 500) == (0, True)
        assert not adapter.status().assignment[f"{topic}-1"].paused
        gate.set()
        recorder.wait_for(6001)
    assert adapter.status().assignment == {}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_handler_may_take_longer_than_the_group_waits(
    cluster: Broker, client: Client, workers: int
) -> None:
    """A handler beyond max.poll.interval.ms costs no partition, and its message is handled once."""
    topic, over = client.topic(), threading.Event()
    config = {"max.poll.interval.ms": 1600}

    def act(message: Any, ctx: Any) -> None:
        if message.raw_data == b"long":
            over.wait(4.0)
        ctx.ack()

    recorder = Recorder(act)
    client.publish(topic, b"long", b"next", key=b"k")
    adapter = adapter_of(recorder, cluster, topic, workers=workers, config=config)
    with Running(adapter):
        recorder.wait_for(2)
        assert adapter.ready.is_set()
    assert recorder.bodies == [b"long", b"next"]
    assert client.committed(topic, "group")[0][0] == 2


def test_patterns_are_subscribed_to(cluster: Broker, client: Client) -> None:
    """A pattern stands for every topic whose name it fits."""
    topic, recorder = client.topic(), Recorder()
    client.publish(topic, b"1")
    with Running(adapter_of(recorder, cluster, f"^{topic}")):
        recorder.wait_for(1)


def test_a_topic_that_fits_later_is_found(cluster: Broker, client: Client) -> None:
    """A pattern that no topic fits is waited for, and the adapter is ready meanwhile."""
    name, recorder = f"later-{uuid.uuid4().hex[:8]}", Recorder()
    config = {"topic.metadata.refresh.interval.ms": 200}
    with Running(adapter_of(recorder, cluster, f"^{name}", config=config)):
        client.publish(client.topic(1, name), b"1")
        recorder.wait_for(1)


@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_an_offset_that_is_gone_loses_nothing(mock: MockCluster, start: str) -> None:
    """Where a partition ends before the committed offset, it is read from its first message."""
    client, recorder = mock.client(), Recorder()
    topic = client.topic()
    client.publish(topic, b"1", b"2")
    settings = {"bootstrap.servers": mock.bootstrap, "group.id": topic, "log_level": 0}
    consumer: Any = Consumer(settings)
    consumer.commit(offsets=[TopicPartition(topic, 0, 100)], asynchronous=False)
    consumer.close()
    adapter = adapter_of(recorder, mock, topic, group=topic, start=start)
    assert adapter.lag().waiting == 2
    with Running(adapter):
        recorder.wait_for(2)
    assert recorder.bodies == [b"1", b"2"]
    assert client.committed(topic, topic)[0][0] == 2
    client.close()


def test_a_missing_topic_is_refused(cluster: Broker, client: Client) -> None:
    """A topic that does not exist ends run at once, with the remedy."""
    with pytest.raises(KafkaRefused, match="create the topic"):
        adapter_of(Recorder(), cluster, "not-there").run()


def test_coroutines_run_side_by_side(cluster: Broker, client: Client) -> None:
    """Async handlers of other keys are begun before the first returns, and all are committed."""
    topic = client.topic()
    processor: missive.Processor[Any] = missive.Processor()
    begun: list[Any] = []
    all_begun = asyncio.Event()

    @processor.handle_for(missive.otherwise)
    async def handle(message: Any, ctx: Any) -> None:
        begun.append(message)
        if len(begun) == 20:
            all_begun.set()
        await asyncio.wait_for(all_begun.wait(), 60.0)
        ctx.ack()

    client.publish(topic, *[b"%d" % number for number in range(20)])
    recorder = Recorder()
    recorder.processor = processor
    adapter = adapter_of(recorder, cluster, topic)
    with Running(adapter):
        eventually(lambda: adapter.status().acked == 20, "not all were acked")
    assert client.committed(topic, "group")[0][0] == 20


def test_batches_are_filled(cluster: Broker, client: Client) -> None:
    """A batch handler gets full batches of messages without a key."""
    topic = client.topic()
    processor: missive.Processor[Any] = missive.Processor()
    sizes: list[int] = []

    @processor.handle_batch_for(missive.otherwise, size=50, wait=30.0)
    def handle(messages: Any, ctx: Any) -> None:
        sizes.append(len(messages))
        ctx.ack_rest()

    client.publish(topic, *[b"%d" % number for number in range(200)])
    recorder = Recorder()
    recorder.processor = processor
    adapter = adapter_of(recorder, cluster, topic)
    with Running(adapter):
        eventually(lambda: adapter.status().acked == 200, "not all were acked")
    assert sizes == [50] * 4


def test_what_was_settled_is_committed_when_run_fails(cluster: Broker, client: Client) -> None:
    """Without a DLQ an exception ends run; what was acked before is committed, that one is not."""
    topic = client.topic()

    def act(message: Any, ctx: Any) -> None:
        if message.raw_data == b"bad":
            raise LookupError("it fails")
        ctx.ack()

    client.publish(topic, b"good", b"bad", b"later")
    with pytest.raises(LookupError):
        adapter_of(Recorder(act), cluster, topic).run()
    assert client.committed(topic, "group")[0][0] == 1


def test_a_wrong_password_is_refused(tansu: Tansu) -> None:
    """Credentials that the broker does not take end run at once; no password is in the error."""
    guarded = Tansu(tansu.program)
    try:
        guarded.stop()
        guarded.start(arguments=("--authentication",))
        config = {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanisms": "SCRAM-SHA-256",
            "sasl.username": "ada",
            "sasl.password": "hush-hush",
        }
        with pytest.raises(KafkaRefused, match=r"check sasl\.username") as caught:
            adapter_of(Recorder(), guarded, "t", config=config).run()
        assert "hush" not in str(caught.value)
    finally:
        guarded.stop()


def test_partitions_move_without_loss_and_without_doubles(cluster: Broker, client: Client) -> None:
    """A second member gets some partitions; what was in flight is settled before, and once."""
    topic = client.topic(4)
    first, second = Recorder(), Recorder()
    for number in range(200):
        client.publish(topic, b"%d" % number, key=b"%d" % (number % 8), partition=number % 4)
    with Running(adapter_of(first, cluster, topic, workers=2)) as running:
        first.wait_for(200)
        with Running(adapter_of(second, cluster, topic)) as other:
            for number in range(200, 400):
                client.publish(
                    topic, b"%d" % number, key=b"%d" % (number % 8), partition=number % 4
                )
            eventually(
                lambda: len(first.bodies) + len(second.bodies) >= 400, "not all were handled"
            )
            mine, others = running.adapter.assignment(), other.adapter.assignment()
            assert len(mine) + len(others) == 4
            assert not set(mine) & set(others)
        eventually(lambda: len(running.adapter.assignment()) == 4, "they did not come back")
    assert sorted(map(int, first.bodies + second.bodies)) == list(range(400))
    assert client.remaining(topic, "group", [100] * 4) == 0


def test_lag_and_settled_ahead_are_told(mock: MockCluster) -> None:
    """lag() counts from the committed offset on, and a process after this one knows what is done."""
    client, gate = mock.client(), threading.Event()
    topic = client.topic()

    def act(message: Any, ctx: Any) -> None:
        if message.raw_data == b"slow":
            assert gate.wait(60)
        ctx.ack()

    recorder = Recorder(act)
    client.publish(topic, b"slow", key=b"s")
    client.publish(topic, *[b"quick"] * 9, key=b"q")
    adapter = adapter_of(recorder, mock, topic, workers=2)
    assert adapter.lag().waiting == 10
    with Running(adapter):
        eventually(lambda: client.remaining(topic, "group", [10]) == 1, "nothing was noted")
        assert adapter.lag().partitions[f"{topic}-0"] == 10
        assert adapter.lag_by_source() == {topic: 10}
        gate.set()
        eventually(lambda: adapter.lag().waiting == 0, "it was not committed")
    client.close()
