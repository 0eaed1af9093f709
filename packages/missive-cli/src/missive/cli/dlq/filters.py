"""Filters: the options that choose letters, as the stores have them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click
from missive import LetterFilters

from ..options import Moment

_TEXTS = {
    "--reason": "Only letters with just this reason.",
    "--handler": "Only letters that failed in it; '' for those that came to none.",
    "--source": "Only letters that came from there; '' for those without one.",
    "--error-type": "Only letters with this error; '' for those without one.",
}


def text_filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the filters that are texts; it gets those that are used as ``filters``."""
    packed = _packing(command, ("reason", "handler", "source", "error_type"))
    for name, what in reversed(_TEXTS.items()):
        packed = click.option(name, metavar="TEXT", help=what)(packed)
    return packed


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command all filters; it gets those that are used as ``filters``."""
    packed = _packing(command, ("since", "until"))
    packed = click.option(
        "--until", type=Moment(), help="Only letters that failed last before then."
    )(packed)
    packed = click.option(
        "--since", type=Moment(), help="Only letters that failed last then or later."
    )(packed)
    return text_filter_options(packed)


def _packing(command: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    """Let a command take the options of these names, where they are given, in one argument."""

    @wraps(command)
    def packed(*args: Any, filters: LetterFilters | None = None, **options: Any) -> Any:
        given = {name: value for name in names if (value := options.pop(name)) is not None}
        merged: Any = {**(filters or {}), **given}
        return command(*args, filters=merged, **options)

    return packed
