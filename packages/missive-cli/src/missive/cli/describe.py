"""Handlers and matchers in words."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from missive import NO_KEY, Handler, KeyedMatcher, Retry, otherwise


def describe_matcher(matcher: object) -> str:
    """Name a matcher: its function, or the key and the values that it stands for."""
    if matcher is otherwise:
        return "otherwise"
    if isinstance(matcher, KeyedMatcher):
        keyed = cast("KeyedMatcher[Any]", matcher)
        values = ", ".join(sorted(repr(value) for value in keyed.values))
        return f"{_key(keyed.family.key)} = {values}"
    return _function(matcher)


def describe_policy(handler: Handler[Any], default: Retry | None) -> str | None:
    """Name the retries and the breaker of a handler; None where it has neither.

    :param default: the policy of its processor.
    """
    retry, breaker = handler.retry or default, handler.breaker
    said: list[str] = []
    if retry is not None:
        on = "" if retry.on == (Exception,) else f" on {_names(retry.on)}"
        not_on = f" but {_names(retry.not_on)}" if retry.not_on else ""
        order = ", in order" if retry.in_order else ""
        said.append(
            f"{retry.attempts} attempts{on}{not_on}, {retry.delay:g} s x {retry.backoff:g}"
            f" up to {retry.max_delay:g} s{order}"
        )
    if breaker is not None:
        said.append(
            f"breaker on {_names(breaker.on)}: {breaker.failures} in {breaker.window:g} s pause"
            f" it for {breaker.pause:g} s"
        )
    return "; ".join(said) or None


def _names(types: tuple[type[BaseException], ...]) -> str:
    return ", ".join(kind.__name__ for kind in types)


def place(handler: Handler[Any]) -> str:
    """Return a handler's file and line, the file from the working directory where it is below it."""
    if handler.file is None:
        return "unknown"
    try:
        here = f"{Path.cwd()}{os.sep}"
    except FileNotFoundError:  # it was deleted
        here = ""
    return f"{handler.file.removeprefix(here)}:{handler.line}"


def looked_up(handlers: Iterable[Handler[Any]], message: Any) -> dict[str, str]:
    """Return the keys that are looked up for a message, by what they are keys of.

    Where a key function raises, the name of the error stands for the key.
    """
    found: dict[str, str] = {}
    for handler in handlers:
        matcher: object = handler.matcher
        if not isinstance(matcher, KeyedMatcher):
            continue
        key = cast("KeyedMatcher[Any]", matcher).family.key
        name = _key(key)
        if name in found:
            continue
        try:
            value = key(message)
        except Exception as error:  # it is the user's function
            found[name] = f"{type(error).__name__}"
        else:
            found[name] = "no key" if value is NO_KEY else repr(value)
    return found


def _key(key: object) -> str:
    """Name a key function; those of the ready-made families show what they look at."""
    kinds = {"_HeaderKey": "header", "_SourceKey": "source", "_JSONKey": "JSON"}
    kind = kinds.get(type(key).__name__)
    if kind is None:
        return _function(key)
    return " ".join([kind, *vars(key).values()])


def _function(function: object) -> str:
    code = getattr(function, "__code__", None)
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    if "<lambda>" in name and code is not None:
        return f"lambda at line {code.co_firstlineno}"
    return str(name)
