"""Async and batch handlers and hooks as users write them, right and wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence

import missive

Message = missive.JSONMessage
Run = missive.ProcessingContext[Message]
Handling = missive.HandlingContext[Message]
Batch = missive.BatchContext[Message]

processor: missive.Processor[Message] = missive.Processor()


@processor.handle_for(missive.otherwise, retry=missive.Retry(attempts=3))
async def handle(message: Message, ctx: Handling) -> None:
    await asyncio.sleep(0)
    ctx.nack(delay=1.5)


@processor.handle_batch_for(missive.otherwise, size=10, wait=0.1, split_on_error=True)
def handle_batch(messages: Sequence[Message], ctx: Batch) -> None:
    ctx.ack(messages[0])
    ctx.nack(messages[1], delay=2.0)
    ctx.ack_rest()


@processor.handle_batch_for(missive.otherwise)
async def handle_batch_async(messages: Sequence[Message], ctx: Batch) -> None:
    await asyncio.sleep(0)
    ctx.context_of(messages[0]).state.seen = True
    ctx.ack_rest()


@processor.before_processing
async def connect(processing_ctx: Run) -> None:
    await asyncio.sleep(0)


@processor.around_processing
async def session(processing_ctx: Run) -> AsyncIterator[None]:
    yield


@processor.around_handling
async def transaction(processing_ctx: Run, handling_ctx: Handling) -> AsyncIterator[None]:
    yield


@processor.around_delivery
def span(processing_ctx: Run, handling_ctx: Handling) -> Iterator[None]:
    yield


@processor.on_settled
async def count(processing_ctx: Run, handling_ctx: Handling) -> None:
    print(handling_ctx.outcome)


async def test() -> missive.Outcome | None:
    async with processor.test_client() as client:
        return await client.asend(b"{}")


@processor.handle_for(missive.otherwise)  # refused
async def without_context(message: Message) -> None:
    print(message)


@processor.handle_for(missive.otherwise)  # refused
async def of_bytes(message: bytes, ctx: Handling) -> None:
    ctx.ack()


@processor.handle_for(missive.otherwise)  # refused
async def generates(message: Message, ctx: Handling) -> AsyncIterator[None]:
    yield


@processor.handle_batch_for(missive.otherwise)  # refused
async def of_one_message(message: Message, ctx: Batch) -> None:
    ctx.ack_rest()


@processor.handle_batch_for(missive.otherwise)  # refused
def with_the_context_of_one(messages: Sequence[Message], ctx: Handling) -> None:
    ctx.ack()


@processor.before_handling  # refused
async def hook_without_handling_context(processing_ctx: Run) -> None:
    print(processing_ctx)


@processor.around_processing  # refused
async def does_not_yield(processing_ctx: Run) -> None:
    print(processing_ctx)


@processor.around_handling  # refused
async def yields_without_contexts() -> AsyncIterator[None]:
    yield


@processor.handle_batch_for(missive.otherwise)  # refused
async def batch_of_a_single_context(messages: Sequence[Message], ctx: Handling) -> None:
    await asyncio.sleep(0)


@processor.handle_for(missive.otherwise)  # refused
async def single_of_a_batch_context(message: Message, ctx: Batch) -> None:
    ctx.ack_rest()


@processor.handle_for(missive.otherwise)  # refused
async def returns_a_number(message: Message, ctx: Handling) -> int:
    return 1


@processor.around_delivery  # refused
async def delivery_without_a_yield(processing_ctx: Run, handling_ctx: Handling) -> None:
    await asyncio.sleep(0)
