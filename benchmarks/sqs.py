"""Amazon SQS: how far several receivers hide a latency of 20 ms a call, beside a bare loop."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from instrument import Stopwatch, Suite
from sqs_service import LATENCY, sqs_service

suite = Suite("sqs", "Amazon SQS", unit="µs a message", service=sqs_service)
NAME = "orders"


def client_of(url: str, **config: Any) -> Any:
    """Return a client of boto3's."""
    import boto3
    from botocore.config import Config

    os.environ.update(AWS_ACCESS_KEY_ID="benchmark", AWS_SECRET_ACCESS_KEY="benchmark")
    options = {"region_name": "eu-west-1", "endpoint_url": url, "config": Config(**config)}
    return boto3.session.Session().client("sqs", **options)


def prepare(client: Any, url: str, items: int) -> str:
    """Fill the queue, and return its URL."""
    queue = f"{url}/1/{NAME}"
    client.send_message(QueueUrl=queue, MessageBody=str(items))
    return queue


@suite.variant(
    "receive_message(10) + delete_message_batch",
    environment="limit",
    kind="limit",
    semantics=f"a loop with boto3, {LATENCY * 1000:.0f} ms a call; at least once",
)
def bare(url: str) -> Callable[[int], dict[str, float]]:
    """Measure what a user would write with boto3."""

    def run(items: int) -> dict[str, float]:
        client = client_of(url)
        queue, done = prepare(client, url, items), 0
        watch = Stopwatch()
        while done < items:
            got = client.receive_message(
                QueueUrl=queue, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
            )
            entries = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(got["Messages"])
            ]
            client.delete_message_batch(QueueUrl=queue, Entries=entries)
            done += len(entries)
        return watch.stop()

    return run


def with_missive(url: str, receivers: int) -> Callable[[int], dict[str, float]]:
    """Build what runs the adapter until so many messages are handled."""
    import missive
    from missive.adapters.sqs import SQSAdapter

    def run(items: int) -> dict[str, float]:
        seen = 0
        processor: Any = missive.Processor()
        client = client_of(url, max_pool_connections=100)
        queue = prepare(client, url, items)
        adapter = SQSAdapter(
            missive.RawMessage, processor, queue, client=client, receivers=receivers
        )

        @processor.handle_for(missive.otherwise)
        def handle(message: Any, ctx: Any) -> None:
            nonlocal seen
            seen += 1
            if seen == items:
                adapter.stop()
            ctx.ack()

        watch = Stopwatch()
        adapter.run()
        return watch.stop()

    return run


@suite.variant(
    "missive, receivers=1",
    environment="missive",
    kind="missive",
    semantics=f"one poll under way, {LATENCY * 1000:.0f} ms a call; deleted in tens",
)
def one(url: str) -> Callable[[int], dict[str, float]]:
    """Measure one receiver."""
    return with_missive(url, 1)


@suite.variant(
    "missive, receivers=8",
    environment="missive",
    kind="missive",
    semantics=f"eight polls under way, {LATENCY * 1000:.0f} ms a call; deleted in tens",
)
def eight(url: str) -> Callable[[int], dict[str, float]]:
    """Measure eight receivers."""
    return with_missive(url, 8)


suite.case(
    "100 B",
    ("receive_message(10) + delete_message_batch", "missive, receivers=1"),
    items=600,
    quick_items=200,
)
suite.case("100 B, eight at once", ("missive, receivers=8",), items=3000, quick_items=1000)
suite.target(
    "throughput of 8 receivers over that of 1, 20 ms a call",
    ("100 B", "missive, receivers=1"),
    ("100 B, eight at once", "missive, receivers=8"),
    at_least=6,
)
