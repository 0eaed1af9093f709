"""The reader: what the server delivers, as entries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any

from .consumer import BLOCK, Consumer
from .entries import RejectedEntry, StreamEntry
from .errors import Outage, RedisUnavailable
from .groups import Group, is_no_group
from .ledger import Ledger
from .links import Link
from .members import Members
from .names import decode
from .progress import Progress
from .redelivery import Claimed, Redelivery
from .replies import UNFINISHED
from .trimming import Trimmer

#: The shortest time that a read waits at the server, in seconds, while an entry is due that cannot
#: be claimed yet.
SHORTEST_BLOCK = 0.02


class Reader:
    """Reads new entries many at a time, and claims those that are due again one by one.

    :param body_field: the field that is the message.
    :param batch_size: how many entries of each stream are read at once, at most.
    :param outage: told when Redis serves again.
    """

    def __init__(
        self,
        group: Group,
        ledger: Ledger,
        progress: Progress,
        redelivery: Redelivery,
        members: Members,
        trimmer: Trimmer,
        outage: Outage,
        *,
        body_field: bytes,
        batch_size: int,
    ) -> None:
        self._group = group
        self._ledger = ledger
        self._progress = progress
        self._redelivery = redelivery
        self._members = members
        self._trimmer = trimmer
        self._outage = outage
        self._body_field = body_field
        self._batch_size = batch_size
        self._restored = False  # the group was made anew, and nothing was read since
        self._claims_in_a_row = 0

    def begin(self) -> None:
        """Note that there is a new connection."""
        self._restored = False
        self._redelivery.forget()

    def receive(
        self, consumer: Consumer, timeout: float, wait: Callable[[float, Any], bool], room: int
    ) -> Sequence[StreamEntry]:
        """Return the next entries: one that is due again, or else new ones.

        :param timeout: how long to wait for some, in seconds.
        :param wait: waits until a file is readable, for so many seconds at most.
        :param room: for how many there is room; at least one of each stream is read.
        :raises redis.exceptions.RedisError: the connection is lost.
        """
        if consumer.is_reading:
            timeout = self._until_due(consumer, timeout)
        else:
            self._progress.observe_in_time(consumer.link)
            claimed = self._claim(consumer)
            if claimed is not None:
                return (claimed,)
            seconds = min(BLOCK, max(self._redelivery.pause, SHORTEST_BLOCK))
            of_each = max(1, room // len(self._group.origins))
            consumer.start_read(min(self._batch_size, of_each), seconds)
        deadline = monotonic() + timeout
        while True:
            left = deadline - monotonic()
            readable = wait(max(0.0, left), consumer.link.socket)
            reply = consumer.poll(readable=readable)
            if reply is not UNFINISHED:
                return self._entries(consumer.link, reply)
            if not readable or left <= 0:  # a long reply must not keep the loop from its leases
                return ()

    def _until_due(self, consumer: Consumer, timeout: float) -> float:
        """Return how long to wait for a read; end it early where a delayed entry is due sooner."""
        seconds = self._redelivery.seconds_to_due
        if seconds > 0.0:
            return min(timeout, seconds)
        consumer.unblock()
        return timeout

    def _entries(self, link: Link, reply: Any) -> list[StreamEntry]:
        """Turn the reply to a read into entries, or mend what it complains of."""
        if is_no_group(reply):
            if self._restored:  # somebody deletes it again and again, or it does not stay
                raise RedisUnavailable(f"NOGROUP: the group {self._group.title} does not stay")
            self._progress.restore(link)
            self._restored = True
            return []
        link.verify(reply)
        self._restored = False
        self._outage.end()
        entries: list[StreamEntry] = []
        body_field, progress = self._body_field, self._progress
        for key, items in reply or ():
            source, prefix = self._group.origins[key]
            entries += [
                StreamEntry(key, source, prefix, entry_id, flat, body_field, 1)
                for entry_id, flat in progress.take(link, key, items)
            ]
        for index, entry in enumerate(entries):
            if entry.body_at < 0:
                entries[index] = self._without_body(entry)
        if entries:
            self._ledger.take_in(entries, self._ledger.reading_since)
            self._claims_in_a_row = 0
        self._ledger.reading_since = None
        return entries

    def _claim(self, consumer: Consumer) -> StreamEntry | None:
        """Claim one entry that is due again; new ones have their turn after as many as they bring."""
        redelivery = self._redelivery
        if redelivery.pause > 0 or self._claims_in_a_row >= self._batch_size:
            self._claims_in_a_row = 0
            return None
        self._trimmer.trim(consumer)
        if self._ledger.owes_delays:
            consumer.tell()  # else the server would not name what is due
        redelivery.look(consumer.link)
        self._members.bury(consumer.link)
        claimed = redelivery.claim(consumer.link)
        if claimed is None:
            return None
        self._claims_in_a_row += 1
        entry = self._claimed(claimed)
        self._ledger.take_in((entry,))
        if claimed.suspect:
            self._ledger.suspect = entry
        return entry

    def _claimed(self, claimed: Claimed) -> StreamEntry:
        entry = self._entry(claimed.stream, claimed.entry_id, claimed.flat, claimed.deliveries)
        if claimed.spent:
            times = "1 time" if claimed.deliveries == 1 else f"{claimed.deliveries} times"
            reason = f"delivered {times} without being settled"
            return RejectedEntry(entry, reason=reason, stage="settling", counted=False)
        return self._without_body(entry) if entry.body_at < 0 else entry

    def _entry(self, key: bytes, entry_id: bytes, flat: list[bytes], count: int) -> StreamEntry:
        source, prefix = self._group.origins[key]
        return StreamEntry(key, source, prefix, entry_id, flat, self._body_field, count)

    def _without_body(self, entry: StreamEntry) -> RejectedEntry:
        reason = f"the entry has no field {decode(self._body_field)!r}"
        return RejectedEntry(entry, reason=reason, stage="decoding")

    def finish(self, consumer: Consumer) -> Iterable[StreamEntry]:
        """End the read that is under way, and return what it still brings.

        :raises redis.exceptions.RedisError: the connection is lost.
        """
        late: list[StreamEntry] = []
        for key, items in consumer.finish_read():
            for entry_id, flat in self._progress.sift(consumer.link, key, items):
                late.append(self._entry(key, entry_id, flat, 1))
        return late
