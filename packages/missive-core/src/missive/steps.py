"""Steps: code written once that runs both plainly and on an event loop.

Such code is a generator that yields what is to be awaited and is sent the result. Where nothing is
async it never yields.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

T = TypeVar("T")
Steps = Generator[Awaitable[Any], Any, T]


def run_plainly(steps: Steps[T], wait: Callable[[Awaitable[Any]], Any]) -> T:
    """Run steps to their end in this thread.

    :param wait: waits for an awaitable and returns its result.
    """
    try:
        awaitable = next(steps)
        while True:
            try:
                result = wait(awaitable)
            except BaseException as error:
                awaitable = steps.throw(error)
            else:
                awaitable = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def _unchanged(error: BaseException) -> BaseException:
    return error


async def run_async(
    steps: Steps[T], raised: Callable[[BaseException], BaseException] = _unchanged
) -> T:
    """Run steps to their end on the running event loop.

    :param raised: given what an awaitable raised, returns what is raised in the steps instead.
    """
    try:
        awaitable = next(steps)
        while True:
            try:
                result = await awaitable
            except BaseException as error:
                awaitable = steps.throw(raised(error))
            else:
                awaitable = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def awaited(result: Any) -> Steps[None]:
    """Await what a function returned, where that is awaitable."""
    if result is not None and inspect.isawaitable(result):
        yield result


#: Calls a function, and returns the steps that await what it returned.
Call = Callable[..., Steps[None]]


def call_here(function: Callable[..., Any], *args: Any) -> Steps[None]:
    """Call a function in this thread, and return the steps that await what it returned."""
    # Not in steps of its own, from which no StopIteration could be raised.
    return awaited(function(*args))
