"""Members: the names of consumers in a group, and how those that are not needed any more go."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from time import monotonic
from typing import Any, cast

from .consumer import BLOCK
from .errors import ServerError
from .groups import Group
from .links import Link

logger = logging.getLogger("missive.adapters.redis.members")

#: A name with nothing pending is removed after so many times ``retry_after``, and after so many
#: of the longest reads: a consumer that is alive reads, or keeps what it has, far more often.
IDLE_LEASES, IDLE_READS = 10, 5

# In one step, since a consumer is removed together with what is pending for it: what it reads
# between a look and the removal would be lost.
_REMOVE = """
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if #pending > 0 then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
"""


def unique_name() -> str:
    """Return a name that tells an operator where the consumer runs, and that no other has."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


class Members:
    """Removes names of consumers from a group: the own one at the end, those of the dead in time.

    :param retry_after: how long an entry is left to its consumer, in seconds.
    """

    def __init__(self, group: Group, retry_after: float) -> None:
        self._group = group
        self._idle = max(IDLE_LEASES * retry_after, IDLE_READS * BLOCK)
        self._next = 0.0
        self._may_remove = True  # whether the user may run scripts, as far as is known

    def leave(self, link: Link, *, is_unique: bool) -> None:
        """Remove the own name wherever nothing is pending for it.

        :param is_unique: no other consumer can have the name, so that no entry can arrive meanwhile.
        :raises redis.exceptions.RedisError: the connection is lost.
        """
        group = self._group
        if not is_unique:
            for key in group.origins:
                self._remove(link, key, group.consumer)
            return
        keys = list(group.origins)
        replies = link.call(
            *[("XPENDING", key, group.name, "-", "+", 1, group.consumer) for key in keys]
        )
        idle = [key for key, reply in zip(keys, replies, strict=True) if reply == []]
        if idle:
            link.call(*[("XGROUP", "DELCONSUMER", key, group.name, group.consumer) for key in idle])

    def bury(self, link: Link) -> None:
        """Remove names that were idle for long and have nothing pending, if it is time to look.

        Where the user may not run scripts, they stay.

        :raises redis.exceptions.RedisError: the connection is lost.
        """
        now = monotonic()
        if now < self._next or not self._may_remove:
            return
        self._next = now + self._idle / 2
        for key, (source, _) in self._group.origins.items():
            (reply,) = link.call(("XINFO", "CONSUMERS", key, self._group.name))
            if isinstance(reply, ServerError):  # not allowed, or the group has just gone
                continue
            dead = [name for name in map(self._dead, cast("list[list[Any]]", reply)) if name]
            removed = sum(self._remove(link, key, name) for name in dead)
            if removed:
                logger.info(
                    "removed %d consumer(s) that were idle for %.0f s or more, with nothing pending,"
                    " from the group %s of the stream %s",
                    *(removed, self._idle, self._group.title, source),
                )

    def _dead(self, flat: list[Any]) -> bytes | None:
        """Return the name of a consumer that seems to be dead, and has nothing pending."""
        info = dict(zip(flat[::2], flat[1::2], strict=False))
        is_dead = not info[b"pending"] and info[b"idle"] >= self._idle * 1000
        name: bytes = info[b"name"]
        return name if is_dead and name != self._group.consumer else None

    def _remove(self, link: Link, key: bytes, consumer: bytes) -> bool:
        (reply,) = link.call(("EVAL", _REMOVE, 1, key, self._group.name, consumer))
        if isinstance(reply, ServerError) and reply.code == "NOPERM":
            self._may_remove = False
        return bool(reply == 1)
