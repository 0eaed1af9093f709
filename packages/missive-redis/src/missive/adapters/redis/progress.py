"""Progress: how far a group is, so that one that is deleted is created again where it was."""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from time import monotonic
from typing import Any, NamedTuple

from .errors import ServerError
from .groups import Group, Ids, is_no_group
from .ids import Order, before, first_needed, id_of, order
from .ledger import Ledger
from .links import Link

logger = logging.getLogger("missive.adapters.redis.progress")

#: How often the server is asked how far the group is, in seconds; sooner after so many settled
#: entries, of which twice as many are remembered at most.
INTERVAL = 2.0
SETTLED_MANY = 50_000


class Again(NamedTuple):
    """What is delivered again after a group was created anew, and what of it is settled.

    :ivar settled: the ids of entries that were settled here.
    :ivar last: the place of the last entry that was there.
    """

    settled: set[bytes]
    last: Order


class Progress:
    """Knows up to where all was settled, and what this consumer has settled since.

    With a group Redis forgets what it has delivered, what of that is settled, and how often the rest
    was delivered. So the server is asked now and then for the place up to which every consumer has
    settled all. A group that is gone is created again there, so that nothing that was nacked or in
    flight anywhere is lost; and of what is delivered again this consumer leaves out what it has
    settled, has in flight or has nacked. What other consumers settled since that place was asked for
    is handled again.
    """

    def __init__(self, group: Group, ledger: Ledger) -> None:
        self._group = group
        self._ledger = ledger
        self._floors: dict[bytes, Order] = {}
        # So many entries were added to each stream at least, and so many of them read at least.
        self._added = dict.fromkeys(group.origins, 0)
        self._read = dict.fromkeys(group.origins, 0)
        self._last_read: dict[bytes, tuple[bytes, int]] = {}  # an id, and a hash of the entry
        self._settled: deque[tuple[bytes, list[bytes]]] = deque()
        self._settled_count = 0
        self._again: dict[bytes, Again] = {}
        self._is_known = False  # whether the group was there once
        self._next = 0.0

    # Asking.

    def prepare(self, link: Link) -> None:
        """Create the group where it is absent, and ask how far it is.

        :raises RedisRefused: something that is needed is not allowed.
        :raises redis.exceptions.RedisError: Redis cannot be asked now.
        """
        absent = self._group.absent(link)
        if absent and self._is_known:
            self._resume(link, absent)
        elif absent:
            self._group.create(link, dict.fromkeys(absent, self._group.start))
        self._group.check(link)
        if not self._is_known:
            for key in self._group.origins:
                self._added[key] = self._ask(link, key).get(b"entries-added") or 0
        self._is_known = True
        self.observe(link)

    def observe(self, link: Link) -> None:
        """Ask how far the group is.

        :raises redis.exceptions.RedisError: the connection is lost.
        """
        name = self._group.name
        for key in self._group.origins:
            groups, summary = link.call(("XINFO", "GROUPS", key), ("XPENDING", key, name))
            if isinstance(groups, ServerError) or isinstance(summary, ServerError):
                continue  # not allowed, or it has just gone
            for flat in groups:
                info: dict[bytes, Any] = dict(zip(flat[::2], flat[1::2], strict=False))
                if info[b"name"] == name:
                    self._note(key, info, summary[1])
        self._forget()
        self._next = monotonic() + INTERVAL

    def _note(self, key: bytes, info: Mapping[bytes, Any], first_pending: bytes | None) -> None:
        delivered: bytes = info[b"last-delivered-id"]
        self._floors[key] = before(first_needed(delivered, first_pending))
        self._read[key] = info.get(b"entries-read") or self._read[key]
        again = self._again.get(key)
        if again is not None and order(delivered) >= again.last:
            del self._again[key]  # all that was there has been delivered again

    def observe_in_time(self, link: Link) -> None:
        """Ask how far the group is, if it was not asked for a while.

        :raises redis.exceptions.RedisError: the connection is lost.
        """
        if self._settled_count >= SETTLED_MANY or monotonic() >= self._next:
            self.observe(link)

    def settled(self, acks: Ids) -> None:
        """Note that the server was told that entries are settled."""
        for key, ids in acks.items():
            if ids:
                self._settled.append((key, ids))
                self._settled_count += len(ids)
                if key in self._again:
                    self._again[key].settled.update(ids)

    def _forget(self) -> None:
        """Forget what was settled up to where everything is, and what is too much to remember."""
        # By the last of each list alone: they are nearly in order, and it is done for every entry.
        self._settled = deque(
            (key, ids)
            for key, ids in self._settled
            if key not in self._floors or order(ids[-1]) > self._floors[key]
        )
        self._settled_count = sum(len(ids) for _, ids in self._settled)
        while self._settled_count > 2 * SETTLED_MANY:
            self._settled_count -= len(self._settled.popleft()[1])
        # What cannot be forgotten yet shall not have it asked for before every read.
        if self._settled_count >= SETTLED_MANY:
            self._settled_count = SETTLED_MANY // 2

    # Resuming.

    def restore(self, link: Link) -> None:
        """Create what was deleted since it was first there, where it was.

        :raises redis.exceptions.RedisError: it cannot be created.
        """
        # Where none is absent, another consumer was quicker.
        self._resume(link, self._group.absent(link) or list(self._group.origins))

    def _resume(self, link: Link, keys: Iterable[bytes]) -> None:
        starts = {key: self._resume_at(link, key) for key in keys}
        for key in self._group.create(link, starts):
            logger.warning(
                "the group %s of the stream %s was gone; created again, from %s",
                self._group.title,
                self._group.origins[key][0],
                starts[key],
            )

    def _resume_at(self, link: Link, key: bytes) -> str:
        """Return the id behind which all lies that was perhaps not settled."""
        info = self._ask(link, key)
        added, floor = info.get(b"entries-added"), self._floors.get(key)
        self._group.seen.pop(key, None)
        if added is None or floor is None or self._is_another(key, info):
            # The stream was made anew, so all that is in it is new.
            self._again.pop(key, None)
            self._settled = deque(pair for pair in self._settled if pair[0] != key)
            self._added[key], self._read[key] = added or 0, 0
            self._floors.pop(key, None)
            return "0" if self._group.start == "$" else self._group.start
        last = order(info[b"last-generated-id"])
        if last <= floor:
            self._again.pop(key, None)
        else:
            self._again[key] = Again(self._settled_of(key), last)
        self._added[key] = added
        self._group.seen[key] = id_of(floor)
        return id_of(floor).decode()

    def _ask(self, link: Link, key: bytes) -> dict[bytes, Any]:
        (reply,) = link.call(("XINFO", "STREAM", key))
        if isinstance(reply, ServerError):  # no such stream, or no permission
            return {}
        return dict(zip(reply[::2], reply[1::2], strict=False))

    def _is_another(self, key: bytes, info: dict[bytes, Any]) -> bool:
        """Return whether a stream is not the one that was read before, which was deleted.

        Within one millisecond it may give the same ids again.
        """
        if info[b"entries-added"] < max(self._added[key], self._read[key]):
            return True
        known_id, known_hash = self._last_read.get(key, (b"", 0))
        ends = (info.get(b"first-entry"), info.get(b"last-entry"))
        return any(
            end is not None and end[0] == known_id and hash(tuple(end[1])) != known_hash
            for end in ends
        )

    def _settled_of(self, key: bytes) -> set[bytes]:
        return {entry_id for of, ids in self._settled if of == key for entry_id in ids}

    def take(self, link: Link, key: bytes, items: list[Any]) -> list[Any]:
        """Note what was read, and return the entries to handle.

        :raises redis.exceptions.RedisError: the connection is lost.
        """
        last_id, last = items[-1]
        self._group.seen[key] = last_id
        self._last_read[key] = (last_id, hash(tuple(last)))
        if key in self._again:
            return self.sift(link, key, items)
        self._read[key] += len(items)
        return items

    def sift(self, link: Link, key: bytes, items: list[Any]) -> list[Any]:
        """Return the entries to handle among those that were read.

        What is settled is acked anew; what is in flight or was nacked is left pending, with its count.

        :raises redis.exceptions.RedisError: the connection is lost.
        """
        again = self._again.get(key)
        if again is None:
            return items
        ledger = self._ledger
        settled, counts = again.settled | ledger.acks_of(key), ledger.counts_of(key)
        fresh: list[Any] = []
        kept: defaultdict[int, list[bytes]] = defaultdict(list)
        for item in items:
            entry_id = item[0]
            if entry_id in settled:
                ledger.ack_again(key, entry_id)
            elif entry_id in counts:
                kept[counts[entry_id]].append(entry_id)
            else:
                fresh.append(item)
        for count, ids in kept.items():
            for reply in link.call(*self._group.keeps({key: ids}, "RETRYCOUNT", count)):
                if not is_no_group(reply):
                    link.verify(reply)
        if order(items[-1][0]) >= again.last:
            del self._again[key]
        return fresh
