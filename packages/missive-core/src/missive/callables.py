"""Callables: which functions can serve as handlers, hooks and matchers, and which are async."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar, cast

from .errors import InvalidHandler
from .steps import Steps, awaited, call_here

F = TypeVar("F", bound=Callable[..., Any])


def _called(function: Any) -> Any:
    """Return the function that runs when this is called: below partials, or ``__call__``."""
    while isinstance(function, partial):
        function = cast("partial[Any]", function).func
    return function if inspect.isroutine(function) else type(function).__call__


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether a function is ``async def``, with or without a ``yield``."""
    return _is_async(function) or _is_async(_called(function))


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def call_on_loop(
    in_thread: Callable[..., Coroutine[Any, Any, Any]], function: Callable[..., Any], *args: Any
) -> Steps[None]:
    """Call an async function here, a plain one in a thread; return the steps that await it.

    :param in_thread: calls a plain function in a thread.
    """
    return (call_here if is_async(function) else partial(_call, in_thread))(function, *args)


def _call(in_thread: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Steps[None]:
    yield from awaited((yield in_thread(*args)))


def check_function(
    function: F, role: str, takes: tuple[str, ...], *, plain: bool = False, yields: bool = False
) -> F:
    """Refuse what cannot serve as a handler, hook or matcher.

    :param role: what it is to be, for the error's text.
    :param takes: the names of what it will be called with.
    :param plain: refuse ``async def``.
    :param yields: it must be a generator function; else it must not be one.
    :raises InvalidHandler: it cannot serve.
    """
    if not callable(function):
        raise InvalidHandler(function, f"cannot be {role}: it is not callable")
    call = _called(function)
    if plain and _is_async(call):
        raise InvalidHandler(function, f"cannot be {role}: it is async; write it with def")
    generates = inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call)
    if yields and not generates:
        remedy = "yield exactly once"
        below = inspect.unwrap(function)
        if inspect.isgeneratorfunction(below) or inspect.isasyncgenfunction(below):
            remedy = "leave out what is above it, such as @contextmanager"
        raise InvalidHandler(function, f"cannot be {role}: it does not yield; {remedy}")
    if generates and not yields:
        raise InvalidHandler(
            function,
            f"cannot be {role}: it yields, so calling it would run nothing;"
            " take the yield out, or make it an around-hook",
        )
    try:
        signature = inspect.signature(function)
    except ValueError:  # some built-in callables have no signature to check
        return function
    try:
        signature.bind(*takes)
    except TypeError as error:
        raise InvalidHandler(
            function,
            f"cannot be {role}: it is called with ({', '.join(takes)}),"
            f" and takes ({', '.join(signature.parameters)})",
        ) from error
    return function
