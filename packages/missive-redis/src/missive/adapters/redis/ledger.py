"""The ledger: what is in flight, and what was decided and is still to be told to Redis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from .entries import StreamEntry
from .groups import Group, Nack

if TYPE_CHECKING:
    from .links import Command

#: How many nacked entries are remembered.
NACKED_KEPT = 100_000

#: What names an entry: the key of its stream, and its id.
EntryName = tuple[bytes, bytes]


@dataclass(eq=False)
class Telling:
    """Decisions that were sent and not confirmed."""

    acks: dict[bytes, list[bytes]]
    nacks: list[Nack]
    commands: list[Command]
    since: float  # since when the first of them waits


class Ledger:
    """What this consumer has read and not settled, and what it has settled and not told.

    It outlives connections: what was decided while there was none is told on the next.

    :ivar in_hand: every entry that was read and not settled, with when it was read, on the clock of
        ``time.monotonic``.
    :ivar suspect: the one entry in flight that may have killed the process that had it before, if any.
    :ivar reading_since: when the read that is under way was sent, on the same clock; None without one.
        What it delivers is pending here and known to nobody until the whole reply was parsed.
    :ivar unsent: how many decisions wait to be sent.
    :ivar unsent_since: since when the first of them waits.
    """

    def __init__(self, group: Group) -> None:
        self._group = group
        self.in_hand: dict[StreamEntry, float] = {}
        self.suspect: StreamEntry | None = None
        self.reading_since: float | None = None
        self.unsent = 0
        self.unsent_since = 0.0
        self._acks: dict[bytes, list[bytes]] = {}
        self._nacks: list[Nack] = []
        self._tellings: list[Telling] = []
        self._nacked: dict[EntryName, int] = {}  # with how often it was delivered by then

    def begin(self) -> None:
        """Begin a run: others may have had since what a run before it had in flight, or nacked.

        What it settled stays to be told.
        """
        self.in_hand.clear()
        self.suspect = None
        self._nacks.clear()
        self.unsent = sum(map(len, self._acks.values()))

    def take_in(self, entries: Iterable[StreamEntry], since: float | None = None) -> None:
        """Note that entries were read.

        :param since: when they may have been delivered; now unless given.
        """
        self.in_hand.update(dict.fromkeys(entries, monotonic() if since is None else since))

    def ack(self, entry: StreamEntry) -> None:
        """Note that an entry is settled for good."""
        # As _leave() does it: nearly every entry passes through here.
        if not self.unsent:
            self.unsent_since = monotonic()
        self.unsent += 1
        try:
            self._acks[entry.stream].append(entry.entry_id)
        except KeyError:
            self._acks[entry.stream] = [entry.entry_id]
        # Only now: at no time is it missed by who copies first what is in flight, then the acks.
        self.in_hand.pop(entry, None)
        if entry is self.suspect:
            self.suspect = None

    def nack(self, entry: StreamEntry, delay: float | None = None) -> None:
        """Note a nacked entry; the time until its redelivery begins now.

        :param delay: after so many seconds; None: after ``retry_after``.
        """
        self._leave(entry)
        due = None if delay is None else monotonic() + delay
        self._nacks.append(Nack(entry.stream, entry.entry_id, due))
        if len(self._nacked) >= NACKED_KEPT:
            del self._nacked[next(iter(self._nacked))]
        self._nacked[entry.stream, entry.entry_id] = entry.delivery_count or 1

    @property
    def owes_delays(self) -> bool:
        """Whether Redis has not been told of all delays."""
        return any(nack.due is not None for nack in self._nacks)

    def _leave(self, entry: StreamEntry) -> None:
        self.in_hand.pop(entry, None)
        if entry is self.suspect:
            self.suspect = None
        if not self.unsent:
            self.unsent_since = monotonic()
        self.unsent += 1

    def drop(self, entries: Iterable[StreamEntry]) -> None:
        """Forget entries that somebody else will have."""
        for entry in entries:
            self.in_hand.pop(entry, None)
            if entry is self.suspect:
                self.suspect = None

    def names_in_hand(self) -> set[EntryName]:
        """Return the names of all entries in flight."""
        return {(entry.stream, entry.entry_id) for entry in self.in_hand}

    def names_held(self) -> set[EntryName]:
        """Return the names of all entries in flight, and of those whose settlement is not confirmed.

        The server takes both for pending, however long ago they were delivered.
        """
        names = self.names_in_hand()
        decided = [(self._acks, self._nacks)]
        decided += [(telling.acks, telling.nacks) for telling in self._tellings]
        for acks, nacks in decided:
            names.update((key, entry_id) for key, some in acks.items() for entry_id in some)
            names.update((nack.stream, nack.entry_id) for nack in nacks)
        return names

    def old_in_hand(self, before: float) -> dict[bytes, list[bytes]]:
        """Return the ids of what was read before a point in time and is not settled."""
        ids: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for entry, since in list(self.in_hand.items()):
            if since < before:
                ids[entry.stream].append(entry.entry_id)
        return ids

    def acks_of(self, key: bytes) -> set[bytes]:
        """Return the ids of the entries of a stream that are settled, where that is not confirmed."""
        ids = set(self._acks.get(key, ()))
        for telling in self._tellings:
            ids.update(telling.acks.get(key, ()))
        return ids

    def counts_of(self, key: bytes) -> dict[bytes, int]:
        """Return how often the entries of a stream were delivered that are in flight or were nacked."""
        counts = {entry_id: count for (of, entry_id), count in self._nacked.items() if of == key}
        counts.update(
            (entry.entry_id, entry.delivery_count or 1)
            for entry in self.in_hand
            if entry.stream == key
        )
        return counts

    def ack_again(self, key: bytes, entry_id: bytes) -> None:
        """Note an ack for an entry that was settled before and delivered again."""
        if not self.unsent:
            self.unsent_since = monotonic()
        self.unsent += 1
        self._acks.setdefault(key, []).append(entry_id)

    def was_nacked(self, name: EntryName, deliveries: int) -> bool:
        """Whether the last of so many deliveries was nacked here, and so killed nobody."""
        return self._nacked.get(name) == deliveries

    def forget_nack(self, name: EntryName) -> None:
        """Note that a nacked entry was delivered again."""
        self._nacked.pop(name, None)

    def tell(self) -> Telling:
        """Return the pending acks, to be sent now."""
        group = self._group
        commands = [*group.acks(self._acks), *group.nacks(self._nacks, monotonic())]
        telling = Telling(self._acks, self._nacks, commands, self.unsent_since)
        self._tellings.append(telling)
        self._acks, self._nacks, self.unsent = {}, [], 0
        return telling

    def told(self, telling: Telling) -> None:
        """Note that Redis confirmed what it was told."""
        self._tellings.remove(telling)

    def take_back(self, telling: Telling) -> None:
        """Take back what was not confirmed: to say it twice does no harm.

        But for a delay that is over: another consumer may have the entry by now. If Redis did not
        hear of it, the entry is redelivered after ``retry_after``.
        """
        self._tellings.remove(telling)
        for key, ids in telling.acks.items():
            self._acks[key] = ids + self._acks.get(key, [])
            self.unsent += len(ids)
        now = monotonic()
        again = [nack for nack in telling.nacks if nack.due is None or nack.due > now]
        self._nacks = again + self._nacks
        self.unsent += len(again)

    def take_all_back(self) -> None:
        """Take back whatever was not confirmed, since its connection is gone."""
        for telling in list(self._tellings):
            self.take_back(telling)
