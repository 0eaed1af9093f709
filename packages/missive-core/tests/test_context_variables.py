"""Context variables: what hooks set, handlers see, wherever they run."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import missive
import pytest
from memory_transport import MemoryTransport
from missive import Capabilities, Delivery, MemoryDLQ, ProcessingContext, Retry

of_run: contextvars.ContextVar[str] = contextvars.ContextVar("of_run", default="unset")
of_delivery: contextvars.ContextVar[str] = contextvars.ContextVar("of_delivery", default="unset")

KINDS = ("inline", "threads", "async", "plain beside async", "plain in async hooks")
Seen = list[tuple[str, str]]


def build(
    kind: str, seen: Seen, *, async_hooks: bool = False, fails: int = 0, batch: int = 0
) -> missive.Processor[Any]:
    """Make a processor whose hooks set both variables, and whose handler notes what it sees."""
    processor: missive.Processor[Any] = missive.Processor()

    def note(message: Any, ctx: Any) -> None:
        seen.append((of_run.get(), of_delivery.get()))
        if not batch and ctx.attempt <= fails:
            raise ValueError
        if batch:
            ctx.ack_rest()
        else:
            ctx.ack()

    async def async_note(message: Any, ctx: Any) -> None:
        await asyncio.sleep(0)
        note(message, ctx)

    handler: Callable[..., Any] = async_note if kind == "async" else note
    if batch:
        processor.handle_batch_for(missive.otherwise, size=batch)(handler)
    else:
        retry = Retry(attempts=fails + 1, delay=0.0) if fails else None
        processor.handle_for(missive.otherwise, retry=retry)(handler)
    if kind == "plain beside async":
        processor.handle_for(lambda message: False)(async_note)

    def around_run(processing_ctx: Any) -> Iterator[None]:
        token = of_run.set("run")
        yield
        of_run.reset(token)

    async def async_around_run(processing_ctx: Any) -> AsyncIterator[None]:
        token = of_run.set("run")
        yield
        of_run.reset(token)

    def around_delivery(processing_ctx: Any, ctx: Any) -> Iterator[None]:
        token = of_delivery.set(ctx.message.raw_data.decode())
        yield
        of_delivery.reset(token)

    async def async_around_delivery(processing_ctx: Any, ctx: Any) -> AsyncIterator[None]:
        token = of_delivery.set(ctx.message.raw_data.decode())
        yield
        of_delivery.reset(token)

    processor.around_processing(async_around_run if async_hooks else around_run)
    slow = async_hooks or kind == "plain in async hooks"
    processor.around_delivery(async_around_delivery if slow else around_delivery)
    return processor


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("async_hooks", [False, True], ids=["plain hooks", "async hooks"])
def test_handlers_see_what_the_hooks_around_them_set(
    kind: str, async_hooks: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A variable set in around_processing or around_delivery is kept in every handler."""
    seen: Seen = []
    processor = build(kind, seen, async_hooks=async_hooks)
    bodies = [b"%d" % number for number in range(20)]
    MemoryTransport(processor, bodies, workers=3 if kind != "inline" else 1).run()
    assert sorted(seen) == sorted(("run", body.decode()) for body in bodies)
    assert not [record for record in caplog.records if record.name == "missive.errors"]
    assert of_run.get() == of_delivery.get() == "unset"


@pytest.mark.parametrize("kind", ["inline", "threads", "async"])
def test_batch_handlers_see_what_the_hooks_set(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """A batch sees the variables of the run; those of its deliveries leak nowhere."""
    seen: Seen = []
    processor = build(kind, seen, batch=4)
    adapter = MemoryTransport(
        processor, [b"%d" % n for n in range(8)], workers=2 if kind == "threads" else 1
    )
    adapter.run()
    assert [run for run, _ in seen] == ["run"] * 2
    assert len(adapter.acked) == 8
    assert not [record for record in caplog.records if record.name == "missive.errors"]
    assert of_run.get() == of_delivery.get() == "unset"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stored", [False, True], ids=["held", "deferred"])
def test_another_attempt_sees_the_variables_too(kind: str, stored: bool) -> None:
    """A message that is held or deferred is handled again in a copy of the run's context."""
    seen: Seen = []
    processor = build(kind, seen, fails=1)
    if stored:
        processor.set_dlq(MemoryDLQ())
    adapter = MemoryTransport(processor, [b"1"], endless=True)

    @processor.on_settled
    def stop(processing_ctx: Any, ctx: Any) -> None:
        if len(seen) == 2:
            adapter.stop()

    adapter.run()
    assert seen == [("run", "1")] * 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("async_hooks", [False, True], ids=["plain hooks", "async hooks"])
def test_each_request_sees_what_around_processing_set_in_another_thread(
    kind: str, async_hooks: bool
) -> None:
    """A run whose deliveries come in threads of a server hands its variables to each of them."""

    class Server(missive.Adapter[Any]):
        capabilities = Capabilities(delivery="request-reply", nack="error-response")

        def ack(self, message: missive.Message) -> None:
            """Nothing to do."""

        def nack(self, message: missive.Message) -> None:
            """Nothing to do."""

    seen: Seen = []
    processor = build(kind, seen, async_hooks=async_hooks)
    ctx: ProcessingContext[Any] = ProcessingContext(
        missive.RawMessage, Server(processor), processor
    )
    ctx.start()
    thread = threading.Thread(target=contextvars.Context().run, args=(ctx.deliver, Delivery(b"1")))
    thread.start()
    thread.join()
    ctx.finish()
    assert seen == [("run", "1")]


@pytest.mark.parametrize("kind", ["async", "plain in async hooks"])
def test_asend_hands_variables_on(kind: str) -> None:
    """Under asend the variables flow from the test through the hooks to the handler."""
    seen: Seen = []
    processor = build(kind, seen, async_hooks=True)

    async def test() -> None:
        async with processor.test_client() as client:
            await client.asend(b"1")

    asyncio.run(test())
    assert seen == [("run", "1")]
