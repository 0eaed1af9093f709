"""Deliveries on an event loop of the caller's: async handlers there, plain ones in threads."""

from __future__ import annotations

import asyncio
import sys
import threading
from contextvars import ContextVar
from typing import Any

import pytest
from missive import (
    Adapter,
    Capabilities,
    Delivery,
    MemoryDLQ,
    Outcome,
    ProcessingContext,
    Processor,
    RawMessage,
    otherwise,
)
from shelf_transport import wait_until

#: Set by a processing hook, and seen by handlers.
colour: ContextVar[str] = ContextVar("colour", default="none")


class Noting(Adapter[RawMessage]):
    """An adapter that notes what it is told, and in which thread."""

    capabilities = Capabilities(nack="redeliver")

    def __init__(self, processor: Processor[RawMessage]) -> None:
        super().__init__(processor)
        self.told: list[tuple[str, int]] = []

    def ack(self, message: RawMessage) -> None:
        self.told.append(("ack", threading.get_ident()))

    def nack(self, message: RawMessage) -> None:
        self.told.append(("nack", threading.get_ident()))


def deliver(processor: Processor[RawMessage], *bodies: bytes) -> tuple[list[Any], Noting]:
    """Deliver messages on a loop within a run; return their contexts, and the adapter."""
    adapter = Noting(processor)

    async def run() -> list[Any]:
        ctx = ProcessingContext(RawMessage, adapter, processor)
        await ctx.astart()
        threads = asyncio.Semaphore(1)
        try:
            return [await ctx.adeliver(Delivery(body), threads) for body in bodies]
        finally:
            await ctx.afinish()

    return asyncio.run(run()), adapter


def test_async_handlers() -> None:
    """An async handler runs on the loop, with the context variables of the processing hooks."""
    processor: Processor[RawMessage] = Processor()
    seen: list[Any] = []

    @processor.before_processing
    async def before(ctx: Any) -> None:
        colour.set("blue")

    @processor.handle_for(otherwise)
    async def handle(message: RawMessage, ctx: Any) -> None:
        seen.append((threading.get_ident(), colour.get()))
        ctx.ack() if message.raw_data == b"ack" else ctx.nack()

    contexts, adapter = deliver(processor, b"ack", b"nack")
    assert [context.outcome for context in contexts] == [Outcome.ACKED, Outcome.NACKED]
    here = threading.get_ident()
    assert seen == [(here, "blue")] * 2
    assert adapter.told == [("ack", here), ("nack", here)]


@pytest.mark.parametrize("beside_async", [False, True])
def test_plain_handlers(beside_async: bool) -> None:
    """A plain handler runs and is settled in a thread, with the same context variables."""
    processor: Processor[RawMessage] = Processor()
    seen: list[Any] = []

    @processor.before_processing
    def before(ctx: Any) -> None:
        colour.set("red")

    @processor.handle_for(lambda message: message.raw_data == b"plain")
    def handle(message: RawMessage, ctx: Any) -> None:
        seen.append((threading.get_ident(), colour.get()))
        ctx.ack()

    if beside_async:

        @processor.handle_for(otherwise)
        async def other(message: RawMessage, ctx: Any) -> None:
            ctx.ack()

    _, adapter = deliver(processor, b"plain")
    ((thread, shade),) = seen
    assert (thread == threading.get_ident(), shade) == (False, "red")
    assert adapter.told == [("ack", thread)]


def test_a_plain_handler_that_returns_an_awaitable() -> None:
    """What it returns is awaited on the loop, where the hooks around it are async."""
    processor: Processor[RawMessage] = Processor()
    loops: list[Any] = []

    @processor.before_handling
    async def before(processing: Any, ctx: Any) -> None:
        loops.append(asyncio.get_running_loop())

    async def work(ctx: Any) -> None:
        loops.append(asyncio.get_running_loop())
        ctx.ack()

    processor.handle_for(otherwise)(lambda message, ctx: work(ctx))
    (context,), _ = deliver(processor, b"a")
    assert context.outcome is Outcome.ACKED
    assert loops[0] is loops[1]


def test_a_plain_handler_that_returns_an_awaitable_by_itself() -> None:
    """Without async hooks it is awaited on a loop of the run's own, which ends with the run."""
    processor: Processor[RawMessage] = Processor()

    async def work(ctx: Any) -> None:
        ctx.ack()

    processor.handle_for(otherwise)(lambda message, ctx: work(ctx))
    before = threading.active_count()
    (context,), _ = deliver(processor, b"a")
    assert context.outcome is Outcome.ACKED
    wait_until(lambda: threading.active_count() <= before)  # a thread that is done takes a moment


def test_letters_are_written_in_a_thread() -> None:
    """A store that waits for its disk does not hold up the loop; its errors are raised there."""
    processor: Processor[RawMessage] = Processor()
    threads: list[int] = []

    class Slow(MemoryDLQ):
        def put_many(self, letters: Any) -> None:
            threads.append(threading.get_ident())
            super().put_many(letters)

    processor.set_dlq(Slow())

    @processor.handle_for(otherwise)
    async def handle(message: RawMessage, ctx: Any) -> None:
        raise LookupError

    (context,), _ = deliver(processor, b"a")
    assert context.outcome is Outcome.DEAD_LETTERED
    assert threads != [threading.get_ident()]
    processor.set_dlq(None)
    with pytest.raises(LookupError):
        deliver(processor, b"a")


def test_observers_on_the_loop() -> None:
    """An acked message is observed on the loop too."""
    processor: Processor[RawMessage] = Processor()
    seen: list[Any] = []

    @processor.on_settled
    async def observe(processing: Any, ctx: Any) -> None:
        seen.append(ctx.outcome)

    @processor.handle_for(otherwise)
    async def handle(message: RawMessage, ctx: Any) -> None:
        ctx.ack()

    deliver(processor, b"a")
    assert seen == [Outcome.ACKED]


def test_a_cancelled_caller() -> None:
    """Where the caller's task is cancelled, so is the handler, and nothing is settled."""
    processor: Processor[RawMessage] = Processor()
    processor.set_dlq(MemoryDLQ())
    adapter = Noting(processor)
    entered = asyncio.Event()

    @processor.handle_for(otherwise)
    async def handle(message: RawMessage, ctx: Any) -> None:
        entered.set()
        await asyncio.Event().wait()

    async def run() -> None:
        ctx = ProcessingContext(RawMessage, adapter, processor)
        await ctx.astart()
        task = asyncio.create_task(ctx.adeliver(Delivery(b"a"), asyncio.Semaphore(1)))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ctx.afinish()

    asyncio.run(run())
    assert adapter.told == []
    assert processor.dlq == {}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 cannot tell who cancelled")
def test_a_handler_that_is_cancelled_from_within() -> None:
    """A CancelledError of the handler's own is a failure of its message."""
    processor: Processor[RawMessage] = Processor()
    processor.set_dlq(MemoryDLQ())

    @processor.handle_for(otherwise)
    async def handle(message: RawMessage, ctx: Any) -> None:
        raise asyncio.CancelledError

    (context,), _ = deliver(processor, b"a")
    assert context.outcome is Outcome.DEAD_LETTERED
