"""Redis Streams: what an entry of a consumer group costs, acked, beside redis-py's own loop."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from faststream_peer import FastStreamProgram
from instrument import Stopwatch, Suite
from redis_service import redis_service

STREAM, GROUP, CONSUMER = "benchmark", "group", "consumer"
SMALL = 100
#: How long a handler waits for a network that it is given in place of a real one, in seconds.
WAIT = 0.005
#: How long a handler computes, in seconds of processor time.
WORK = 0.001

suite = Suite("streams", "Redis Streams", unit="µs an entry", service=redis_service)


def prepare(url: str, items: int, size: int = SMALL) -> None:
    """Fill the stream anew, and create the group at its start."""
    import redis

    with redis.Redis.from_url(url) as client:
        client.flushall()
        body = b"x" * size
        chunk = max(1, min(1000, 10_000_000 // size))
        for begin in range(0, items, chunk):
            pipeline = client.pipeline(transaction=False)
            for _ in range(min(chunk, items - begin)):
                pipeline.xadd(STREAM, {"data": body})
            pipeline.execute()
        client.xgroup_create(STREAM, GROUP, "0", mkstream=True)


def check(url: str, items: int) -> None:
    """See that every entry was delivered and acked, so that nobody is quick by leaving work out."""
    import redis

    with redis.Redis.from_url(url, protocol=2) as client:
        (group,) = client.xinfo_groups(STREAM)
        if group["pending"] or group["entries-read"] != items:
            raise SystemExit(f"of {items} entries, {group} says otherwise")


@suite.variant(
    "XREADGROUP + one XACK a batch",
    environment="limit",
    kind="limit",
    semantics="a loop with redis-py that acks each batch once it is handled; at least once",
)
def batched(url: str, count: int, size: int = SMALL) -> Callable[[int], dict[str, float]]:
    """Measure what a user would write with redis-py."""
    import redis

    def run(items: int) -> dict[str, float]:
        prepare(url, items, size)
        with redis.Redis.from_url(url, protocol=2) as client:
            done = 0
            watch = Stopwatch()
            while done < items:
                for _, entries in client.xreadgroup(GROUP, CONSUMER, {STREAM: ">"}, count, 1000):
                    ids = []
                    for entry_id, _fields in entries:
                        ids.append(entry_id)
                    client.xack(STREAM, GROUP, *ids)
                    done += len(ids)
            took = watch.stop()
        check(url, items)
        return took

    return run


@suite.variant(
    "XREADGROUP + an XACK each",
    environment="limit",
    kind="limit",
    semantics="the same, with a round trip to ack each entry; at least once",
)
def acked_each(url: str, count: int) -> Callable[[int], dict[str, float]]:
    """Measure a loop that never leaves more than one entry settled and not acked."""
    import redis

    def run(items: int) -> dict[str, float]:
        prepare(url, items)
        with redis.Redis.from_url(url, protocol=2) as client:
            done = 0
            watch = Stopwatch()
            while done < items:
                for _, entries in client.xreadgroup(GROUP, CONSUMER, {STREAM: ">"}, count, 1000):
                    for entry_id, _fields in entries:
                        client.xack(STREAM, GROUP, entry_id)
                        done += 1
            took = watch.stop()
        check(url, items)
        return took

    return run


def _adapter(
    url: str, count: int, size: int = SMALL, wait: float = 0.0, **options: Any
) -> Callable[[int], dict[str, float]]:
    import missive
    from missive.adapters.redis import RedisStreamsAdapter

    processor: Any = missive.Processor()
    done = wanted = 0
    watch = Stopwatch()
    adapter: Any = None

    def handle(message: Any, ctx: Any) -> None:
        nonlocal done, watch
        if done == 0:
            watch = Stopwatch()
        ctx.ack()
        done += 1
        if done == wanted:
            adapter.stop()

    counter = itertools.count(1)

    def wait_and_ack(message: Any, ctx: Any) -> None:
        time.sleep(wait)
        ctx.ack()
        if next(counter) == wanted:  # and not +=, which is not safe among threads
            adapter.stop()

    processor.handle_for(lambda message: True)(wait_and_ack if wait else handle)

    def run(items: int) -> dict[str, float]:
        nonlocal adapter, done, wanted, watch
        prepare(url, items, size)
        done, wanted = 0, items
        adapter = RedisStreamsAdapter(
            missive.RawMessage, processor, STREAM, GROUP, url=url, batch_size=count, **options
        )
        watch = Stopwatch()
        adapter.run()
        took = watch.stop()  # with its last acks, and its leave of the group
        check(url, items)
        return took

    return run


@suite.variant(
    "Missive",
    environment="missive",
    kind="missive",
    semantics="handled by exactly one handler and settled; acks go with the next read; at least once",
)
def adapter(url: str, count: int = 100, size: int = SMALL) -> Callable[[int], dict[str, float]]:
    """Measure the adapter, with the whole framework."""
    return _adapter(url, count, size)


@suite.variant(
    "Missive, ack_every=1",
    environment="missive",
    kind="missive",
    semantics="the same, with a round trip to ack each entry",
)
def adapter_each(url: str, count: int) -> Callable[[int], dict[str, float]]:
    """Measure the adapter as it acks each entry."""
    return _adapter(url, count, ack_every=1)


def _faststream(url: str, count: int, batch: bool) -> Callable[[int], dict[str, float]]:
    def run(items: int) -> dict[str, float]:
        prepare(url, items)
        took = asyncio.run(_faststream_run(url, count, batch, items))
        check(url, items)
        return took

    return run


async def _faststream_run(url: str, count: int, batch: bool, items: int) -> dict[str, float]:
    from faststream.redis import RedisBroker, StreamSub

    broker = RedisBroker(url, logger=None)
    program = FastStreamProgram(broker, items)
    options = {"group": GROUP, "consumer": CONSUMER, "max_records": count}
    stream: Any = StreamSub(STREAM, batch=batch, **options)  # type: ignore[arg-type]
    if batch:

        @broker.subscriber(stream=stream)
        async def handle_all(bodies: list[Any]) -> None:
            program.count(len(bodies))

    else:

        @broker.subscriber(stream=stream)
        async def handle(body: Any) -> None:
            program.count()

    return await program.run()


@suite.variant(
    "FastStream",
    environment="faststream",
    kind="peer",
    semantics="a subscriber of RedisBroker in a group; acks each message; at least once",
)
def faststream(url: str, count: int) -> Callable[[int], dict[str, float]]:
    """Measure a subscriber of FastStream that gets one message at a time."""
    return _faststream(url, count, batch=False)


@suite.variant(
    "FastStream, batch",
    environment="faststream",
    kind="peer",
    semantics="a subscriber that gets all entries of a read in one call; at least once",
)
def faststream_batch(url: str, count: int) -> Callable[[int], dict[str, float]]:
    """Measure a subscriber of FastStream that gets a list of messages."""
    return _faststream(url, count, batch=True)


@suite.variant(
    "Missive, threads",
    environment="missive",
    kind="missive",
    semantics="the same, with so many worker threads; a handler waits 5 ms, as for a network",
)
def threads(url: str, workers: int) -> Callable[[int], dict[str, float]]:
    """Measure worker threads whose handlers wait."""
    return _adapter(url, 100, wait=WAIT, workers=workers)


@suite.variant(
    "Huey",
    environment="huey",
    kind="peer",
    semantics="a list; a task is taken off it before it runs: at most once; no results kept",
)
def huey(url: str) -> Callable[[int], dict[str, float]]:
    """Measure what a worker of Huey does with a task that does nothing."""
    from huey import RedisHuey

    app = RedisHuey("benchmark", url=url, results=False)

    @app.task()
    def task(text: str) -> None:
        pass

    def run(items: int) -> dict[str, float]:
        app.storage.conn.flushall()
        for _ in range(items):
            task("x" * SMALL)
        watch = Stopwatch()
        for _ in range(items):
            app.execute(app.dequeue())
        return watch.stop()

    return run


@suite.variant(
    "Dramatiq",
    environment="dramatiq",
    kind="peer",
    semantics="lists and a hash, acked each; one worker thread, default middleware; at least once",
)
def dramatiq(url: str) -> Callable[[int], dict[str, float]]:
    """Measure a worker of Dramatiq with an actor that does nothing."""
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(url=url)
    dramatiq.set_broker(broker)

    def task(text: str) -> None:
        pass

    actor = dramatiq.actor(task, actor_name="task", queue_name="benchmark")

    def run(items: int) -> dict[str, float]:
        broker.flush_all()
        for _ in range(items):
            actor.send("x" * SMALL)
        worker = dramatiq.Worker(broker, worker_threads=1)
        watch = Stopwatch()
        worker.start()
        broker.join("benchmark", interval=5)
        worker.join()
        figures = watch.stop()
        worker.stop()
        return figures

    return run


@suite.variant(
    "RQ",
    environment="rq",
    kind="peer",
    semantics="a list and a hash for each job, results kept; its worker that does not fork",
)
def rq(url: str) -> Callable[[int], dict[str, float]]:
    """Measure a worker of RQ with a job that does nothing."""
    import logging

    import redis
    from rq import Queue, SimpleWorker

    logging.getLogger("rq.worker").setLevel(logging.ERROR)
    connection = redis.Redis.from_url(url)
    queue = Queue("benchmark", connection=connection)

    def run(items: int) -> dict[str, float]:
        connection.flushall()
        for _ in range(items):
            queue.enqueue("builtins.len", "x" * SMALL)
        worker = SimpleWorker([queue], connection=connection)
        watch = Stopwatch()
        worker.work(burst=True, logging_level="ERROR")
        return watch.stop()

    return run


#: One consumer of several: says when it could begin, and begins when it is told.
CONSUMER_PROGRAM = """
import sys, time, missive
from missive.adapters.redis import RedisStreamsAdapter

url, stream, group, work = sys.argv[1:]
processor = missive.Processor()

@processor.handle_for(lambda message: True)
def handle(message, ctx):
    end = time.thread_time() + float(work)
    while time.thread_time() < end:
        pass
    ctx.ack()

adapter = RedisStreamsAdapter(missive.RawMessage, processor, stream, group, url=url, batch_size=10)
print("ready", flush=True)
sys.stdin.readline()
adapter.run()
"""


@suite.variant(
    "Missive, processes",
    environment="missive",
    kind="missive",
    semantics="so many consumers of one group, each a process; a handler computes for 1 ms",
)
def processes(url: str, consumers: int) -> Iterator[Callable[[int], dict[str, float]]]:
    """Measure consumers that share a group, until the last entry is acked."""
    import redis

    command = [sys.executable, "-c", CONSUMER_PROGRAM, url, STREAM, GROUP, str(WORK)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with ExitStack() as stack:
        started = [
            stack.enter_context(subprocess.Popen(command, **pipes)) for _ in range(consumers)
        ]
        for process in started:
            process.stdout.readline()

        def run(items: int) -> dict[str, float]:
            prepare(url, items)
            with redis.Redis.from_url(url, protocol=2) as client:
                watch = Stopwatch()
                for process in started:
                    process.stdin.write(b"go\n")
                    process.stdin.flush()
                while True:
                    (group,) = client.xinfo_groups(STREAM)
                    if group["entries-read"] == items and not group["pending"]:
                        return {"seconds": watch.stop()["seconds"]}
                    time.sleep(0.005)

        yield run
        for process in started:
            process.terminate()


LOOP, EACH = "XREADGROUP + one XACK a batch", "XREADGROUP + an XACK each"

for count in (100, 1000):
    suite.case(
        f"COUNT {count}",
        (LOOP, "Missive"),
        parameters={"count": count},
        items=100_000,
        quick_items=30_000,
        quick=count == 100,
    )
suite.case(
    "acked each",
    (EACH, "Missive, ack_every=1"),
    parameters={"count": 100},
    items=10_000,
    quick_items=5_000,
)
suite.case(
    "COUNT 100, beside FastStream",
    ("Missive", "FastStream", "FastStream, batch"),
    parameters={"count": 100},
    items=10_000,
    quick_items=5_000,
    rounds=3,
)
suite.case(
    "a message that does nothing, through job queues on Redis",
    ("Missive", "Huey", "Dramatiq", "RQ"),
    items=1000,
    quick=False,
    rounds=3,
)
for size in (100, 1000, 10_000, 100_000, 1_000_000):
    suite.case(
        f"{size} bytes",
        (LOOP, "Missive"),
        parameters={"count": 100, "size": size},
        items=max(300, min(50_000, 100_000_000 // size)),
        curve="bytes of an entry",
        x=size,
        quick=False,
        rounds=3,
    )
for waiting in (1000, 10_000, 100_000, 1_000_000):
    suite.case(
        f"{waiting} entries wait",
        (LOOP, "Missive"),
        parameters={"count": 100},
        items=waiting,
        curve="entries that wait",
        x=waiting,
        quick=False,
        rounds=3 if waiting < 1_000_000 else 1,
    )
for number in (1, 2, 4, 8, 16):
    suite.case(
        f"{number} threads",
        ("Missive, threads",),
        parameters={"workers": number},
        items=200 * number,
        quick_items=60 * number,
        curve="threads whose handlers wait 5 ms",
        x=number,
        quick=number in (1, 8),
        rounds=3,
    )
for number in (1, 2):
    suite.case(
        f"{number} processes",
        ("Missive, processes",),
        parameters={"consumers": number},
        items=2000,
        quick_items=600,
        curve="processes whose handlers compute 1 ms",
        x=number,
        quick=False,
        rounds=5,
    )
suite.target(
    "throughput of 8 threads over that of 1, handlers that wait 5 ms",
    ("1 threads", "Missive, threads"),
    ("8 threads", "Missive, threads"),
    at_least=7,
)
suite.target(
    "throughput of 2 processes over that of 1, handlers that compute 1 ms",
    ("1 processes", "Missive, processes"),
    ("2 processes", "Missive, processes"),
    at_least=1.7,
)
suite.target(
    "of redis-py's loop that acks in batches",
    ("COUNT 100", "Missive"),
    ("COUNT 100", LOOP),
    at_most=1.25,
)
suite.target(
    "ack_every=1, of redis-py's loop that acks each",
    ("acked each", "Missive, ack_every=1"),
    ("acked each", EACH),
    at_most=1.1,
)
suite.target(
    "FastStream, a message at a time, over Missive",
    ("COUNT 100, beside FastStream", "FastStream"),
    ("COUNT 100, beside FastStream", "Missive"),
    at_least=40,
)
