"""Lag: how far a consumer group is behind, for probes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import ServerError
from .groups import Group, is_no_group, is_no_key
from .links import Link


@dataclass(frozen=True)
class Lag:
    """How far a consumer group is behind, over all its streams.

    :ivar length: entries in the streams, settled ones that nobody trimmed included.
    :ivar waiting: entries that were delivered to no consumer yet; None where the server cannot say.
    :ivar pending: entries that were delivered and not settled.
    :ivar oldest_pending_age: seconds since the oldest of these was added, by its id; None without.
    :ivar streams: the same for each stream by name.
    """

    length: int
    waiting: int | None
    pending: int
    oldest_pending_age: float | None
    streams: Mapping[str, Lag] = field(default_factory=dict[str, "Lag"], repr=False)


def measure(link: Link, group: Group) -> Lag:
    """Ask the server how far a group is behind.

    :raises redis.exceptions.RedisError: it cannot be asked.
    """
    by_stream: dict[str, Lag] = {}
    for name, key in group.keys.items():
        now, length, pending, groups = link.call(
            ("TIME",), ("XLEN", key), ("XPENDING", key, group.name), ("XINFO", "GROUPS", key)
        )
        for reply in (now, length):
            link.verify(reply)
        for reply in (pending, groups):
            if not is_no_group(reply) and not is_no_key(reply):
                link.verify(reply)
        by_stream[name] = Lag(
            length=length,
            waiting=length if is_no_key(groups) else _waiting(groups, group.name, length),
            pending=0 if isinstance(pending, ServerError) else pending[0],
            oldest_pending_age=None if isinstance(pending, ServerError) else _age(pending[1], now),
        )
    return _total(by_stream)


def _waiting(groups: list[list[Any]], group: bytes, length: int) -> int | None:
    """Find the group's lag, which Redis has from version 7 on; all waits for one that is absent."""
    for flat in groups:
        info = dict(zip(flat[::2], flat[1::2], strict=False))
        if info[b"name"] == group:
            lag: int | None = info.get(b"lag")
            return lag
    return length


def _age(entry_id: bytes | None, now: list[bytes]) -> float | None:
    if entry_id is None:
        return None
    added = int(entry_id.partition(b"-")[0]) / 1000
    return max(0.0, int(now[0]) + int(now[1]) / 1_000_000 - added)


def _total(by_stream: Mapping[str, Lag]) -> Lag:
    lags = by_stream.values()
    waiting = _known(lag.waiting for lag in lags)
    ages = [lag.oldest_pending_age for lag in lags if lag.oldest_pending_age is not None]
    return Lag(
        length=sum(lag.length for lag in lags),
        waiting=None if waiting is None else sum(waiting),
        pending=sum(lag.pending for lag in lags),
        oldest_pending_age=max(ages, default=None),
        streams=by_stream,
    )


def _known(numbers: Iterable[int | None]) -> list[int] | None:
    known: list[int] = []
    for number in numbers:
        if number is None:
            return None
        known.append(number)
    return known
