"""In-process dispatch: what it costs to bring a message to its handler, without a transport."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from instrument import Stopwatch, Suite

suite = Suite("dispatch", "In-process dispatch", unit="µs a message", clock="cpu")

BODY = b"Hello"
#: After so many messages a test client is closed, and another takes its place: it keeps what was
#: acked, and the quicker of two variants would otherwise have more to keep, and to collect.
CLIENT_LIFE = 10_000


def keys(count: int) -> list[bytes]:
    """Return what the handlers match; the message is for the last."""
    return [b"Hello %d" % number for number in range(count - 1)] + [BODY]


def acking_processor(handlers: int, keyed: bool = False) -> Any:
    """Build a processor of either Missive, with handlers that only ack."""
    import missive

    processor: Any = missive.Processor()
    if keyed:
        family: Any = missive.route_on(lambda message: message.raw_data)
        matchers = [family(key) for key in keys(handlers)]
    else:
        matchers = [matcher_of(key) for key in keys(handlers)]
    for matcher in matchers:

        @processor.handle_for(matcher)
        def handle(message: Any, ctx: Any) -> None:
            ctx.ack()

    return processor


def matcher_of(key: bytes) -> Callable[[Any], bool]:
    """Make a plain matcher, as users write them."""
    return lambda message: message.raw_data == key


@suite.variant(
    "loop, if, call",
    environment="limit",
    kind="limit",
    semantics="a loop that compares the bytes and calls a function; the limit of Python",
)
def bare_loop(build: bool = False, size: int = 0, **_: Any) -> Callable[[int], None]:
    """Measure what Python can do, with or without an object made for each message."""

    class Slotted:
        __slots__ = ("decision", "message_id", "raw_data")

        def __init__(self, raw_data: bytes) -> None:
            self.raw_data = raw_data
            self.message_id = None
            self.decision = None

    def handle(message: Any) -> None:
        pass

    body = BODY.ljust(size, b".")
    prebuilt = Slotted(body)

    def run(items: int) -> None:
        for _ in range(items):
            if prebuilt.raw_data == body:
                handle(prebuilt)

    def run_building(items: int) -> None:
        for _ in range(items):
            message = Slotted(body)
            if message.raw_data == body:
                handle(message)

    return run_building if build else run


def client(
    handlers: int = 1, keyed: bool = False, build: bool = False, size: int = 0
) -> Callable[[int], None]:
    """Measure the test client of either Missive, which settles as a real adapter does."""
    import missive

    processor = acking_processor(handlers, keyed)
    body = BODY.ljust(size, b".")
    if size:
        processor.handle_for(lambda message: message.raw_data[:5] == BODY)(
            lambda message, ctx: ctx.ack()
        )
    prebuilt = missive.RawMessage(body)

    def run(items: int) -> None:
        for begin in range(0, items, CLIENT_LIFE):
            with processor.test_client() as sender:
                for _ in range(min(CLIENT_LIFE, items - begin)):
                    sender.send(prebuilt)

    def run_building(items: int) -> None:
        for begin in range(0, items, CLIENT_LIFE):
            with processor.test_client() as sender:
                for _ in range(min(CLIENT_LIFE, items - begin)):
                    sender.send(missive.RawMessage(body))

    return run_building if build else run


suite.variant(
    "Missive",
    environment="missive",
    kind="missive",
    semantics="exactly one handler must match and settle; its test client records the ack",
)(client)


@suite.variant(
    "Missive, observed",
    environment="missive",
    kind="missive",
    semantics="the same, with one on_settled hook that does nothing",
)
def observed() -> Callable[[int], None]:
    """Measure the test client with a hook that is told of each outcome."""
    import missive

    processor = acking_processor(1)
    processor.on_settled(lambda processing_ctx, ctx: None)
    message = missive.RawMessage(BODY)

    def run(items: int) -> None:
        for begin in range(0, items, CLIENT_LIFE):
            with processor.test_client() as sender:
                for _ in range(min(CLIENT_LIFE, items - begin)):
                    sender.send(message)

    return run


suite.variant(
    "missive 0.8.1",
    environment="former",
    kind="former",
    semantics="exactly one handler must match; whether it settles is not checked",
)(client)


@suite.variant(
    "kombu",
    environment="kombu",
    kind="peer",
    semantics="memory transport, a consumer with a callback that acks; publishing is not timed",
)
def kombu(**_: Any) -> Iterator[Callable[[int], dict[str, float]]]:
    """Measure a consumer of the memory transport that drains a queue filled before."""
    from kombu import Connection

    with Connection("memory://") as connection:
        queue = connection.SimpleQueue("bench")
        waiting = 0

        def handle(body: Any, message: Any) -> None:
            nonlocal waiting
            message.ack()
            waiting -= 1

        def run(items: int) -> dict[str, float]:
            nonlocal waiting
            for _ in range(items):
                queue.put({"text": "Hello"})
            waiting = items
            watch = Stopwatch()
            with connection.Consumer([queue.queue], callbacks=[handle]):
                while waiting:
                    connection.drain_events(timeout=5)
            return watch.stop()

        yield run


@suite.variant(
    "Taskiq",
    environment="taskiq",
    kind="peer",
    semantics="in-memory broker, awaits each task; sending is timed, since it runs the task",
)
def taskiq(handlers: int = 1, **_: Any) -> Callable[[int], None]:
    """Measure the in-memory broker."""
    import asyncio

    from taskiq import InMemoryBroker

    async def task(text: str) -> None:
        pass

    broker = InMemoryBroker(await_inplace=True)
    for number in range(handlers):
        decorated = broker.register_task(task, task_name=f"task-{number}")

    async def send(items: int) -> None:
        await broker.startup()
        for _ in range(items):
            await decorated.kiq("Hello")

    return lambda items: asyncio.run(send(items))


@suite.variant(
    "Celery",
    environment="celery",
    kind="peer",
    semantics="apply() of a task, which runs it here; no broker, no serialisation",
)
def celery(handlers: int = 1, **_: Any) -> Callable[[int], None]:
    """Measure a task applied in this process."""
    from celery import Celery

    app = Celery("bench", broker="memory://")

    def function(text: str) -> None:
        pass

    tasks = [app.task(name=f"task-{number}")(function) for number in range(handlers)]
    task = tasks[-1]

    def run(items: int) -> None:
        for _ in range(items):
            task.apply(args=("Hello",))

    return run


@suite.variant(
    "Dramatiq",
    environment="dramatiq",
    kind="peer",
    semantics="stub broker, one worker thread, default middleware; sending is not timed",
)
def dramatiq(handlers: int = 1, **_: Any) -> Iterator[Callable[[int], dict[str, float]]]:
    """Measure a worker that drains the stub broker's queue, filled before."""
    import dramatiq
    from dramatiq.brokers.stub import StubBroker

    broker = StubBroker()
    dramatiq.set_broker(broker)

    def task(text: str) -> None:
        pass

    actors = [
        dramatiq.actor(task, actor_name=f"task-{number}", queue_name="bench")
        for number in range(handlers)
    ]
    actor = actors[-1]
    worker: Any = None

    def run(items: int) -> dict[str, float]:
        nonlocal worker
        for _ in range(items):
            actor.send("Hello")
        worker = dramatiq.Worker(broker, worker_threads=1)
        watch = Stopwatch()
        worker.start()
        broker.join("bench")
        worker.join()
        took = watch.stop()
        worker.stop()
        return took

    yield run


@suite.variant(
    "FastStream",
    environment="faststream",
    kind="peer",
    semantics="test broker of its Redis broker; publishing is timed, since it runs the subscriber",
)
def faststream(handlers: int = 1, **_: Any) -> Callable[[int], None]:
    """Measure the test broker."""
    import asyncio
    import logging

    from faststream.redis import RedisBroker, TestRedisBroker

    broker = RedisBroker(logger=None, log_level=logging.CRITICAL)
    for number in range(handlers):

        @broker.subscriber(f"channel-{number}")
        async def handle(text: str) -> None:
            pass

    async def publish(items: int) -> None:
        async with TestRedisBroker(broker):
            for _ in range(items):
                await broker.publish("Hello", channel=f"channel-{handlers - 1}")

    return lambda items: asyncio.run(publish(items))


OURS = ("Missive", "missive 0.8.1")
PEERS = ("kombu", "Taskiq", "Celery", "Dramatiq", "FastStream")

suite.case("send, 1 handler", ("loop, if, call", *OURS, "Missive, observed"))
suite.case("build and send, 1 handler", ("loop, if, call", *OURS), parameters={"build": True})
suite.case("send, 100 plain handlers", OURS, parameters={"handlers": 100})
suite.case("send, 1000 keyed handlers", ("Missive",), parameters={"handlers": 1000, "keyed": True})
suite.case("a message through peers", ("loop, if, call", "Missive", *PEERS), rounds=5)

for count in (1, 10, 100, 1000, 10_000):
    suite.case(
        f"{count} handlers, plain",
        OURS,
        parameters={"handlers": count},
        curve="plain handlers",
        x=count,
        quick=False,
        rounds=3,
    )
for count in (1, 10, 100, 1000, 10_000):
    suite.case(
        f"{count} handlers, keyed",
        ("Missive",),
        parameters={"handlers": count, "keyed": True},
        curve="keyed handlers",
        x=count,
        quick=False,
        rounds=3,
    )
for size in (100, 1000, 10_000, 100_000, 1_000_000):
    suite.case(
        f"{size} bytes",
        ("loop, if, call", *OURS),
        parameters={"size": size, "build": True},
        curve="bytes of a message",
        x=size,
        quick=False,
        rounds=3,
    )

suite.target(
    "send, 1 handler, of 0.8.1",
    ("send, 1 handler", "Missive"),
    ("send, 1 handler", "missive 0.8.1"),
    at_most=0.35,
)
suite.target(
    "build and send, of 0.8.1",
    ("build and send, 1 handler", "Missive"),
    ("build and send, 1 handler", "missive 0.8.1"),
    at_most=0.25,
)
suite.target(
    "send with one on_settled hook, of none",
    ("send, 1 handler", "Missive, observed"),
    ("send, 1 handler", "Missive"),
    at_most=1.3,
)
suite.target(
    "100 plain handlers, of 0.8.1",
    ("send, 100 plain handlers", "Missive"),
    ("send, 100 plain handlers", "missive 0.8.1"),
    at_most=0.35,
)
suite.target(
    "1000 keyed handlers, of 1 handler",
    ("send, 1000 keyed handlers", "Missive"),
    ("send, 1 handler", "Missive"),
    at_most=1.3,
)
