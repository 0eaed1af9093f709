"""RabbitMQ: what a message of a queue costs, acked, beside a loop with pika."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from faststream_peer import FastStreamProgram
from instrument import Stopwatch, Suite
from rabbitmq_service import rabbitmq_service

QUEUE = "benchmark"
#: The length of a message, in bytes.
SIZE = 100
#: How many messages a bare loop acks with one frame.
RANGE = 50

suite = Suite("rabbitmq", "RabbitMQ", unit="µs a message", service=rabbitmq_service)


def prepare(url: str, kind: str, items: int) -> None:
    """Make the queue anew, and fill it."""
    import pika

    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_delete(QUEUE)
    channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": kind})
    body, properties = b"x" * SIZE, pika.BasicProperties(delivery_mode=2)
    for _ in range(items):
        channel.basic_publish("", QUEUE, body, properties)
    channel.confirm_delivery()
    channel.basic_publish("", QUEUE, body, properties)  # confirmed after those before it
    while _waiting(channel) <= items:
        time.sleep(0.05)
    channel.basic_get(QUEUE, auto_ack=True)
    connection.close()


def _waiting(channel: Any) -> int:
    count: int = channel.queue_declare(QUEUE, passive=True).method.message_count
    return count


def check(url: str) -> None:
    """See that every message was acked, so that nobody is quick by leaving work out."""
    import pika

    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    time.sleep(0.3)  # what was not acked returns to the queue
    left = _waiting(channel)
    connection.close()
    if left:
        raise SystemExit(f"{left} messages were not acked")


def _pika_loop(url: str, kind: str, prefetch: int, every: int) -> Callable[[int], dict[str, float]]:
    import pika

    def run(items: int) -> dict[str, float]:
        prepare(url, kind, items)
        connection = pika.BlockingConnection(pika.URLParameters(url))
        channel = connection.channel()
        channel.basic_qos(prefetch_count=prefetch)
        watch = Stopwatch()
        for done, (method, _, _) in enumerate(channel.consume(QUEUE), 1):
            if done == 1:
                watch = Stopwatch()
            if done % every == 0 or done == items:
                channel.basic_ack(method.delivery_tag, multiple=every > 1)
            if done == items:
                break
        took = watch.stop()
        channel.cancel()
        connection.close()
        check(url)
        return took

    return run


@suite.variant(
    "pika loop",
    environment="limit",
    kind="limit",
    semantics="consume() with a prefetch of 100, one ack for 50 messages; at least once",
)
def ranges(url: str, kind: str) -> Callable[[int], dict[str, float]]:
    """Measure what a user would write with pika."""
    return _pika_loop(url, kind, 100, RANGE)


@suite.variant(
    "pika loop, prefetch 1",
    environment="limit",
    kind="limit",
    semantics="consume() with a prefetch of 1, an ack for each message; at least once",
)
def singly(url: str, kind: str) -> Callable[[int], dict[str, float]]:
    """Measure what a user would write with pika to have one message at a time."""
    return _pika_loop(url, kind, 1, 1)


def _adapter(url: str, kind: str, prefetch: int) -> Callable[[int], dict[str, float]]:
    import missive
    from missive.adapters.rabbitmq import RabbitMQAdapter

    def run(items: int) -> dict[str, float]:
        prepare(url, kind, items)
        processor: Any = missive.Processor()
        adapter = RabbitMQAdapter(missive.RawMessage, processor, QUEUE, url, prefetch=prefetch)
        done = 0
        watch = Stopwatch()
        took: dict[str, float] = {}

        @processor.handle_for(lambda message: True)
        def handle(message: Any, ctx: Any) -> None:
            nonlocal done, watch, took
            if done == 0:
                watch = Stopwatch()
            ctx.ack()
            done += 1
            if done == items:
                took = watch.stop()
                adapter.stop()

        adapter.run()
        check(url)
        return took

    return run


@suite.variant(
    "Missive",
    environment="missive",
    kind="missive",
    semantics="handled by exactly one handler and settled; acks go in ranges; at least once",
)
def adapter(url: str, kind: str) -> Callable[[int], dict[str, float]]:
    """Measure the adapter, with the whole framework."""
    return _adapter(url, kind, 100)


@suite.variant(
    "Missive, prefetch 1",
    environment="missive",
    kind="missive",
    semantics="the same with prefetch=1: each message is acked before the next is sent",
)
def adapter_singly(url: str, kind: str) -> Callable[[int], dict[str, float]]:
    """Measure the adapter where the broker sends nothing ahead."""
    return _adapter(url, kind, 1)


async def _faststream_run(url: str, kind: str, items: int) -> dict[str, float]:
    from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue

    broker = RabbitBroker(url, logger=None)
    queue: Any = RabbitQueue(QUEUE, queue_type=QueueType(kind), durable=True)
    program = FastStreamProgram(broker, items)

    @broker.subscriber(queue, channel=Channel(prefetch_count=100))
    async def handle(body: Any) -> None:
        program.count()

    return await program.run()


@suite.variant(
    "FastStream",
    environment="faststream",
    kind="peer",
    semantics="a subscriber of faststream.rabbit with a prefetch of 100, as it acks by default;"
    " at least once",
)
def faststream(url: str, kind: str) -> Callable[[int], dict[str, float]]:
    """Measure a subscriber of FastStream."""

    def run(items: int) -> dict[str, float]:
        prepare(url, kind, items)
        took = asyncio.run(_faststream_run(url, kind, items))
        check(url)
        return took

    return run


for kind in ("classic", "quorum"):
    suite.case(
        kind,
        ("pika loop", "Missive", "FastStream"),
        parameters={"kind": kind},
        items=20_000,
        quick_items=5_000,
    )
    suite.target(
        f"of a pika loop that acks in ranges, {kind}",
        (kind, "Missive"),
        (kind, "pika loop"),
        at_most=1.25,
    )
    suite.target(
        f"FastStream over Missive, {kind}", (kind, "FastStream"), (kind, "Missive"), at_least=6
    )
suite.case(
    "prefetch 1",
    ("pika loop, prefetch 1", "Missive, prefetch 1"),
    parameters={"kind": "classic"},
    items=5_000,
    quick_items=2_000,
)
suite.target(
    "prefetch=1, of the same loop",
    ("prefetch 1", "Missive, prefetch 1"),
    ("prefetch 1", "pika loop, prefetch 1"),
    at_most=1.1,
)
