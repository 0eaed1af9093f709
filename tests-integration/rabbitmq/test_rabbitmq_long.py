"""What an adapter takes of memory and processor in the long run."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import missive
import pika
import pytest
from missive.adapters.rabbitmq import RabbitMQAdapter
from patience import eventually
from rabbitmq_server import Client, RabbitMQServer
from running import Running

pytestmark = pytest.mark.soak

MESSAGES, CHUNK = 1_000_000, 20_000


def megabytes() -> float:
    """Return how much memory this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_memory_is_flat_over_a_million_messages(server: RabbitMQServer, client: Client) -> None:
    """One message is never settled, and the memory of a million others is given back."""
    queue, done = client.queue(), 0
    processor: missive.Processor[Any] = missive.Processor()

    @processor.handle_for(missive.otherwise)
    def handle(message: Any, ctx: Any) -> None:
        nonlocal done
        if message.raw_data == b"held":
            ctx.nack()
        else:
            done += 1
            ctx.ack()

    client.publish(queue, b"held")
    adapter = RabbitMQAdapter(missive.RawMessage, processor, queue, server.url, retry_after=1e6)
    sizes: list[float] = []
    publisher = pika.BlockingConnection(pika.URLParameters(server.url))
    channel = publisher.channel()
    with Running(adapter):
        for count in range(CHUNK, MESSAGES + 1, CHUNK):
            for _ in range(CHUNK):
                channel.basic_publish("", queue, b"x" * 100)
            publisher.process_data_events()
            eventually(lambda count=count: done >= count, "messages are missing")
            sizes.append(megabytes())
    publisher.close()
    print(f"\nMB after {CHUNK:,}, {5 * CHUNK:,} and {MESSAGES:,}:", sizes[0], sizes[4], sizes[-1])
    assert sizes[-1] - sizes[4] < 10
    assert client.ready(queue) == 1


@pytest.mark.parametrize("workers", [1, 4])
def test_an_idle_adapter_takes_less_than_a_hundredth_of_a_processor(
    server: RabbitMQServer, client: Client, workers: int
) -> None:
    """Of ten seconds without a message it computes for less than a tenth of one."""
    processor: missive.Processor[Any] = missive.Processor()
    processor.handle_for(missive.otherwise)(lambda message, ctx: ctx.ack())
    adapter = RabbitMQAdapter(
        missive.RawMessage, processor, client.queue(), server.url, workers=workers
    )
    with Running(adapter):
        before = time.process_time()
        threading.Event().wait(10)
        took = time.process_time() - before
    print(f"\n{100 * took / 10:.2f} % of a core")
    assert took < 0.1
