"""An account of every message, while workers and the broker are killed."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from missive.dlq.sqlite import SQLiteDLQ
from patience import eventually
from pika.exceptions import AMQPError
from rabbitmq_server import RabbitMQServer

WORKER = Path(__file__).with_name("rabbitmq_worker.py")
#: How many workers share the queue, and how many messages each is sent ahead.
WORKERS, PREFETCH = 3, 100
#: How many deliveries a message may have that was never settled.
MAX_DELIVERIES = 5


class Publisher:
    """Publishes numbered messages, one poison among them; again where it cannot know."""

    def __init__(self, server: RabbitMQServer, queue: str, count: int) -> None:
        self._server, self._queue = server, queue
        self.bodies = [b"%d" % number for number in range(count)]
        #: What may be in the queue twice, since the broker died before it confirmed.
        self.unsure: set[bytes] = set()
        #: Set while the broker can be reached.
        self.may_connect = threading.Event()
        self.may_connect.set()
        self.thread = threading.Thread(target=self._publish, daemon=True)

    def _publish(self) -> None:
        left = [*self.bodies[:50], b"poison", *self.bodies[50:]]
        left.reverse()
        while left:
            self.may_connect.wait()
            try:
                client = self._server.client()
                while left:
                    client.publish(self._queue, left[-1])
                    left.pop()
            except AMQPError:
                self.unsure.add(left[-1])
            else:
                client.close()


class Workers:
    """Processes that are started again when they die."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self.processes = [subprocess.Popen(command) for _ in range(WORKERS)]

    def revive(self) -> None:
        """Start a process in the place of each that has ended."""
        for place, process in enumerate(self.processes):
            if process.poll() is not None:
                self.processes[place] = subprocess.Popen(self._command)

    def end(self) -> None:
        """Stop all of them, each in an orderly way."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(120)


@pytest.mark.parametrize(
    ("count", "kills", "broker_kills"),
    [(900, 6, 1), pytest.param(100_000, 200, 20, marks=pytest.mark.soak)],
    ids=["quick", "soak"],
)
def test_kills_of_workers_and_the_broker_lose_nothing(
    make_server: Callable[..., RabbitMQServer],
    tmp_path: Path,
    count: int,
    kills: int,
    broker_kills: int,
) -> None:
    """Every message is handled, only what was in flight is handled twice, the poison is kept."""
    server = make_server()
    client = server.client()
    queue = client.queue("quorum")
    client.close()
    server.down()  # a queue that was just made may not be on the disk yet
    server.start()
    handled, letters = tmp_path / "handled", tmp_path / "letters.db"
    handled.touch()
    publisher = Publisher(server, queue, count)
    workers = Workers([sys.executable, str(WORKER), server.url, queue, str(handled), str(letters)])
    publisher.thread.start()
    choose = random.Random(count)

    def has_handled(number: int) -> bool:
        workers.revive()
        return handled.read_bytes().count(b"\n") >= number

    try:
        for kill in range(1, kills + 1):
            number = count * kill // (kills + 1)
            eventually(lambda number=number: has_handled(number), "it is stuck", 300.0)  # type: ignore[misc]
            choose.choice(workers.processes).kill()
            if kill % (kills // broker_kills) == 0:
                publisher.may_connect.clear()
                server.kill()
                server.start()
                publisher.may_connect.set()
        eventually(lambda: has_handled(count) and not publisher.thread.is_alive(), "stuck", 300.0)
        eventually(lambda: (workers.revive(), server.messages(queue) == 0)[1], "stuck", 300.0)
    finally:
        workers.end()
    counts = Counter(handled.read_bytes().split())
    twice = [body for body, times in counts.items() if times > 1 and body not in publisher.unsure]
    print(
        f"{count} messages, {kills} kills of workers, {broker_kills} of the broker:"
        f" {count - len(counts)} lost, {len(twice)} handled twice"
    )
    assert set(counts) == set(publisher.bodies)
    deaths = kills + MAX_DELIVERIES + WORKERS * broker_kills
    assert len(twice) <= deaths * PREFETCH
    with SQLiteDLQ(letters) as dlq:
        kept = [message.raw_data for message, _ in dlq.values()]
    assert set(kept) == {b"poison"}
    # The queue gives no ids, so one whose ack was lost by a kill is another letter the next time.
    assert len(kept) <= 1 + kills + broker_kills
