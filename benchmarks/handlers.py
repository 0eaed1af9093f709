"""Kinds of handlers: what async and batch handlers cost beside plain ones that do nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from instrument import Stopwatch, Suite
from redis_service import redis_service
from redis_streams import GROUP, STREAM, check, faststream, prepare

#: How many messages a batch handler takes together.
BATCH = 100
#: How many messages async handlers may be busy with.
IN_FLIGHT = 1000

suite = Suite("handlers", "Kinds of handlers", unit="µs a message", service=redis_service)


class Finish:
    """Counts handled messages, and stops the adapter at the last.

    :param wanted: how many there will be.
    """

    def __init__(self, wanted: int) -> None:
        self.left = wanted
        self.adapter: Any = None

    def count(self, number: int) -> None:
        """Note that so many more were handled."""
        self.left -= number
        if not self.left:
            self.adapter.stop()


def _processor(kind: str, finish: Finish) -> tuple[Any, dict[str, Any]]:
    """Return a processor whose handler acks at once, and the options that suit it."""
    import missive

    processor: Any = missive.Processor()

    def plain(message: Any, ctx: Any) -> None:
        ctx.ack()
        finish.count(1)

    async def in_loop(message: Any, ctx: Any) -> None:
        ctx.ack()
        finish.count(1)

    async def waits(message: Any, ctx: Any) -> None:
        await asyncio.sleep(0)
        ctx.ack()
        finish.count(1)

    def together(messages: Sequence[Any], ctx: Any) -> None:
        ctx.ack_rest()
        finish.count(len(messages))

    async def together_in_loop(messages: Sequence[Any], ctx: Any) -> None:
        ctx.ack_rest()
        finish.count(len(messages))

    handlers = {"plain": plain, "async": in_loop, "async that waits": waits}
    if kind in handlers:
        processor.handle_for(lambda message: True)(handlers[kind])
    else:
        handler = together if kind == "batch" else together_in_loop
        processor.handle_batch_for(lambda message: True, size=BATCH)(handler)
    return processor, {"max_in_flight": IN_FLIGHT} if "async" in kind else {}


def _on_streams(url: str, kind: str) -> Callable[[int], dict[str, float]]:
    import missive
    from missive.adapters.redis import RedisStreamsAdapter

    def run(items: int) -> dict[str, float]:
        prepare(url, items)
        finish = Finish(items)
        processor, options = _processor(kind, finish)
        finish.adapter = RedisStreamsAdapter(
            missive.RawMessage, processor, STREAM, GROUP, url=url, batch_size=100, **options
        )
        watch = Stopwatch()
        finish.adapter.run()
        took = watch.stop()
        check(url, items)
        return took

    return run


def _in_memory(kind: str) -> Callable[[int], dict[str, float]]:
    from missive import Capabilities, Delivery, RawMessage
    from missive.polling import EndOfInput, PollingAdapter

    class Memory(PollingAdapter[Any]):
        """Delivers so many messages, a hundred at a time, and counts their acks."""

        capabilities = Capabilities(
            delivery="at-least-once", stable_id=True, delivery_count=True, crash_redelivery=True
        )
        left = acked = 0

        def open(self) -> None:
            """Connect to nothing."""

        def close(self) -> None:
            """Disconnect from nothing."""

        def receive(self, timeout: float) -> Sequence[Delivery]:
            if not self.left:
                raise EndOfInput
            number = min(100, self.left)
            self.left -= number
            return [Delivery(b"x" * 100, b"id", source="memory") for _ in range(number)]

        def ack(self, message: Any) -> None:
            self.acked += 1

        def nack(self, message: Any) -> None:
            raise AssertionError

    def run(items: int) -> dict[str, float]:
        finish = Finish(items)
        processor, options = _processor(kind, finish)
        finish.adapter = adapter = Memory(RawMessage, processor, **options)
        adapter.left = items
        watch = Stopwatch()
        adapter.run()
        took = watch.stop()
        if adapter.acked != items:
            raise SystemExit(f"of {items} messages, {adapter.acked} were acked")
        return took

    return run


KINDS = {
    "plain": "a plain handler, called in the receiving thread",
    "batch": f"a plain handler of {BATCH} messages, acked with ack_rest",
    "async": "an async handler that ends without waiting, a task each",
    "async that waits": "the same, which gives the loop a turn",
    "async batch": f"an async handler of {BATCH} messages",
}


def _declare(kind: str, semantics: str) -> None:
    @suite.variant(
        f"Missive, {kind}",
        environment="missive",
        kind="missive",
        semantics=f"{semantics}; at least once",
    )
    def measure(url: str, where: str) -> Callable[[int], dict[str, float]]:
        return _in_memory(kind) if where == "memory" else _on_streams(url, kind)


for name, meaning in KINDS.items():
    _declare(name, meaning)


@suite.variant(
    "FastStream, async",
    environment="faststream",
    kind="peer",
    semantics="an async subscriber of RedisBroker in a group; acks each message; at least once",
)
def faststream_async(url: str, where: str) -> Callable[[int], dict[str, float]]:
    """Measure FastStream's subscriber, which is async and does nothing."""
    return faststream(url, 100)


MISSIVE = tuple(f"Missive, {kind}" for kind in KINDS)
suite.case(
    "in memory",
    MISSIVE,
    parameters={"where": "memory"},
    items=50_000,
    quick_items=20_000,
)
suite.case(
    "Redis Streams",
    (*MISSIVE, "FastStream, async"),
    parameters={"where": "streams"},
    items=20_000,
    quick_items=5_000,
)
for where in ("in memory", "Redis Streams"):
    suite.target(
        f"a batch of {BATCH}, {where}, of single handling",
        (where, "Missive, batch"),
        (where, "Missive, plain"),
        at_most=0.7,
    )
suite.target(
    "an async handler on Redis Streams, of a plain one",
    ("Redis Streams", "Missive, async"),
    ("Redis Streams", "Missive, plain"),
    at_most=3,
)
suite.target(
    "FastStream over Missive's async handler, on Redis Streams",
    ("Redis Streams", "FastStream, async"),
    ("Redis Streams", "Missive, async"),
    at_least=10,
)
