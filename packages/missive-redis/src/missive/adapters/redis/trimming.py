"""Trimming: entries that every group of a stream has settled are deleted from it."""

from __future__ import annotations

from typing import Any, cast

from .consumer import Consumer
from .errors import ServerError
from .groups import Group, is_no_key
from .ids import Order, first_needed, id_of
from .links import Link


class Trimmer:
    """Trims the streams of a group, when something was settled since the last time.

    :param is_on: whether they are to be trimmed at all.

    :ivar wanted: whether something was settled.
    """

    def __init__(self, group: Group, *, is_on: bool) -> None:
        self._group = group
        self._is_on = is_on
        self.wanted = False

    def trim(self, consumer: Consumer) -> None:
        """Trim, if it is wanted.

        :raises redis.exceptions.RedisError: the connection is lost, or trimming is not allowed.
        """
        if self._is_on and self.wanted:
            consumer.tell()  # what waits to be acked would not be deleted
            self.wanted = False
            for key in self._group.origins:
                trim(consumer.link, key)


def trim(link: Link, key: bytes) -> int:
    """Delete the entries of a stream that no group has pending or still to read.

    What lies before the first pending entry of each group, or before what it reads next, is settled:
    a group's place only ever moves forward.

    :returns: how many were deleted.
    :raises redis.exceptions.RedisError: the connection is lost, or trimming is not allowed.
    """
    (reply,) = link.call(("XINFO", "GROUPS", key))
    if is_no_key(reply):
        return 0
    link.verify(reply)
    groups = cast("list[list[Any]]", reply)
    floors = [_floor(link, key, dict(zip(flat[::2], flat[1::2], strict=False))) for flat in groups]
    if not floors:
        return 0
    deleted: int
    (deleted,) = link.check(("XTRIM", key, "MINID", "=", id_of(min(floors))))
    return deleted


def _floor(link: Link, key: bytes, group: dict[bytes, Any]) -> Order:
    """Return the first id that a group still needs."""
    # Asked after the place was: what is delivered in between lies behind that place.
    (summary,) = link.call(("XPENDING", key, group[b"name"]))
    if isinstance(summary, ServerError):  # the group has just gone: next time it has no say
        return (0, 0)
    return first_needed(group[b"last-delivered-id"], summary[1])
