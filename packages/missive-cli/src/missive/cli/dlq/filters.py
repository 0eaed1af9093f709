"""Filters: the options that choose letters, as the stores have them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any

import click
from missive import DeadLetterStore
from missive.letters import LetterFilters, shortened

from ..exits import Failed
from ..options import Moment
from ..terminal import escaped, moment, plural

#: How many values of a filter are named, and how much of each, where none matches.
_NAMED, _LONGEST = 5, 80

_TEXTS = {
    "--reason": "Only letters with exactly this reason.",
    "--handler": "Only letters that failed in this handler; '' for letters without one.",
    "--source": "Only letters from this source; '' for letters without one.",
    "--error-type": "Only letters with this type of error; '' for letters without one.",
}


def text_filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the text filters to a command; it receives those that are used as ``filters``."""
    packed = _packing(command, ("reason", "handler", "source", "error_type"))
    for name, what in reversed(_TEXTS.items()):
        packed = click.option(name, metavar="TEXT", help=what)(packed)
    return packed


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add all filters to a command; it receives those that are used as ``filters``."""
    packed = _packing(command, ("since", "until"))
    packed = click.option(
        "--until", type=Moment(), help="Only letters whose last failure was before this time."
    )(packed)
    packed = click.option(
        "--since", type=Moment(), help="Only letters whose last failure was at this time or later."
    )(packed)
    return text_filter_options(packed)


def state_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--state`` to a command, as one of its ``filters`` unless it is dead."""

    @wraps(command)
    def packed(*args: Any, state: str, **options: Any) -> Any:
        filters: LetterFilters = {}
        if state != "dead":
            filters["state"] = "deferred" if state == "deferred" else None
        return command(*args, filters=filters, **options)

    return click.option(
        "--state",
        type=click.Choice(["dead", "deferred", "all"]),
        default="dead",
        show_default=True,
        help="Dead letters, deferred messages (which wait for another attempt), or both.",
    )(packed)


def group_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--group`` to a command."""
    return click.option(
        "--group", metavar="NUMBER", help="Only letters of this group; summary shows the numbers."
    )(command)


def nothing_matches(store: DeadLetterStore, filters: LetterFilters) -> Failed:
    """Say that no letter matches, and what there is instead."""
    rows = store.summary(state=filters.get("state", "dead"))
    total = sum(row.count for row in rows)
    if not total:
        return Failed("no letter matches: the store has none")
    there: list[str] = []
    for name in ("reason", "handler", "error_type"):
        if filters.get(name) is not None:
            counts: Counter[str] = Counter()
            for row in rows:
                counts[getattr(row, name) or "''"] += row.count
            values = [
                f"{shortened(escaped(value), _LONGEST)} ({count})"
                for value, count in counts.most_common(_NAMED)
            ]
            more = len(counts) - len(values)
            values += [f"{more} more"] if more > 0 else []
            there.append(f"by {name.replace('_', ' ')}: {', '.join(values)}")
    if filters.keys() & {"since", "until"}:
        there.append(f"the last failed at {moment(max(row.last_seen for row in rows))}")
    return Failed(
        "; ".join([f"no letter matches; the store has {plural(total, 'letter')}", *there])
    )


def _packing(command: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    """Let a command take the options of these names, where they are given, in one argument."""

    @wraps(command)
    def packed(*args: Any, filters: LetterFilters | None = None, **options: Any) -> Any:
        given = {name: value for name in names if (value := options.pop(name)) is not None}
        merged: Any = {**(filters or {}), **given}
        return command(*args, filters=merged, **options)

    return packed
