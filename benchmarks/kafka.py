"""Kafka: what a message of a consumer group costs, committed, beside a loop with confluent-kafka."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Any

from faststream_peer import FastStreamProgram
from instrument import Stopwatch, Suite
from kafka_service import kafka_service

#: The length of a message, in bytes.
SIZE = 100
#: How many keys the messages have, and how many partitions the topic.
KEYS, PARTITIONS = 64, 1
#: How long a handler waits for a network that it is given in place of a real one, in seconds.
WAIT = 0.005
#: A broker lets a group begin after a part of the session timeout.
SESSION = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}

suite = Suite("kafka", "Kafka", unit="µs a message", service=kafka_service)


def prepare(bootstrap: str, items: int) -> str:
    """Make a topic, fill it, and return its name, which is that of the group too."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    topic = f"benchmark-{uuid.uuid4().hex[:8]}"
    settings = {"bootstrap.servers": bootstrap, "log_level": 0}
    admin = AdminClient(settings)
    for made in admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
        made.result(30)
    producer = Producer({**settings, "linger.ms": 20})
    body = b"x" * SIZE
    for number in range(items):
        while True:
            try:
                producer.produce(topic, body, b"%d" % (number % KEYS))
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(60):
        raise SystemExit("the broker did not take the messages")
    return topic


def check(bootstrap: str, topic: str, items: int) -> None:
    """See that every message was committed, so that nobody is quick by leaving work out."""
    from confluent_kafka import Consumer, TopicPartition

    consumer: Any = Consumer({"bootstrap.servers": bootstrap, "group.id": topic, "log_level": 0})
    deadline = time.monotonic() + 10  # the last commits may be on their way
    try:
        while True:
            (place,) = consumer.committed([TopicPartition(topic, 0)], timeout=10)
            if place.offset == items:
                return
            if time.monotonic() > deadline:
                raise SystemExit(f"{place.offset} of {items} messages are committed")
    finally:
        consumer.close()


@suite.variant(
    "consume(100) loop",
    environment="limit",
    kind="limit",
    semantics="a loop with confluent-kafka that commits after each batch, asynchronously;"
    " at least once",
)
def consumed(bootstrap: str) -> Callable[[int], dict[str, float]]:
    """Measure what a user would write with confluent-kafka."""
    from confluent_kafka import Consumer

    def run(items: int) -> dict[str, float]:
        topic = prepare(bootstrap, items)
        consumer: Any = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": topic,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                **SESSION,
            }
        )
        consumer.subscribe([topic])
        done, watch = 0, Stopwatch()
        while done < items:
            messages = consumer.consume(100, 0.5)
            if done == 0:
                watch = Stopwatch()
            for message in messages:
                if message.error() is None:
                    message.value()
                    done += 1
            if messages:
                consumer.commit(message=messages[-1], asynchronous=True)
        took = watch.stop()
        consumer.close()
        check(bootstrap, topic, items)
        return took

    return run


def _adapter(
    bootstrap: str, wait: float = 0.0, **options: Any
) -> Callable[[int], dict[str, float]]:
    import missive
    from missive.adapters.kafka import KafkaAdapter

    def run(items: int) -> dict[str, float]:
        topic = prepare(bootstrap, items)
        processor: Any = missive.Processor()
        adapter = KafkaAdapter(
            missive.RawMessage,
            processor,
            [topic],
            topic,  # the group
            bootstrap=bootstrap,
            config=SESSION,
            **options,
        )
        done = 0
        watch = Stopwatch()
        took: dict[str, float] = {}

        @processor.handle_for(lambda message: True)
        def handle(message: Any, ctx: Any) -> None:
            nonlocal done, watch, took
            if done == 0:
                watch = Stopwatch()
            if wait:
                time.sleep(wait)
            ctx.ack()
            done += 1  # beside other threads too, whose handlers mostly wait
            if done == items:
                took = watch.stop()
                adapter.stop()

        adapter.run()
        check(bootstrap, topic, items)
        return took

    return run


@suite.variant(
    "Missive",
    environment="missive",
    kind="missive",
    semantics="handled by exactly one handler, settled, and committed up to the lowest that is not;"
    " at least once",
)
def adapter(bootstrap: str) -> Callable[[int], dict[str, float]]:
    """Measure the adapter, with the whole framework."""
    return _adapter(bootstrap)


@suite.variant(
    "Missive, 1 thread",
    environment="missive",
    kind="missive",
    semantics="each handler waits 5 ms, as for a network; one message at a time",
)
def one_at_a_time(bootstrap: str) -> Callable[[int], dict[str, float]]:
    """Measure handlers that wait, one after the other."""
    return _adapter(bootstrap, WAIT)


@suite.variant(
    "Missive, 8 threads",
    environment="missive",
    kind="missive",
    semantics="the same with workers=8: messages of one key in order, of 64 keys side by side",
)
def by_key(bootstrap: str) -> Callable[[int], dict[str, float]]:
    """Measure handlers that wait, eight keys of one partition at once."""
    return _adapter(bootstrap, WAIT, workers=8)


async def _faststream_run(bootstrap: str, topic: str, items: int, policy: str) -> dict[str, float]:
    from faststream import AckPolicy
    from faststream.confluent import KafkaBroker

    broker = KafkaBroker(bootstrap, logger=None)
    program = FastStreamProgram(broker, items)

    @broker.subscriber(
        topic,
        group_id=topic,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy[policy],
        session_timeout_ms=SESSION["session.timeout.ms"],
        heartbeat_interval_ms=SESSION["heartbeat.interval.ms"],
    )
    async def handle(body: Any) -> None:
        program.count()

    return await program.run(acks=0.0)


@suite.variant(
    "FastStream",
    environment="faststream",
    kind="peer",
    semantics="a subscriber of faststream.confluent with its default, ACK_FIRST, which commits by time"
    " whatever becomes of the handler; at most once",
)
def faststream(bootstrap: str, policy: str = "ACK_FIRST") -> Callable[[int], dict[str, float]]:
    """Measure a subscriber of FastStream."""

    def run(items: int) -> dict[str, float]:
        topic = prepare(bootstrap, items)
        took = asyncio.run(_faststream_run(bootstrap, topic, items, policy))
        check(bootstrap, topic, items)
        return took

    return run


@suite.variant(
    "FastStream, acked after",
    environment="faststream",
    kind="peer",
    semantics="the same with AckPolicy.ACK, which commits each message after its handler;"
    " at least once",
)
def faststream_acked(bootstrap: str) -> Callable[[int], dict[str, float]]:
    """Measure a subscriber of FastStream that guarantees what Missive does."""
    return faststream(bootstrap, "ACK")


suite.case("100 B", ("consume(100) loop", "Missive"), items=200_000, quick_items=50_000)
suite.case(
    "100 B, framework",
    ("Missive", "FastStream", "FastStream, acked after"),
    items=10_000,
    quick_items=5_000,
    rounds=5,
)
suite.case("handlers of 5 ms", ("Missive, 1 thread", "Missive, 8 threads"), items=600, rounds=3)
suite.target(
    "more than a loop with consume(100) and asynchronous commits",
    ("100 B", "Missive"),
    ("100 B", "consume(100) loop"),
    at_most=3.0,
    difference=True,
    unit="µs",
    scale=1e6,
)
suite.target(
    "FastStream over Missive, both at least once",
    ("100 B, framework", "FastStream, acked after"),
    ("100 B, framework", "Missive"),
    at_least=50,
)
suite.target(
    "one thread over eight, by key, handlers of 5 ms",
    ("handlers of 5 ms", "Missive, 1 thread"),
    ("handlers of 5 ms", "Missive, 8 threads"),
    at_least=7,
)
