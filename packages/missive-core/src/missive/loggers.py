"""Loggers that import ``logging`` when they first have something to say."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from logging import Logger


def logger_of(name: str) -> Logger:
    """Give the logger of a name, as ``logging.getLogger`` does, without importing it yet.

    What imports a processor does not always run it, and ``logging`` is a sixth of what
    ``import missive`` takes, in time and in memory (benchmarks/import_time.py).
    """
    return cast("Logger", _LateLogger(name))


class _LateLogger:
    """Has the methods of a logger."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, attribute: str) -> Any:
        import logging

        found = getattr(logging.getLogger(self.name), attribute)
        if callable(found):  # a method, which stays the same; levels and handlers do not
            setattr(self, attribute, found)
        return found


def be_ready() -> None:
    """Import what is otherwise imported when something fails, while nothing does.

    A process that runs out of files, say, cannot import what it would report that with.
    """
    for name in ("datetime", "logging"):
        import_module(name)
