"""What becomes of messages when the broker, the network or a process fails."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import missive
import pytest
from missive.adapters.rabbitmq import RabbitMQAdapter
from missive.dlq.sqlite import SQLiteDLQ
from patience import eventually
from rabbitmq_server import Client, RabbitMQServer
from recorder import Recorder
from running import Running

pytestmark = pytest.mark.faults

WORKER = Path(__file__).with_name("rabbitmq_worker.py")


def worked_until_empty(command: list[str], server: RabbitMQServer, queue: str) -> bool:
    """Run a worker until it dies or the queue is empty; return whether it lived."""
    process = subprocess.Popen(command)

    def is_over() -> bool:
        return process.poll() is not None or server.messages(queue) == 0

    try:
        eventually(is_over, "it is stuck")
        return process.poll() is None
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.parametrize("fault", ["down", "kill"])
@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_a_restart_of_the_broker_is_survived(
    make_server: Callable[..., RabbitMQServer], fault: str, kind: str
) -> None:
    """Durable messages that were not settled are handled after the broker is back."""
    server, recorder = make_server(), Recorder()
    client = server.client()
    queue = client.queue(kind)
    client.close()
    server.down()  # a quorum queue that was just made may not be on the disk yet
    server.start()
    client = server.client()
    client.publish(queue, b"before")
    adapter = RabbitMQAdapter(missive.RawMessage, recorder.processor, [queue], server.url)
    with Running(adapter):
        recorder.wait_for(1)
        eventually(lambda: server.messages(queue) == 0, "the first was not acked")
        client.publish(queue, b"between")
        recorder.wait_for(2)
        getattr(server, fault)()
        eventually(lambda: not adapter.ready.is_set(), "the loss was not noticed")
        server.start()
        assert adapter.ready.wait(60.0)
        client.close()
        client = server.client()
        client.publish(queue, b"after")
        eventually(lambda: b"after" in recorder.bodies, "nothing came after the restart")
    assert server.messages(queue) == 0
    client.close()


def test_a_silent_broker_is_noticed_by_its_heartbeat(
    make_server: Callable[..., RabbitMQServer],
) -> None:
    """A half-open connection is lost within the heartbeat's time, and opened again."""
    server, recorder = make_server(), Recorder()
    client = server.client()
    queue = client.queue()
    adapter = RabbitMQAdapter(missive.RawMessage, recorder.processor, [queue], server.url)
    with Running(adapter):
        server.signal(signal.SIGSTOP)
        try:
            eventually(lambda: not adapter.ready.is_set(), "the silence was not noticed")
        finally:
            server.signal(signal.SIGCONT)
        assert adapter.ready.wait(60.0)
        client.publish(queue, b"after")
        recorder.wait_for(1)
    client.close()


def test_an_alarm_of_the_broker_keeps_consumers_going(
    make_server: Callable[..., RabbitMQServer],
) -> None:
    """While the broker blocks publishers, what is queued is handled and acked."""
    server = make_server()
    client = server.client()
    queue = client.queue()
    client.publish(queue, *[b"%d" % number for number in range(10)])
    server.control("set_vm_memory_high_watermark", "0.0000001")
    recorder = Recorder()
    adapter = RabbitMQAdapter(missive.RawMessage, recorder.processor, [queue], server.url)
    with Running(adapter):
        recorder.wait_for(10)
        eventually(lambda: server.messages(queue) == 0, "they were not acked")
    assert adapter.status().reconnections == 0
    client.close()


def test_a_bad_ack_closes_the_channel_and_is_survived(
    server: RabbitMQServer, client: Client
) -> None:
    """A channel that the broker closed is opened again; what was unsettled is redelivered."""
    queue, recorder = client.queue(), Recorder()
    adapter: Any = RabbitMQAdapter(missive.RawMessage, recorder.processor, [queue], server.url)
    spoilt: list[bool] = []

    def act(message: Any, ctx: Any) -> None:
        if not spoilt:
            spoilt.append(True)
            adapter._link.channel.basic_ack(99)
        ctx.ack()

    recorder.act = act
    with Running(adapter):
        client.publish(queue, b"1")
        eventually(lambda: adapter.status().reconnections == 1, "it did not connect again")
        client.publish(queue, b"2")
        eventually(lambda: b"2" in recorder.bodies, "nothing came afterwards")
    assert server.messages(queue) == 0


def test_kills_lose_nothing_and_a_poison_is_dead_lettered_alone(
    server: RabbitMQServer, client: Client, tmp_path: Path
) -> None:
    """Messages that were held beside one that kills its process are handled; that one is kept."""
    queue = client.queue("quorum")
    bodies = [b"%d" % number for number in range(300)]
    client.publish(queue, *bodies[:100], b"poison", *bodies[100:])
    handled, letters = tmp_path / "handled", tmp_path / "letters.db"
    command = [sys.executable, str(WORKER), server.url, queue, str(handled), str(letters)]
    deaths = 0
    while not worked_until_empty(command, server, queue):
        deaths += 1
        assert deaths < 20
    assert deaths == 5
    counts = Counter(handled.read_bytes().split())
    assert set(counts) == set(bodies)
    with SQLiteDLQ(letters) as dlq:
        assert [message.raw_data for message, _ in dlq.values()] == [b"poison"]
        assert [reason for _, reason in dlq.values()] == ["delivered 5 times without being settled"]
