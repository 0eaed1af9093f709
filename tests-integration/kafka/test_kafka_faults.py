"""What becomes of messages when processes are killed, stopped, paused and joined by others."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from kafka_server import Broker, Client, MockCluster
from missive.dlq.sqlite import SQLiteDLQ
from patience import DEADLINE, eventually

WORKER = Path(__file__).with_name("kafka_worker.py")
PARTITIONS, KEYS = 4, 12


class Fleet:
    """Processes of one group, and what they handled.

    :param broker: what they connect to.
    :param folder: where they note it.
    """

    def __init__(self, broker: Broker, topic: str, folder: Path) -> None:
        self.broker, self.topic, self.folder = broker, topic, folder
        self.group = f"group-{uuid.uuid4().hex[:8]}"
        self.processes: list[subprocess.Popen[bytes]] = []

    @property
    def letters(self) -> Path:
        """The file of dead letters."""
        return self.folder / "letters.db"

    def start(self, workers: int = 1) -> subprocess.Popen[bytes]:
        """Start one more."""
        handled = self.folder / f"handled-{uuid.uuid4().hex}"
        timeout = self.broker.settings()["session.timeout.ms"]
        arguments: list[object] = [
            self.broker.bootstrap,
            self.topic,
            self.group,
            handled,
            self.letters,
        ]
        arguments += [workers, timeout]
        process = subprocess.Popen([sys.executable, str(WORKER), *map(str, arguments)])
        self.processes.append(process)
        return process

    def end(self, process: subprocess.Popen[bytes], signum: int) -> int:
        """End one, and return its status; 0 too where it had only just begun."""
        self.processes.remove(process)
        process.send_signal(signum)
        status = process.wait(DEADLINE)
        return 0 if status == -signal.SIGTERM else status

    def close(self) -> None:
        """End all."""
        for process in self.processes:
            process.kill()
            process.wait(DEADLINE)

    def handled(self) -> list[tuple[int, bytes]]:
        """Return what was handled, as (time, body), in the order of time."""
        lines = [
            line.split()
            for path in self.folder.glob("handled-*")
            for line in path.read_bytes().splitlines()
        ]
        return sorted((int(line[1]), line[0]) for line in lines)


class Sender:
    """Publishes numbered messages, each key to a partition of its own."""

    def __init__(self, client: Client, topic: str) -> None:
        self.client, self.topic = client, topic
        self.sent: list[bytes] = []
        self.by_partition = [0] * PARTITIONS

    def send(self, count: int) -> None:
        """Publish more messages."""
        for _ in range(count):
            number = len(self.sent)
            key = number % KEYS
            body = b"%d:%d" % (key, number)
            self.client.publish(self.topic, body, key=b"%d" % key, partition=key % PARTITIONS)
            self.sent.append(body)
            self.by_partition[key % PARTITIONS] += 1


def inversions(handled: list[tuple[int, bytes]]) -> int:
    """Count messages that were handled once, after a later one of their key that was too."""
    counts = Counter(body for _, body in handled)
    last: dict[bytes, int] = defaultdict(lambda: -1)
    wrong = 0
    for _, body in handled:
        key, _, number = body.partition(b":")
        if counts[body] == 1:
            wrong += int(number) < last[key]
            last[key] = max(last[key], int(number))
    return wrong


def disturb(fleet: Fleet, sender: Sender, chance: random.Random, workers: int) -> str:
    """Do something to one process while messages are published; return what."""
    fault = chance.choice(["kill", "stop", "join", "pause"])
    victim = chance.choice(fleet.processes)
    sender.send(60)
    if fault == "kill":
        fleet.end(victim, signal.SIGKILL)
        fleet.start(workers)
    elif fault == "stop":
        assert fleet.end(victim, signal.SIGTERM) == 0
        fleet.start(workers)
    elif fault == "join":
        fleet.start(workers)
        sender.send(60)
        assert fleet.end(victim, signal.SIGTERM) == 0
    else:
        victim.send_signal(signal.SIGSTOP)
        # Beyond the timeout of its session.
        time.sleep(fleet.broker.settings()["session.timeout.ms"] / 1000 * 1.3)
        sender.send(60)
        victim.send_signal(signal.SIGCONT)
    sender.send(60)
    return fault


def run_rounds(broker: Broker, folder: Path, rounds: int, workers: int) -> dict[str, int]:
    """Disturb three processes so often, and return what became of the messages."""
    client = broker.client()
    topic = client.topic(PARTITIONS)
    fleet, sender = Fleet(broker, topic, folder), Sender(client, topic)
    chance = random.Random(rounds)
    faults: Counter[str] = Counter()
    try:
        for _ in range(3):
            fleet.start(workers)
        sender.send(60)
        for _ in range(rounds):
            faults[disturb(fleet, sender, chance, workers)] += 1
        waits = 10 * DEADLINE
        deadline = time.monotonic() + waits
        while set(sender.sent) - {body for _, body in fleet.handled()}:
            assert time.monotonic() < deadline, "not all were handled"
            time.sleep(0.5)
        eventually(
            lambda: client.remaining(topic, fleet.group, sender.by_partition) == 0,
            "not all were committed",
        )
        while fleet.processes:
            assert fleet.end(fleet.processes[0], signal.SIGTERM) == 0
    finally:
        fleet.close()
        client.close()
    handled = fleet.handled()
    counts = Counter(body for _, body in handled)
    assert not SQLiteDLQ(fleet.letters)
    return {
        "sent": len(sender.sent),
        "lost": len(set(sender.sent) - set(counts)),
        "inversions": inversions(handled),
        "doubles": sum(counts.values()) - len(counts),
        **faults,
    }


@pytest.mark.parametrize("workers", [1, 8])
def test_a_few_rounds_of_faults_lose_nothing(
    mock: MockCluster, tmp_path: Path, workers: int
) -> None:
    """Kills, stops, joins and pauses lose no message and turn round no order of a key."""
    account = run_rounds(mock, tmp_path, 3, workers)
    assert (account["lost"], account["inversions"]) == (0, 0), account


@pytest.mark.soak
@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("kind", ["mock", "cluster"])
def test_a_hundred_rounds_of_faults_lose_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, workers: int
) -> None:
    """The same, a hundred times."""
    account = run_rounds(request.getfixturevalue(kind), tmp_path, 100, workers)
    print(kind, workers, account)
    assert (account["lost"], account["inversions"]) == (0, 0), account


def test_a_poison_is_dead_lettered_alone(mock: MockCluster, tmp_path: Path) -> None:
    """Of messages beside one that kills its process all are handled; that one is a dead letter."""
    client = mock.client()
    topic = client.topic()
    bodies = [b"%d:%d" % (number % 5, number) for number in range(300)]
    for body in [*bodies[:100], b"poison", *bodies[100:]]:
        client.publish(topic, body, key=body[:1])
    fleet = Fleet(mock, topic, tmp_path)
    deaths = 0
    try:
        process = fleet.start(4)

        def is_over() -> bool:
            left = client.remaining(topic, fleet.group, [301, 0, 0, 0])
            return process.poll() is not None or left == 0

        while True:
            eventually(is_over, "it is stuck")
            if process.poll() is None:
                break
            fleet.processes.remove(process)
            deaths += 1
            assert deaths < 10
            process = fleet.start(4)
        assert fleet.end(process, signal.SIGTERM) == 0
    finally:
        fleet.close()
        client.close()
    assert 5 <= deaths <= 6
    assert {body for _, body in fleet.handled()} == set(bodies)
    with SQLiteDLQ(fleet.letters) as dlq:
        assert [message.raw_data for message, _ in dlq.values()] == [b"poison"]
        assert [reason for _, reason in dlq.values()] == ["delivered 5 times without being settled"]
