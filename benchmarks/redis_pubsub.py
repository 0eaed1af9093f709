"""Redis Pub/Sub: what a message costs when a backlog waits, beside redis-py's own loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from instrument import Stopwatch, Suite
from redis_service import redis_service

CHANNEL = "benchmark"

suite = Suite("pubsub", "Redis Pub/Sub", unit="µs a message", service=redis_service)


def publish(url: str, size: int, items: int) -> None:
    """Publish a backlog; every subscriber has it, in the server's buffer, when this returns."""
    import redis

    body = b"x" * size
    with redis.Redis.from_url(url) as client:
        for begin in range(0, items, 1000):
            pipeline = client.pipeline(transaction=False)
            for _ in range(min(1000, items - begin)):
                pipeline.publish(CHANNEL, body)
            pipeline.execute()


@suite.variant(
    "socket + hiredis.Reader",
    environment="limit",
    kind="limit",
    semantics="a socket of its own and the parser in C; no reconnection; at most once",
)
def bare_socket(url: str, size: int) -> Callable[[int], dict[str, float]]:
    """Measure what Python can do."""
    import hiredis

    address = urlsplit(url)

    def run(items: int) -> dict[str, float]:
        with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
            connection.sendall(b"SUBSCRIBE %s\r\n" % CHANNEL.encode())
            reader = hiredis.Reader()
            while reader.gets() is False:
                reader.feed(connection.recv(65536))
            publish(url, size, items)
            count = 0
            watch = Stopwatch()
            while count < items:
                reader.feed(connection.recv(65536))
                while reader.gets() is not False:
                    count += 1
            return watch.stop()

    return run


def _loop(url: str, size: int, protocol: int) -> Callable[[int], dict[str, float]]:
    import redis

    def run(items: int) -> dict[str, float]:
        with redis.Redis.from_url(url, protocol=protocol) as client, client.pubsub() as pubsub:
            pubsub.subscribe(CHANNEL)
            pubsub.get_message(timeout=1)
            publish(url, size, items)
            count = 0
            watch = Stopwatch()
            while count < items:
                message = pubsub.get_message(timeout=1)
                if message is not None:
                    count += 1
            return watch.stop()

    return run


@suite.variant(
    "redis-py get_message(), RESP2",
    environment="limit",
    kind="limit",
    semantics="the loop of redis-py's documentation, with hiredis; at most once",
)
def get_message(url: str, size: int) -> Callable[[int], dict[str, float]]:
    """Measure what a user would write with redis-py."""
    return _loop(url, size, 2)


@suite.variant(
    "redis-py get_message(), RESP3",
    environment="limit",
    kind="limit",
    semantics="the same with the protocol that redis-py 8 chooses by itself",
)
def get_message_3(url: str, size: int) -> Callable[[int], dict[str, float]]:
    """Measure the same as redis-py does it unless told otherwise."""
    return _loop(url, size, 3)


@suite.variant(
    "redis-py read_response()",
    environment="limit",
    kind="limit",
    semantics="a loop over the connection below redis-py's PubSub; at most once",
)
def read_response(url: str, size: int) -> Callable[[int], dict[str, float]]:
    """Measure redis-py's connection without its PubSub."""
    import redis

    def run(items: int) -> dict[str, float]:
        with redis.Redis.from_url(url, protocol=2) as client:
            connection: Any = client.connection_pool.get_connection()
            connection.send_command("SUBSCRIBE", CHANNEL)
            connection.read_response()
            publish(url, size, items)
            read = connection.read_response
            watch = Stopwatch()
            for _ in range(items):
                read()
            took = watch.stop()
            connection.disconnect()
            return took

    return run


def _missive(
    url: str, size: int, adapter_of: Callable[[Any, Any], Any]
) -> Callable[[int], dict[str, float]]:
    """Measure either Missive: the first message's handler publishes the backlog."""
    import missive

    processor: Any = missive.Processor()
    count = wanted = 0
    watch = Stopwatch()
    figures: dict[str, float] = {}
    adapter: Any = None

    @processor.handle_for(lambda message: True)
    def handle(message: Any, ctx: Any) -> None:
        nonlocal count, watch, figures
        ctx.ack()
        if count == 0:
            publish(url, size, wanted)
            watch = Stopwatch()
        elif count == wanted:
            figures = watch.stop()
            stop(adapter)
        count += 1

    def stop(adapter: Any) -> None:
        if hasattr(adapter, "stop"):
            adapter.stop()
        else:  # 0.8.1 is ended by a signal, or by a flag
            adapter.shutdown_handler.set_flag()

    def run(items: int) -> dict[str, float]:
        nonlocal adapter, count, wanted
        import threading

        count, wanted = 0, items
        adapter = adapter_of(missive.RawMessage, processor)
        threading.Thread(target=_publish_first, args=(url,), daemon=True).start()
        adapter.run()
        return figures

    return run


def _publish_first(url: str) -> None:
    """Publish the first message as soon as somebody hears it."""
    import time

    import redis

    with redis.Redis.from_url(url) as client:
        while not client.publish(CHANNEL, b"first"):
            time.sleep(0.01)


@suite.variant(
    "Missive",
    environment="missive",
    kind="missive",
    semantics="handled by exactly one handler and settled; subscribes again, and logs each gap",
)
def adapter(url: str, size: int) -> Callable[[int], dict[str, float]]:
    """Measure the adapter, with the whole framework."""
    from missive.adapters.redis import RedisPubSubAdapter

    return _missive(
        url,
        size,
        lambda message_cls, processor: RedisPubSubAdapter(message_cls, processor, CHANNEL, url=url),
    )


@suite.variant(
    "missive 0.8.1",
    environment="former",
    kind="former",
    semantics="a thread of redis-py's that polls; what a handler raises leaves the run hanging",
)
def former(url: str, size: int) -> Callable[[int], float]:
    """Measure the adapter of the release that this replaces."""
    import redis
    from missive.adapters.redis import RedisPubSubAdapter

    def adapter_of(message_cls: Any, processor: Any) -> Any:
        adapter: Any = RedisPubSubAdapter(message_cls, processor, [CHANNEL])
        # It knows no server but the one at the usual address, and no protocol but the default.
        adapter.redis = redis.Redis.from_url(url, protocol=2)
        adapter.pubsub = adapter.redis.pubsub(ignore_subscribe_messages=True)
        return adapter

    return _missive(url, size, adapter_of)


@suite.variant(
    "FastStream",
    environment="faststream",
    kind="peer",
    semantics="a subscriber of RedisBroker; at most once",
)
def faststream(url: str, size: int) -> Callable[[int], dict[str, float]]:
    """Measure a subscriber of FastStream."""

    def run(items: int) -> dict[str, float]:
        return asyncio.run(_faststream(url, size, items))

    return run


async def _faststream(url: str, size: int, items: int) -> dict[str, float]:
    from faststream.redis import RedisBroker

    broker = RedisBroker(url, logger=None)
    done = asyncio.Event()
    count = 0
    figures: dict[str, float] = {}

    @broker.subscriber(CHANNEL)
    async def handle(body: bytes) -> None:
        nonlocal count, figures
        count += 1
        if count == items:
            figures = watch.stop()
            done.set()

    async with broker:
        await broker.start()
        await asyncio.sleep(0.2)  # FastStream does not say when it listens
        publish(url, size, items)
        watch = Stopwatch()
        await done.wait()
    return figures


LIMITS = (
    "socket + hiredis.Reader",
    "redis-py read_response()",
    "redis-py get_message(), RESP2",
    "redis-py get_message(), RESP3",
)

for size, name in ((100, "100 B"), (1000, "1 KB")):
    suite.case(
        name,
        (*LIMITS, "Missive", "missive 0.8.1"),
        parameters={"size": size},
        items=100_000,
        quick_items=30_000,
        quick=size == 100,
    )
    suite.case(
        f"{name}, beside FastStream",
        ("Missive", "FastStream"),
        parameters={"size": size},
        items=10_000,
        quick_items=5_000,
        quick=size == 100,
        rounds=3,
    )
    suite.target(
        f"{name}, of a get_message() loop",
        (name, "Missive"),
        (name, "redis-py get_message(), RESP2"),
        at_most=0.8,
    )
    suite.target(
        f"{name}, FastStream over Missive",
        (f"{name}, beside FastStream", "FastStream"),
        (f"{name}, beside FastStream", "Missive"),
        at_least=30,
    )
