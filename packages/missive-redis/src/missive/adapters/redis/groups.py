"""The consumer group: which streams are read, as whom, and the commands that say so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from redis import exceptions

from .errors import ServerError
from .links import Link
from .names import encode

if TYPE_CHECKING:
    from .links import Command

#: How many ids one command names at most.
IDS_A_COMMAND = 1000

#: An id that no entry can have, for commands that shall have no effect.
NO_ID = b"0-0"

#: The consumer that entries nacked with a delay belong to, until they are due.
DELAYED = b"missive-delayed"
#: What they have been idle for when they are due, in milliseconds: the longest delay, ten years.
#: Redis sets no idle time below 0, so it counts up to this instead of down to nothing.
DUE_IDLE = 3650 * 86_400_000

#: Ids of entries by the key of their stream.
Ids = Mapping[bytes, list[bytes]]


class Nack(NamedTuple):
    """An entry that is to be redelivered.

    :ivar due: when, on the clock of ``time.monotonic``; None: after ``retry_after``.
    """

    stream: bytes
    entry_id: bytes
    due: float | None


class Group:
    """One consumer of one consumer group over one or more streams.

    :param streams: the names of the streams.
    :param group: the name of the group.
    :param start: from where a group that does not exist yet reads: an id, or ``"$"`` for what is new.
    :param trims: whether the streams will be trimmed.

    :ivar name: the name of the group, as Redis has it.
    :ivar title: the same as text.
    :ivar consumer: the name of the consumer, decided when a run begins: a process that forks after the
        adapter was built would be one consumer many times.
    :ivar keys: the key of each stream by its name.
    """

    def __init__(
        self, streams: Iterable[str], group: str, start: str, *, trims: bool = False
    ) -> None:
        self.title = group
        self.name = encode(group)
        self.consumer = b""
        self.start = start
        self._trims = trims
        self.keys = {name: encode(name) for name in streams}
        #: For each key: the stream's name, and what its entries' message ids begin with.
        self.origins = {
            key: (name, b"%s/%s/" % (key, self.name)) for name, key in self.keys.items()
        }
        #: The id of the last entry of each stream that was read and parsed.
        self.seen: dict[bytes, bytes] = {}

    # Commands.

    def read(self, count: int, block: int) -> Command:
        """Return the command that reads new entries.

        :param count: at most so many of each stream.
        :param block: wait so many milliseconds if there is nothing.
        """
        keys = self.keys.values()
        command: list[str | bytes | int] = ["XREADGROUP", "GROUP", self.name, self.consumer]
        command += ["COUNT", count, "BLOCK", block, "STREAMS", *keys, *(">" for _ in keys)]
        return command

    def acks(self, ids: Ids) -> list[Command]:
        """Return the commands that ack entries."""
        return [
            ("XACK", key, self.name, *some[at : at + IDS_A_COMMAND])
            for key, some in ids.items()
            for at in range(0, len(some), IDS_A_COMMAND)
        ]

    def keeps(self, ids: Ids, *more: str | int, consumer: bytes | None = None) -> list[Command]:
        """Return the commands that set back how long entries have been idle.

        They count as no delivery and fetch nothing (JUSTID).

        :param more: further options of XCLAIM.
        :param consumer: whose they are from now on; this one's unless given.
        """
        return [
            (
                *("XCLAIM", key, self.name, consumer or self.consumer, 0),
                *(*some[at : at + IDS_A_COMMAND], *more, "JUSTID"),
            )
            for key, some in ids.items()
            for at in range(0, len(some), IDS_A_COMMAND)
        ]

    def nacks(self, nacks: Iterable[Nack], now: float) -> list[Command]:
        """Return the commands that leave entries pending until they are due.

        :param now: the time, on the clock of ``time.monotonic``.
        """
        at_once: dict[bytes, list[bytes]] = {}
        delayed: dict[int, dict[bytes, list[bytes]]] = {}
        for key, entry_id, due in nacks:
            left = None if due is None else max(0, ceil((due - now) * 1000))
            ids = at_once if left is None else delayed.setdefault(DUE_IDLE - left, {})
            ids.setdefault(key, []).append(entry_id)
        commands = self.keeps(at_once)
        for idle, ids in delayed.items():
            commands += self.keeps(ids, "IDLE", idle, consumer=DELAYED)
        return commands

    # Conversations.

    def absent(self, link: Link) -> list[bytes]:
        """Return the keys of the streams that the group does not exist for.

        :raises RedisRefused: a key is no stream, or may not be asked for.
        :raises redis.exceptions.RedisError: Redis cannot be asked now.
        """
        absent: list[bytes] = []
        looks = [("XPENDING", key, self.name) for key in self.origins]
        for key, reply in zip(self.origins, link.call(*looks), strict=True):
            if is_no_group(reply):
                absent.append(key)
            else:
                link.verify(reply)
        return absent

    def check(self, link: Link) -> None:
        """See that all that will be needed is allowed, by commands that have no effect.

        Nothing is created here: a server that is full refuses that, while reading, acking and
        trimming make room.

        :raises RedisRefused: something is not.
        :raises redis.exceptions.RedisError: Redis cannot be asked now.
        """
        nothing = {key: [NO_ID] for key in self.origins}
        link.check(
            *self.acks(nothing),
            *self.keeps(nothing),
            *[("XINFO", "CONSUMERS", key, self.name) for key in self.origins],
            *[("XTRIM", key, "MINID", NO_ID) for key in self.origins if self._trims],
        )

    def create(self, link: Link, starts: Mapping[bytes, str]) -> list[bytes]:
        """Create the group for streams, which are made too; return the keys where it was absent.

        :param starts: for the key of each stream, the id behind which the group begins.
        :raises RedisRefused: it may not be created.
        :raises redis.exceptions.RedisError: it cannot be created now.
        """
        commands = [
            ("XGROUP", "CREATE", key, self.name, start, "MKSTREAM") for key, start in starts.items()
        ]
        created: list[bytes] = []
        for key, reply in zip(starts, link.call(*commands), strict=True):
            if isinstance(reply, ServerError) and reply.code == "BUSYGROUP":
                continue  # it exists
            link.verify(reply)
            created.append(key)
        return created


def is_no_group(reply: object) -> bool:
    """Whether a reply says that the group, or its stream, does not exist (any more).

    Redis answers a blocked read with UNBLOCKED, or with NOGROUP, when its stream is deleted.
    """
    return isinstance(reply, exceptions.ResponseError) and str(reply).startswith(
        ("NOGROUP", "UNBLOCKED")
    )


def is_no_key(reply: object) -> bool:
    """Whether a reply says that there is no such stream."""
    return isinstance(reply, ServerError) and str(reply).startswith("ERR no such key")
