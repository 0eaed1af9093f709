"""Redelivery of entries that were nacked, or whose consumer died."""

from __future__ import annotations

import logging
import random
from collections import deque
from heapq import heappop, heappush
from math import inf
from time import monotonic
from typing import Any, NamedTuple, cast

from .groups import DELAYED, DUE_IDLE, Group, is_no_group, is_no_key
from .ledger import EntryName, Ledger
from .links import Link

logger = logging.getLogger("missive.adapters.redis.redelivery")

#: How many candidates one look for them brings. They are claimed one by one, and other consumers
#: look at the same ones, so many would be looked at in vain.
CANDIDATES = 32
#: The longest time between two looks, in seconds.
LOOK_INTERVAL_LONGEST = 5.0
#: The shortest such time where each of many entries has a delay of its own.
LOOK_INTERVAL_SHORTEST = 0.02
#: A look finds the delayed entries that are due within so many milliseconds too, since Redis
#: began to count their delays a little after this process did.
LOOK_AHEAD = 100


class Candidate(NamedTuple):
    """An entry that seems to be due.

    :ivar deliveries: how often it was delivered.
    :ivar min_idle: how long it must have been idle when it is claimed, in milliseconds.
    :ivar delayed: whether it was nacked with a delay.
    """

    stream: bytes
    entry_id: bytes
    deliveries: int
    min_idle: int
    delayed: bool = False


class Claimed(NamedTuple):
    """An entry that was claimed.

    :ivar deliveries: how often it was delivered, this time included unless it is ``spent``.
    :ivar spent: it was delivered too often, and must not be handled.
    :ivar suspect: it may have killed the process that had it.
    """

    stream: bytes
    entry_id: bytes
    flat: list[bytes]
    deliveries: int
    spent: bool
    suspect: bool


class Redelivery:
    """Finds entries that were idle for long, and claims them one at a time.

    XAUTOCLAIM would fetch many at once and count a delivery for each; if then one of them kills the
    process, all have been delivered once more, and after a few such deaths the innocent would count
    as spent together with the guilty. So the counts are looked at first (XPENDING), and an entry is
    claimed just before it is handled (XCLAIM, which fails if somebody else was quicker).

    An entry that was nacked with a delay belongs to a consumer of its own until it is claimed; all
    that its idle time says is when it is due.

    An entry that was delivered twice or more, or is delivered for the last time, and was nacked
    neither with a delay nor by this very consumer, is a suspect: of these, one at a time is handled.

    :param ledger: what this consumer has in flight or has nacked.
    :param retry_after: how long an entry must be idle, in seconds.
    :param max_deliveries: how often an entry is delivered at most.

    :ivar vanished: how many pending entries were found deleted before they were handled.
    :ivar trusted: an entry that was delivered more often than this may be a suspect.
    """

    def __init__(
        self, group: Group, ledger: Ledger, retry_after: float, max_deliveries: int
    ) -> None:
        self._group = group
        self._ledger = ledger
        self._retry_after = retry_after
        self._min_idle = max(1, round(retry_after * 1000))
        self._max_deliveries = max_deliveries
        self.trusted = max(1, min(2, max_deliveries - 1))
        self._interval = min(retry_after / 6, LOOK_INTERVAL_LONGEST)
        self._look_at = 0.0
        self._candidates: deque[Candidate] = deque()
        self._found_at = 0.0
        self._dues: list[float] = []  # when delayed entries of this consumer's own are due
        self._not_before = 0.0
        #: Where to go on, by stream and consumer.
        self._cursors: dict[tuple[bytes, bytes], bytes] = {}
        self.vanished = 0
        self._unreported = 0

    @property
    def pause(self) -> float:
        """How many seconds there is nothing to do for ``claim``."""
        now = monotonic()
        if self._candidates or self._cursors:
            return 0.0
        return max(0.0, min(self._look_at - now, self.seconds_to_due))

    @property
    def seconds_to_due(self) -> float:
        """In how many seconds one of this consumer's own delays ends; infinite without any."""
        if not self._dues:
            return inf
        return max(0.0, max(self._dues[0], self._not_before) - monotonic())

    def due_in(self, seconds: float) -> None:
        """Look for delayed entries in so many seconds."""
        heappush(self._dues, monotonic() + seconds)

    def begin(self) -> None:
        """Begin a run: the first look comes at a moment of this process's own."""
        self._dues.clear()
        self._look_at = monotonic() + self._interval * random.random()

    def forget(self) -> None:
        """Forget what was found on a connection that is gone."""
        self._candidates.clear()
        self._cursors.clear()

    def recover(self, link: Link) -> None:
        """Find what the server gave to this consumer in an answer that was lost with its connection.

        :raises redis.exceptions.RedisError: the connection is lost.
        """
        group = self._group
        in_hand = self._ledger.names_in_hand()
        keys = list(group.origins)
        commands = [("XPENDING", key, group.name, "-", "+", 1000, group.consumer) for key in keys]
        for key, reply in zip(keys, link.check(*commands), strict=True):
            for entry_id, _, idle, count in reply:
                name = (key, entry_id)
                if name not in in_hand and not self._ledger.was_nacked(name, count):
                    # Who claims it in the meantime sets its idle time back, and keeps it.
                    self._candidates.append(Candidate(key, entry_id, count, idle))
        self._found_at = monotonic()

    def look(self, link: Link) -> None:
        """Look for entries that are due, if it is time to.

        :raises redis.exceptions.RedisError: the connection is lost.
        """
        now = monotonic()
        if self._candidates and now - self._found_at > self._retry_after / 2:
            self._candidates.clear()  # somebody may have had them since, and their counts be old
            self._look_at = now
        if self.pause > 0 or self._candidates:
            return
        if not self._cursors:  # all that was due has been looked at
            self.report()
        if self._cursors:
            owners = list(self._cursors)
        elif now >= self._look_at:
            owners = self._owners(link)
        else:  # only some delayed entries of this consumer's own are due
            owners = [(key, DELAYED) for key in self._group.origins]
        if now >= self._look_at:
            self._look_at = now + self._interval
        while self._dues and self._dues[0] <= now:
            heappop(self._dues)
        self._search(link, owners)
        self._found_at = monotonic()
        self._not_before = self._found_at + LOOK_INTERVAL_SHORTEST

    def _owners(self, link: Link) -> list[tuple[bytes, bytes]]:
        """Return the consumers that have something pending, each with the key of a stream.

        One by one, since entries that are delayed for hours would be looked at with all others.
        """
        name, keys = self._group.name, list(self._group.origins)
        owners: list[tuple[bytes, bytes]] = []
        replies = link.call(*[("XINFO", "CONSUMERS", key, name) for key in keys])
        for key, reply in zip(keys, replies, strict=True):
            if is_no_group(reply) or is_no_key(reply):
                continue  # the next read finds out too, and mends it
            link.verify(reply)
            infos = [dict(zip(flat[::2], flat[1::2], strict=False)) for flat in reply]
            owners += [(key, info[b"name"]) for info in infos if info[b"pending"]]
        return owners

    def _search(self, link: Link, owners: list[tuple[bytes, bytes]]) -> None:
        """Ask for what some consumers have had pending for long enough."""
        commands = [
            (
                *("XPENDING", key, self._group.name),
                *("IDLE", DUE_IDLE - LOOK_AHEAD if owner == DELAYED else self._min_idle),
                *(self._cursors.get((key, owner), b"-"), "+", CANDIDATES, owner),
            )
            for key, owner in owners
        ]
        held = self._ledger.names_held()
        cursors: dict[tuple[bytes, bytes], bytes] = {}
        soonest = DUE_IDLE
        for (key, owner), reply in zip(owners, link.call(*commands), strict=True):
            if is_no_group(reply):
                continue
            link.verify(reply)
            for entry_id, _, idle, count in sorted(reply, key=_by_idle):
                if owner == DELAYED and idle < DUE_IDLE:
                    soonest = min(soonest, DUE_IDLE - idle)
                elif (key, entry_id) not in held:
                    self._candidates.append(self._candidate(key, owner, entry_id, count))
            if len(reply) == CANDIDATES:
                cursors[key, owner] = b"(" + reply[-1][0]
        self._cursors = cursors
        if soonest < DUE_IDLE:
            self.due_in(soonest / 1000)

    def _candidate(self, key: bytes, owner: bytes, entry_id: bytes, count: int) -> Candidate:
        delayed = owner == DELAYED
        return Candidate(key, entry_id, count, DUE_IDLE if delayed else self._min_idle, delayed)

    def claim(self, link: Link) -> Claimed | None:
        """Claim the next entry that is due, but no suspect while another is in flight.

        :returns: the entry; None where nothing is due, or where others were quicker.
        :raises redis.exceptions.RedisError: the connection is lost.
        """
        # Looked at again: a candidate that was found a while ago may be held since.
        held = self._ledger.names_held() if self._candidates else set[EntryName]()
        for _ in range(len(self._candidates)):
            candidate = self._candidates.popleft()
            name = (candidate.stream, candidate.entry_id)
            if name in held:
                continue
            nacked = candidate.delayed or self._ledger.was_nacked(name, candidate.deliveries)
            suspect = candidate.deliveries >= self.trusted and not nacked
            if suspect and self._ledger.suspect is not None:
                self._candidates.append(candidate)
                continue
            spent = candidate.deliveries >= self._max_deliveries
            # A spent one is no more delivered, and so not counted.
            retry_count = ("RETRYCOUNT", candidate.deliveries) if spent else ()
            group = self._group
            before, reply = link.call(
                (*("XPENDING", candidate.stream, group.name), *(candidate.entry_id,) * 2, 1),
                (
                    *("XCLAIM", candidate.stream, group.name, group.consumer, candidate.min_idle),
                    *(candidate.entry_id, *retry_count),
                ),
            )
            if is_no_group(reply):
                self._candidates.clear()
                return None
            link.verify(reply)
            found: list[Any] = [item for item in reply if item is not None and item[1] is not None]
            if found and self._was_delayed_since(link, candidate, before):
                continue
            if found:
                self._ledger.forget_nack(name)
                count = candidate.deliveries if spent else candidate.deliveries + 1
                return Claimed(*name, found[0][1], count, spent, suspect)
            if isinstance(before, list) and before and before[0][2] >= candidate.min_idle:
                # It was there to be claimed; so Redis has found it deleted, and no longer pending.
                self._ledger.forget_nack(name)
                self._note_vanished()
        return None

    def _was_delayed_since(self, link: Link, candidate: Candidate, before: Any) -> bool:
        """Return whether an entry had been delayed since it was found, and give it back if so.

        :param before: what was pending just before it was claimed.
        """
        if not isinstance(before, list) or not before:
            return False
        ((_, owner, idle, count),) = cast("list[tuple[bytes, bytes, int, int]]", before)
        if owner != DELAYED or idle >= DUE_IDLE:
            return False
        ids = {candidate.stream: [candidate.entry_id]}
        options = ("IDLE", idle, "RETRYCOUNT", count)
        link.check(*self._group.keeps(ids, *options, consumer=DELAYED))
        return True

    def _note_vanished(self) -> None:
        self.vanished += 1
        self._unreported += 1

    def report(self) -> None:
        """Log how many pending entries were found deleted since the last such line, if any."""
        if self._unreported:
            logger.error(
                "%d pending entries of the group %s were deleted or trimmed from their stream before"
                " they were handled, and are lost",
                *(self._unreported, self._group.title),
            )
            self._unreported = 0


def _by_idle(pending: list[Any]) -> int:
    """Return what sorts a pending entry: the longer it has been idle, the sooner."""
    idle: int = pending[2]
    return -idle
