"""A message broker over TCP, small enough to be trusted; the sound and the broken adapters use it."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
from collections import deque
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

#: A consumer that says nothing for so many seconds is taken for dead.
SILENCE = 3.0
PASSWORD = "let me in"


@dataclass
class Kept:
    """A message in the broker."""

    id: str
    body: bytes
    headers: dict[str, str]
    queue: str
    count: int = 0
    answered: threading.Event = field(default_factory=threading.Event)
    success: bool = False


class Consumer:
    """A connection, with a thread that reads from it and one that writes to it."""

    def __init__(self, broker: Broker, connection: socket.socket) -> None:
        self.broker = broker
        self.connection = connection
        self.connection.settimeout(SILENCE)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.queues: list[str] = []
        self.credit = 0
        self.automatic = False
        self.in_hand: dict[int, Kept] = {}
        self.tag = 0
        self.name: str | None = None
        self.outbox: SimpleQueue[bytes | None] = SimpleQueue()
        for target in (self._read, self._write):
            threading.Thread(target=target, name="mutants-broker", daemon=True).start()

    def say(self, **what: Any) -> None:
        """Send a line, sooner or later."""
        self.outbox.put(json.dumps(what).encode() + b"\n")

    def close(self) -> None:
        """Close the connection; what is in flight goes back."""
        self.broker.forget(self)
        self.outbox.put(None)
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            while (line := self.outbox.get()) is not None:
                self.connection.sendall(line)
        self.close()

    def _read(self) -> None:
        rest = b""
        with contextlib.suppress(OSError):
            while chunk := self.connection.recv(65_536):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self.broker.obey(self, json.loads(line))
        self.close()


class Broker:
    """Queues that keep their messages while the broker is down, as if they were on a disk."""

    def __init__(self, *queues: str) -> None:
        self.lock = threading.RLock()
        self.queues: dict[str, deque[Kept]] = {name: deque() for name in queues}
        self.consumers: list[Consumer] = []
        #: Copy every message to every consumer, instead of sharing them out.
        self.fan_out = False
        self.port = 0
        self.next_id = 0
        self.delayed = 0
        self.listener: socket.socket | None = None

    def up(self) -> None:
        """Listen, at the same port as before."""
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(
            target=self._accept, args=(self.listener,), name="mutants-broker", daemon=True
        ).start()

    def down(self) -> None:
        """Stop listening, and close every connection."""
        listener, self.listener = self.listener, None
        if listener is None:
            return
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        with self.lock:
            consumers = list(self.consumers)
        for consumer in consumers:
            consumer.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.consumers.append(Consumer(self, connection))

    def publish(self, body: bytes, headers: dict[str, str], queue: str) -> Kept:
        """Take a message."""
        with self.lock:
            self.next_id += 1
            kept = Kept(f"m{self.next_id}", body, headers, queue)
            if self.fan_out:
                for consumer in self.consumers:
                    if queue in consumer.queues:
                        self._hand_over(consumer, kept)
            else:
                self.queues[queue].append(kept)
                self._serve()
            return kept

    def remaining(self) -> int:
        """Count what waits and what is in flight."""
        with self.lock:
            in_hand = 0 if self.fan_out else sum(len(one.in_hand) for one in self.consumers)
            return sum(map(len, self.queues.values())) + in_hand + self.delayed

    def obey(self, consumer: Consumer, order: dict[str, Any]) -> None:
        """Do what a consumer asks for."""
        with self.lock:
            operation = order["op"]
            if operation == "hello":
                self._greet(consumer, order["password"], order.get("name"))
            elif operation == "subscribe":
                self._subscribe(consumer, order)
            elif operation == "purge":
                for queue in self.queues.values():
                    queue.clear()
            elif operation == "ping":
                consumer.say(pong=True)
            elif operation in ("ack", "nack"):
                self._settle(consumer, order["tag"], operation, order.get("delay", 0.0))
            self._serve()

    def _subscribe(self, consumer: Consumer, order: dict[str, Any]) -> None:
        missing = [name for name in order["queues"] if name not in self.queues]
        if missing:
            consumer.say(error="queue")
            return
        consumer.queues = order["queues"]
        consumer.credit = order["credit"]
        consumer.automatic = order.get("automatic", False)
        consumer.say(subscribed=True)

    def _greet(self, consumer: Consumer, password: str, name: str | None) -> None:
        if password != PASSWORD:
            consumer.say(error="password")
        elif name is not None and any(
            one.name == name for one in self.consumers if one is not consumer
        ):
            consumer.say(error="name")
        else:
            consumer.name = name
            consumer.say()

    def _settle(self, consumer: Consumer, tag: int, operation: str, delay: float) -> None:
        kept = consumer.in_hand.pop(tag, None)
        if kept is None:
            return
        if operation == "ack":
            kept.success = True
            kept.answered.set()
        elif self.sender_waits or consumer.automatic or self.fan_out:
            kept.answered.set()
        elif delay:
            self.delayed += 1
            timer = threading.Timer(delay, self._after_delay, (kept,))
            timer.daemon = True
            timer.start()
        else:
            self.queues[kept.queue].append(kept)

    def _after_delay(self, kept: Kept) -> None:
        with self.lock:
            self.delayed -= 1
            self.queues[kept.queue].append(kept)
            self._serve()

    def _serve(self) -> None:
        for name, queue in self.queues.items():
            takers = [one for one in self.consumers if name in one.queues]
            while queue and (ready := [one for one in takers if len(one.in_hand) < one.credit]):
                # The consumer with the least goes first, so that consumers share.
                self._hand_over(
                    min(ready, key=lambda one: (len(one.in_hand), one.tag)), queue.popleft()
                )

    def _hand_over(self, consumer: Consumer, kept: Kept) -> None:
        consumer.tag += 1
        kept.count += 1
        if not consumer.automatic and not self.fan_out:
            consumer.in_hand[consumer.tag] = kept
        consumer.say(
            tag=consumer.tag,
            id=kept.id,
            body=base64.b64encode(kept.body).decode(),
            headers=kept.headers,
            queue=kept.queue,
            count=kept.count,
        )

    def forget(self, consumer: Consumer) -> None:
        """Give back what a consumer had in flight, in its former place."""
        with self.lock:
            if consumer in self.consumers:
                self.consumers.remove(consumer)
            for kept in reversed(consumer.in_hand.values()):
                if self.sender_waits:
                    kept.answered.set()
                else:
                    self.queues[kept.queue].appendleft(kept)
            consumer.in_hand.clear()
            self._serve()

    #: The senders of messages wait for an answer: what a lost consumer had in flight has failed.
    sender_waits = False
