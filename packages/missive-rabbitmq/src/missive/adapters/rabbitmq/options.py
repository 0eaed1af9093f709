"""The options of the adapter that every polling adapter takes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypedDict


class SharedOptions(TypedDict, total=False):
    """What every polling adapter takes, without ``drain_timeout``.

    That one was a positional argument in missive 0.8.1, so the adapter names it.
    """

    workers: int
    max_in_flight: int | None
    ordering_key: Callable[[Any], Hashable] | None
    connect_timeout: float | None
    handler_timeout: float | None
    loop_factory: Callable[[], Any] | None
