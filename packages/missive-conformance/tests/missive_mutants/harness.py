"""The harness of the sound adapters, and so of their mutants."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from missive import Adapter, Processor, RawMessage
from missive.conformance import AdapterHarness

from .broker import Broker
from .transport import (
    AnsweringAdapter,
    BrokerClient,
    CountingAdapter,
    DelayingAdapter,
    FleetingAdapter,
    GreedyAdapter,
    OrderlyAdapter,
    SoundAdapter,
    TinyAdapter,
)


class BrokerHarness(AdapterHarness):
    """A broker in this process, which adapters anywhere connect to."""

    adapter_cls: ClassVar[type[BrokerClient]] = SoundAdapter
    sources = ("left", "right")
    url = "broker://127.0.0.1:1/left"
    patience = 8.0

    def start(self) -> None:
        self.broker = Broker(*self.sources)
        self.broker.up()
        self.address["broker"] = ["127.0.0.1", self.broker.port]

    def stop(self) -> None:
        if hasattr(self, "broker"):
            self.broker.down()

    def make_adapter(
        self,
        processor: Processor[Any],
        message_cls: Callable[[bytes], Any] = RawMessage,
        **options: Any,
    ) -> Adapter[Any]:
        host, port = self.address["broker"]
        return self.adapter_cls(message_cls, processor, (host, port), self.sources, **options)

    def publish(
        self, body: bytes, *, headers: Mapping[str, str] | None = None, source: str | None = None
    ) -> bool:
        self.broker.publish(body, dict(headers or {}), source or self.sources[0])
        return True

    def remaining(self) -> int:
        return self.broker.remaining()

    def unreachable_adapter(self, processor: Processor[Any], **options: Any) -> Adapter[Any]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()[:2]
        return self.adapter_cls(RawMessage, processor, address, self.sources, **options)

    def refused_adapter(self, processor: Processor[Any], **options: Any) -> Adapter[Any]:
        return self.make_adapter(processor, password="let me out", **options)

    def missing_adapter(self, processor: Processor[Any], **options: Any) -> Adapter[Any]:
        host, port = self.address["broker"]
        return self.adapter_cls(RawMessage, processor, (host, port), ["nowhere"], **options)

    def down(self) -> None:
        self.broker.down()

    def kill(self) -> None:
        self.broker.down()

    def up(self) -> None:
        self.broker.up()

    def endpoint(self) -> tuple[str, int]:
        return ("127.0.0.1", self.broker.port)

    def proxied(self, host: str, port: int) -> None:
        self.address["broker"] = [host, port]


class FleetingHarness(BrokerHarness):
    """The broker copies each message to every connected consumer."""

    adapter_cls = FleetingAdapter
    fan_out = True

    def start(self) -> None:
        super().start()
        self.broker.fan_out = True


class AnsweringHarness(BrokerHarness):
    """The sender waits for the answer."""

    adapter_cls = AnsweringAdapter
    sources = ("only",)
    url = "broker://127.0.0.1:1/only"

    def start(self) -> None:
        super().start()
        self.broker.sender_waits = True

    def publish(
        self, body: bytes, *, headers: Mapping[str, str] | None = None, source: str | None = None
    ) -> bool:
        kept = self.broker.publish(body, dict(headers or {}), self.sources[0])
        return kept.answered.wait(self.patience) and kept.success


class DelayingHarness(BrokerHarness):
    """The broker delays nacks."""

    adapter_cls = DelayingAdapter


class CountingHarness(BrokerHarness):
    """Messages are delivered so often and no more."""

    adapter_cls = CountingAdapter
    max_deliveries = True


class GreedyHarness(BrokerHarness):
    """One consumer takes many messages at once."""

    adapter_cls = GreedyAdapter


class TinyHarness(BrokerHarness):
    """Messages have a greatest size."""

    adapter_cls = TinyAdapter


class OrderlyHarness(BrokerHarness):
    """The broker takes acks in order."""

    adapter_cls = OrderlyAdapter
