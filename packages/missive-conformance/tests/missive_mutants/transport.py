"""The sound adapters over the broker, in the variants that capabilities make."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from missive import Capabilities, Delivery, HandlingContext, Message, Outcome, Processor
from missive.polling import PollingAdapter, read_options

#: How often a silent connection is tried, and how long it may be silent, in seconds.
PING_EVERY, SILENCE = 0.2, 0.8


class Refused(ConnectionError):
    """The broker refused: a wrong password, a queue that does not exist."""


class BrokerClient(PollingAdapter[Any]):
    """Takes messages from queues of the broker, and acks them one by one.

    What it promises, its subclasses say.

    :param address: host and port of the broker.
    :param queues: the queues to read.
    :param password: what the broker asks for.
    """

    connection_errors = (OSError,)
    fatal_errors = (Refused,)
    automatic = False
    #: What it is called at the broker, which has no two consumers of one name.
    name: str | None = None
    handshake_timeout = 1.0

    def __init__(
        self,
        message_cls: Callable[[bytes], Any],
        processor: Processor[Any],
        address: tuple[str, int],
        queues: Sequence[str],
        *,
        password: str = "let me in",
        **options: Any,
    ) -> None:
        super().__init__(message_cls, processor, **options)
        self.broker_address = address
        self.queues = list(queues)
        self.password = password
        self._socket: socket.socket | None = None
        self._rest = b""

    @classmethod
    def from_url(
        cls,
        url: str,
        message_cls: Callable[[bytes], Any],
        processor: Processor[Any],
        **options: Any,
    ) -> BrokerClient:
        """Build it from ``broker://host:port/queue``."""
        parts = urlsplit(url)
        given = {**read_options(url, cls.url_options), **options}
        address = (parts.hostname or "127.0.0.1", parts.port or 0)
        return cls(message_cls, processor, address, [parts.path[1:]], **given)

    def open(self) -> None:
        """Connect, say the password, and subscribe."""
        self._rest = b""
        self._pending: list[dict[str, Any]] = []
        self._socket = socket.create_connection(self.broker_address, self.handshake_timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ask(op="hello", password=self.password, name=self.name)
        self.subscribe()
        self._socket.settimeout(None)
        self._heard = self._pinged = monotonic()

    def subscribe(self) -> None:
        """Say which queues to send messages from."""
        self.ask(
            op="subscribe",
            queues=self.queues,
            credit=self.max_in_flight + 8,
            automatic=self.automatic,
        )

    def ask(self, **order: Any) -> None:
        """Send an order and wait for its answer; messages that come before it are kept."""
        assert self._socket is not None
        self.tell(**order)
        while True:
            for at, line in enumerate(self._pending):
                if "tag" not in line:
                    del self._pending[at]
                    if "error" in line:
                        raise Refused(line["error"])
                    return
            chunk = self._socket.recv(65_536)
            if not chunk:
                raise ConnectionResetError("the broker closed the connection")
            self._pending += self.split(chunk)

    def ack_at_once(self, tag: int) -> None:
        """Ack a message, and wait until the broker has taken note of it."""
        self.tell(op="ack", tag=tag)
        self.ask(op="hello", password=self.password)

    def tell(self, **order: Any) -> None:
        """Send an order."""
        if self._socket is None:
            raise ConnectionResetError("not connected")
        self._socket.sendall(json.dumps(order).encode() + b"\n")

    def split(self, chunk: bytes) -> list[dict[str, Any]]:
        """Take the lines out of what was read; what is not whole yet is kept."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Disconnect."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        """Return the messages that came."""
        self.beat()
        assert self._socket is not None
        if not self._pending and self.wait(min(timeout, PING_EVERY), self._socket):
            chunk = self._socket.recv(1 << 20)
            if not chunk:
                raise ConnectionResetError("the broker closed the connection")
            self._heard = monotonic()
            self._pending += self.split(chunk)
        lines, self._pending = self._pending, []
        return [self.deliver(line) for line in lines if "tag" in line]

    def beat(self) -> None:
        """Make sure that the connection lives."""
        now = monotonic()
        if now - self._pinged > PING_EVERY:
            self.tell(op="ping")
            if now - self._heard > SILENCE and now - self._pinged < 2 * PING_EVERY:
                raise TimeoutError("the broker is silent")
            if now - self._pinged >= 2 * PING_EVERY:  # a handler took long; nobody was asked
                self._heard = now
            self._pinged = now

    def deliver(self, line: dict[str, Any]) -> Delivery:
        """Make a delivery of a line."""
        body = base64.b64decode(line["body"])
        limit = self.capabilities.max_bytes
        envelope = self.envelope(line)
        if limit is not None and len(body) > limit:
            return Delivery(body, **envelope, rejection=("too long", "decoding"))
        return Delivery(body, **envelope)

    def envelope(self, line: dict[str, Any]) -> dict[str, Any]:
        """Make the envelope of a line."""
        return {
            "message_id": line["id"] if self.capabilities.stable_id else None,
            "headers": line["headers"] if self.capabilities.headers else None,
            "source": line["queue"],
            "delivery_count": line["count"] if self.capabilities.delivery_count else None,
            "native": line["tag"],
        }

    def ack(self, message: Message) -> None:
        """Ack a message."""
        self.tell(op="ack", tag=message.native)

    def nack(self, message: Message) -> None:
        """Nack a message."""
        self.tell(op="nack", tag=message.native)


class SoundAdapter(BrokerClient):
    """The broker keeps what is not acked, and gives it to one of several."""

    capabilities = Capabilities(
        delivery="at-least-once",
        nack="redeliver",
        persistent=True,
        crash_redelivery=True,
        ordering="source",
        competing_consumers=True,
        stable_id=True,
        delivery_count=True,
        headers=True,
        reconnects=True,
    )


class DelayingAdapter(BrokerClient):
    """The broker delays what is nacked, and counts the deliveries."""

    capabilities = replace(SoundAdapter.capabilities, delayed_nack=True)

    def settle(self, batch: Sequence[HandlingContext[Any]]) -> None:
        """Settle each, with the delay that was asked for."""
        for context in batch:
            if context.outcome is Outcome.NACKED:
                self.tell(op="nack", tag=context.message.native, delay=context.delay or 0.0)
            else:
                self.ack(context.message)


class TinyAdapter(BrokerClient):
    """A message has a greatest size, and what is longer is a dead letter."""

    capabilities = replace(SoundAdapter.capabilities, max_bytes=1000)


class CountingAdapter(SoundAdapter):
    """What was delivered too often is a dead letter.

    :param max_deliveries: how often that is.
    """

    def __init__(self, *arguments: Any, max_deliveries: int = 5, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.max_deliveries = max_deliveries

    def deliver(self, line: dict[str, Any]) -> Delivery:
        """Make a delivery of a line, rejected where it came too often."""
        delivery = super().deliver(line)
        if line["count"] > self.max_deliveries:
            self.reject(delivery)
        return delivery

    def reject(self, delivery: Delivery) -> None:
        """Have a delivery dead-lettered."""
        delivery.rejection = ("delivered too often", "decoding")


class GreedyAdapter(SoundAdapter):
    """Takes fifty messages at once."""

    def subscribe(self) -> None:
        """Have the broker send fifty messages ahead."""
        self.ask(op="subscribe", queues=self.queues, credit=50, automatic=False)


class FleetingAdapter(BrokerClient):
    """The broker forgets what it has delivered: at most once, to everyone."""

    capabilities = Capabilities(
        delivery="at-most-once",
        nack="drop-refused",
        ordering="source",
        empty_body=False,
        reconnects=True,
    )
    automatic = True

    def receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        """Return the messages that came, empty ones left out."""
        return [one for one in super().receive(timeout) if self.has_body(one)]

    def has_body(self, delivery: Delivery | bytes) -> bool:
        """Whether a delivery is one for this transport."""
        return bool(delivery.raw_data if isinstance(delivery, Delivery) else delivery)

    def ack(self, message: Message) -> None:
        """Do nothing: the broker has forgotten it."""


class AnsweringAdapter(BrokerClient):
    """The sender of a message waits for what becomes of it."""

    capabilities = Capabilities(
        delivery="request-reply",
        nack="error-response",
        headers=True,
        delivery_count=False,
        max_bytes=1000,
    )


class OrderlyAdapter(BrokerClient):
    """Acks are taken only in the order of delivery."""

    capabilities = Capabilities(
        delivery="at-least-once",
        nack="redeliver",
        persistent=True,
        crash_redelivery=True,
        ordering="source",
        stable_id=True,
        delivery_count=True,
        headers=True,
        ordered_acks=True,
    )
