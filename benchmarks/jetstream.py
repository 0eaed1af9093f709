"""NATS JetStream: what a message of a consumer costs, acked, beside nats-py's own loop."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from faststream_peer import FastStreamProgram
from instrument import Stopwatch, Suite
from instrument.ports import free_port, wait_for_port

STREAM, SUBJECT, CONSUMER = "BENCHMARK", "benchmark", "readers"
#: The length of a message, in bytes.
SIZE = 100


@contextmanager
def nats_service() -> Iterator[dict[str, Any]]:
    """Run a server that keeps its streams on the disk, and give its URL as the parameter ``url``.

    The server is ``$MISSIVE_NATS_SERVER``, or ``nats-server`` on the path.
    """
    program = os.environ.get("MISSIVE_NATS_SERVER") or shutil.which("nats-server")
    if program is None:
        raise SystemExit("no NATS server: install nats-server, or set MISSIVE_NATS_SERVER")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", folder]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
            try:
                wait_for_port(port)
                yield {"url": f"nats://127.0.0.1:{port}"}
            finally:
                server.terminate()


suite = Suite("jetstream", "NATS JetStream", unit="µs a message", service=nats_service)


def prepare(url: str, items: int) -> None:
    """Fill the stream anew, and make its consumer."""

    async def fill() -> None:
        import nats
        from nats.js.errors import NotFoundError

        client = await nats.connect(url)
        jetstream = client.jetstream()
        with suppress(NotFoundError):
            await jetstream.delete_stream(STREAM)
        await jetstream.add_stream(name=STREAM, subjects=[SUBJECT])
        body = b"x" * SIZE
        for begin in range(0, items, 500):
            publishing = [jetstream.publish(SUBJECT, body) for _ in range(min(500, items - begin))]
            await asyncio.gather(*publishing)
        await jetstream.add_consumer(
            STREAM, durable_name=CONSUMER, ack_policy="explicit", ack_wait=30
        )
        await client.close()

    asyncio.run(fill())


def check(url: str) -> None:
    """See that every message was delivered and acked, so that nobody is quick by leaving work out."""

    async def look() -> Any:
        import nats

        client = await nats.connect(url)
        deadline = time.monotonic() + 5  # the last acks may be on their way
        while True:
            info = await client.jetstream().consumer_info(STREAM, CONSUMER)
            if (not info.num_pending and not info.num_ack_pending) or time.monotonic() > deadline:
                break
        await client.close()
        return info

    info = asyncio.run(look())
    if info.num_pending or info.num_ack_pending:
        raise SystemExit(f"{info.num_pending} messages wait, {info.num_ack_pending} are not acked")


async def _fetch_and_ack(url: str, items: int) -> dict[str, float]:
    import nats

    client = await nats.connect(url)
    subscription = await client.jetstream().pull_subscribe_bind(CONSUMER, STREAM)
    done = 0
    watch = Stopwatch()
    while done < items:
        for message in await subscription.fetch(100, timeout=5):
            await message.ack()
            done += 1
    await client.flush()
    took = watch.stop()
    await client.close()
    return took


def _in_a_thread(coroutine: Coroutine[Any, Any, dict[str, float]]) -> dict[str, float]:
    figures: list[dict[str, float]] = []
    thread = threading.Thread(target=lambda: figures.append(asyncio.run(coroutine)))
    thread.start()
    thread.join()
    return figures[0]


@suite.variant(
    "fetch(100) + ack",
    environment="limit",
    kind="limit",
    semantics="a loop with nats-py, on an event loop in a thread, that acks each message; at least once",
)
def fetched(url: str) -> Callable[[int], dict[str, float]]:
    """Measure what a user would write with nats-py."""

    def run(items: int) -> dict[str, float]:
        prepare(url, items)
        took = _in_a_thread(_fetch_and_ack(url, items))
        check(url)
        return took

    return run


def _adapter(url: str, **options: Any) -> Callable[[int], dict[str, float]]:
    import missive
    from missive.adapters.nats import NATSAdapter

    def run(items: int) -> dict[str, float]:
        prepare(url, items)
        processor: Any = missive.Processor()
        adapter = NATSAdapter(
            missive.RawMessage, processor, STREAM, CONSUMER, servers=url, **options
        )
        done = 0
        watch = Stopwatch()

        @processor.handle_for(lambda message: True)
        def handle(message: Any, ctx: Any) -> None:
            nonlocal done, watch
            if done == 0:
                watch = Stopwatch()
            ctx.ack()
            done += 1
            if done == items:
                adapter.stop()

        adapter.run()
        took = watch.stop()  # with its last acks, and its farewell
        check(url)
        return took

    return run


@suite.variant(
    "Missive",
    environment="missive",
    kind="missive",
    semantics="handled by exactly one handler and settled; acks go together; at least once",
)
def adapter(url: str) -> Callable[[int], dict[str, float]]:
    """Measure the adapter, with the whole framework."""
    return _adapter(url)


async def _faststream_run(url: str, items: int) -> dict[str, float]:
    from faststream.nats import JStream, NatsBroker, PullSub

    broker = NatsBroker(url, logger=None)
    program = FastStreamProgram(broker, items)

    @broker.subscriber(
        SUBJECT,
        stream=JStream(STREAM, declare=False),
        pull_sub=PullSub(batch_size=100),
        durable=CONSUMER,
    )
    async def handle(body: Any) -> None:
        program.count()

    return await program.run()


@suite.variant(
    "FastStream",
    environment="faststream",
    kind="peer",
    semantics="a subscriber with PullSub(batch_size=100), as it acks by default; at least once",
)
def faststream(url: str) -> Callable[[int], dict[str, float]]:
    """Measure a subscriber of FastStream."""

    def run(items: int) -> dict[str, float]:
        prepare(url, items)
        took = asyncio.run(_faststream_run(url, items))
        check(url)
        return took

    return run


suite.case(
    "batches of 100",
    ("fetch(100) + ack", "Missive", "FastStream"),
    items=20_000,
    quick_items=5_000,
)
suite.target(
    "of nats-py's loop that fetches 100 and acks each",
    ("batches of 100", "Missive"),
    ("batches of 100", "fetch(100) + ack"),
    at_most=1.3,
)
suite.target(
    "FastStream over Missive",
    ("batches of 100", "FastStream"),
    ("batches of 100", "Missive"),
    at_least=2.5,
)
