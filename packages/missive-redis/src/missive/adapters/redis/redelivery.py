"""Redelivery of entries that were nacked, or whose consumer died."""

from __future__ import annotations

import logging
import random
from collections import deque
from time import monotonic
from typing import Any, NamedTuple

from .groups import Group, is_no_group
from .ledger import EntryName, Ledger
from .links import Link

logger = logging.getLogger("missive.adapters.redis.redelivery")

#: How many candidates one look for them brings. They are claimed one by one, and other consumers
#: look at the same ones, so many would be looked at in vain.
CANDIDATES = 32
#: The longest time between two looks, in seconds.
LOOK_INTERVAL_LONGEST = 5.0


class Candidate(NamedTuple):
    """An entry that seems to be due.

    :ivar deliveries: how often it was delivered.
    :ivar min_idle: how long it must have been idle when it is claimed, in milliseconds.
    """

    stream: bytes
    entry_id: bytes
    deliveries: int
    min_idle: int


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

    An entry that was delivered twice or more, or is delivered for the last time, and was not nacked
    by this very consumer, is a suspect: of these, one at a time is handled.

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
        self._cursors: dict[bytes, bytes] = {}
        self.vanished = 0
        self._unreported = 0

    @property
    def pause(self) -> float:
        """How many seconds there is nothing to do for ``claim``."""
        return 0.0 if self._candidates else max(0.0, self._look_at - monotonic())

    def begin(self) -> None:
        """Begin a run: the first look comes at a moment of this process's own."""
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
        if self._candidates or now < self._look_at:
            return
        if not self._cursors:  # all that was due has been looked at
            self.report()
        group, held = self._group, self._ledger.names_held()
        keys = list(group.origins)
        commands: list[tuple[str | bytes | int, ...]] = [
            (
                *("XPENDING", key, group.name, "IDLE", self._min_idle),
                *(self._cursors.get(key, b"-"), "+", CANDIDATES),
            )
            for key in keys
        ]
        more = False
        for key, reply in zip(keys, link.call(*commands), strict=True):
            self._cursors.pop(key, None)
            if is_no_group(reply):
                continue  # the next read finds out too, and mends it
            link.verify(reply)
            for entry_id, _, _, count in reply:
                if (key, entry_id) not in held:
                    self._candidates.append(Candidate(key, entry_id, count, self._min_idle))
            if len(reply) == CANDIDATES:
                self._cursors[key] = b"(" + reply[-1][0]
                more = True
        self._found_at = monotonic()
        self._look_at = self._found_at + (0.0 if more else self._interval)

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
            nacked = self._ledger.was_nacked(name, candidate.deliveries)
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
            if found:
                self._ledger.forget_nack(name)
                count = candidate.deliveries if spent else candidate.deliveries + 1
                return Claimed(*name, found[0][1], count, spent, suspect)
            if isinstance(before, list) and before and before[0][2] >= candidate.min_idle:
                # It was there to be claimed; so Redis has found it deleted, and no longer pending.
                self._ledger.forget_nack(name)
                self._note_vanished()
        return None

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
