"""Handlers and matchers in words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

from missive import Handler, KeyedMatcher, otherwise


def describe_matcher(matcher: object) -> str:
    """Name a matcher: its function, or the key and the values that it stands for."""
    if matcher is otherwise:
        return "otherwise"
    if isinstance(matcher, KeyedMatcher):
        keyed = cast("KeyedMatcher[Any]", matcher)
        values = ", ".join(sorted(repr(value) for value in keyed.values))
        return f"{_key(keyed.family.key)} = {values}"
    return _function(matcher)


def place(handler: Handler[Any]) -> str:
    """Give a handler's file and line, the file from the working directory where it is below it."""
    if handler.file is None:
        return "unknown"
    try:
        here = f"{Path.cwd()}{os.sep}"
    except FileNotFoundError:  # it was deleted
        here = ""
    return f"{handler.file.removeprefix(here)}:{handler.line}"


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
