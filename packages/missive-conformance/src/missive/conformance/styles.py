"""Styles: the handlers of the checks as plain functions, as coroutines, or in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from missive import BatchContext, HandlingContext, Processor

#: What a check's handler does with one message.
Function = Callable[[Any, HandlingContext[Any]], None]

PLAIN, ASYNC, BATCH = "plain", "async", "batch"
#: How long the first message of a batch waits for others, in seconds.
BATCH_WAIT = 0.02


def check_style(style: str) -> str:
    """Return a style, as it was given.

    :param style: ``"plain"``, ``"async"``, or ``"batch:7"`` for batches of up to seven.
    :raises ValueError: there is no such style.
    """
    kind, _, size = style.partition(":")
    known = style in (PLAIN, ASYNC) or (kind == BATCH and size.isdecimal() and int(size) > 0)
    if not known:
        raise ValueError(
            f"there is no style {style!r} of handlers; there are plain, async, batch:N"
        )
    return style


def kind_of(style: str) -> str:
    """Return what a check may ask of the style: ``"plain"``, ``"async"`` or ``"batch"``."""
    return style.partition(":")[0]


def size_of(style: str) -> int:
    """Return how many messages a handler takes at once, at most."""
    return int(style.partition(":")[2] or 1)


def register(
    processor: Processor[Any],
    matcher: Callable[[Any], bool],
    function: Function,
    style: str,
    *,
    blocks: bool = False,
    **options: Any,
) -> None:
    """Register a check's handler in a style; what it does, raises and decides stays the same.

    :param blocks: whether the function waits for something: a coroutine has it run in a thread.
    :param options: keyword arguments of ``handle_for``, such as ``retry``.
    """
    kind = kind_of(style)
    if kind == PLAIN:
        processor.handle_for(matcher, **options)(function)
    elif kind == ASYNC:
        processor.handle_for(matcher, **options)(_as_coroutine(function, blocks=blocks))
    else:
        processor.handle_batch_for(
            matcher, size=size_of(style), wait=BATCH_WAIT, split_on_error=True, **options
        )(_as_batch(function))


def _as_coroutine(
    function: Function, *, blocks: bool
) -> Callable[[Any, HandlingContext[Any]], Any]:
    async def handle(message: Any, ctx: HandlingContext[Any]) -> None:
        if blocks:
            await asyncio.to_thread(function, message, ctx)
            return
        await asyncio.sleep(0)
        function(message, ctx)

    return handle


class _Split(Exception):
    """One message of a batch failed; the batch is split, so that it fails alone."""


def _as_batch(function: Function) -> Callable[[Sequence[Any], BatchContext[Any]], None]:
    """Return a batch handler that does with each message what the function does, once."""
    known: dict[HandlingContext[Any], Exception | None] = {}  # what each left undecided raised

    def handle(messages: Sequence[Any], ctx: BatchContext[Any]) -> None:
        if len(messages) == 1:
            _handle_alone(messages[0], ctx.contexts[0])
            return
        errors: dict[HandlingContext[Any], Exception | None] = {}
        for message, context in zip(messages, ctx.contexts, strict=True):
            try:
                function(message, context)
                errors[context] = None
            except Exception as error:
                errors[context] = error
        if any(errors.values()):
            known.update((each, errors[each]) for each in errors if each.decision is None)
            raise _Split

    def _handle_alone(message: Any, context: HandlingContext[Any]) -> None:
        if context not in known:
            function(message, context)
        elif (error := known.pop(context)) is not None:
            raise error

    return handle
