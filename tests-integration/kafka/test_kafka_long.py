"""What an adapter takes of memory and processor in the long run."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import missive
import pytest
from kafka_server import Broker, Client
from missive.adapters.kafka import KafkaAdapter
from patience import eventually
from running import Running

pytestmark = pytest.mark.soak

MESSAGES, CHUNK = 1_000_000, 20_000


def megabytes() -> float:
    """Return how much memory this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def adapter_of(broker: Broker, topic: str, processor: Any, **options: Any) -> KafkaAdapter[Any]:
    """Build an adapter whose client fetches no more ahead than it must."""
    config = {**broker.settings(), "queued.max.messages.kbytes": 1024}
    return KafkaAdapter(
        missive.RawMessage,
        processor,
        topic,
        "group",
        bootstrap=broker.bootstrap,
        config=config,
        **options,
    )


def test_memory_is_flat_while_a_partition_is_stuck(cluster: Broker, client: Client) -> None:
    """Over a million messages of one partition, while another waits for its first: 30 MB at most."""
    topic, gate = client.topic(2), threading.Event()
    processor: missive.Processor[Any] = missive.Processor()
    done = 0

    @processor.handle_for(missive.otherwise)
    def handle(message: Any, ctx: Any) -> None:
        nonlocal done
        if message.raw_data == b"stuck":
            gate.wait()
        else:
            done += 1  # by one thread at a time: the other one is stuck
        ctx.ack()

    client.publish(topic, b"stuck", key=b"s")
    for _ in range(2):  # more than max_gap
        client.publish(topic, *[b"x" * 100] * 10_000, key=b"s")
    adapter = adapter_of(cluster, topic, processor, workers=2)
    sizes: list[float] = []
    with Running(adapter):
        for count in range(CHUNK, MESSAGES + 1, CHUNK):
            client.publish(topic, *[b"x" * 100] * CHUNK, key=b"q", partition=1)
            eventually(lambda count=count: done >= count, "a lane waits")
            sizes.append(megabytes())
        stuck = adapter.assignment()[f"{topic}-0"]
        assert (stuck.position, stuck.paused) == (0, True)
        gate.set()
        eventually(lambda: done == MESSAGES + 20_000, "what was stuck does not go on")
    print(f"\nMB after {CHUNK:,}, {5 * CHUNK:,} and {MESSAGES:,}:", sizes[0], sizes[4], sizes[-1])
    assert sizes[-1] - sizes[4] < 30


@pytest.mark.parametrize("workers", [1, 4])
def test_an_idle_adapter_takes_less_than_a_hundredth_of_a_processor(
    cluster: Broker, client: Client, workers: int
) -> None:
    """Of ten seconds without a message this process, librdkafka included, computes for a tenth."""
    topic = client.topic()
    processor: missive.Processor[Any] = missive.Processor()
    processor.handle_for(missive.otherwise)(lambda message, ctx: ctx.ack())
    with Running(adapter_of(cluster, topic, processor, workers=workers)):
        before = time.process_time()
        threading.Event().wait(10)
        took = time.process_time() - before
    print(f"\n{100 * took / 10:.2f} % of a core")
    assert took < 0.1
