"""The shelf of a MemoryDLQ: its letters and the claims on them, without a lock."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush

from .claim import Claim, this_process
from .filters import LetterFilters, check_filters, matches
from .inbox import Receipt, inbox_key
from .letter import DeadLetter, LetterState, utc_now
from .placing import find_place
from .received import Received
from .summary import Counts


class Timeline:
    """Ids in the order of their times: a heap, whose outdated entries are dropped when met."""

    def __init__(self) -> None:
        self._times: dict[bytes, datetime] = {}
        self._heap: list[tuple[datetime, bytes]] = []

    def __len__(self) -> int:
        return len(self._times)

    def put(self, id: bytes, at: datetime) -> None:
        """Set the time of an id, replacing the one it has."""
        self._times[id] = at
        heappush(self._heap, (at, id))
        if len(self._heap) > 2 * len(self._times) + 64:
            self._heap = [(at, id) for id, at in self._times.items()]
            heapify(self._heap)

    def discard(self, id: bytes) -> None:
        """Forget an id, if it is there."""
        self._times.pop(id, None)

    def first(self) -> datetime | None:
        """Return the earliest time; None where there is no id."""
        while self._heap:
            at, id = self._heap[0]
            if self._times.get(id) == at:
                return at
            heappop(self._heap)
        return None

    def take(self, until: datetime, limit: int | None = None) -> list[bytes]:
        """Remove the ids whose time has come and return them, the earliest first."""
        taken: list[bytes] = []
        while limit is None or len(taken) < limit:
            first = self.first()
            if first is None or first > until:
                break
            _, id = heappop(self._heap)
            del self._times[id]
            taken.append(id)
        return taken

    def count_until(self, until: datetime) -> int:
        """Return how many ids have a time that has come."""
        return sum(at <= until for at in self._times.values())


class Shelf:
    """Letters in the order of first arrival, claims, and when deferred messages are due.

    :ivar letters: every letter by its id. A dict keeps the order of first arrival, and a replaced
        letter its place: as positions do.
    :ivar claims: the claims by the id of their letter; one that has ended may be among them.
    :ivar waiting: the deferred messages that nobody has claimed, by when they are due.
    :ivar claimed: the claimed ones, by the end of their claims.
    :ivar received: the records of what an inbox received.
    """

    def __init__(
        self,
        letters: dict[bytes, DeadLetter] | None = None,
        claims: dict[bytes, Claim] | None = None,
        last_position: int = 0,
        received: Received | None = None,
    ) -> None:
        self.letters = {} if letters is None else letters
        self.claims = {} if claims is None else claims
        self.last_position = last_position
        self.waiting, self.claimed = Timeline(), Timeline()
        self.received = Received() if received is None else received
        for id in self.letters:
            self.schedule(id)

    @property
    def dead(self) -> int:
        """How many dead letters there are."""
        return len(self.letters) - len(self.waiting) - len(self.claimed)

    def add(self, letter: DeadLetter) -> None:
        """Keep a letter, or its failure where the same message is there."""
        stored, id = find_place(letter, lambda id: self._found(id, letter))
        if stored is None:
            self.keep(letter._replace(id=id))
        else:
            self.fail_again(stored, letter)

    def _found(self, id: bytes, letter: DeadLetter) -> tuple[DeadLetter, bool] | None:
        stored = self.letters.get(id)
        return None if stored is None else (stored, stored.is_same_message(letter))

    def receive(self, letter: DeadLetter) -> Receipt:
        """Keep a message of an inbox, unless it was received before."""
        key = inbox_key(letter)
        if key in self.received:
            return Receipt.KNOWN
        receipt = Receipt.BESIDE if self.received.has_origin(key) else Receipt.NEW
        stored, id = find_place(letter, lambda id: self._found(id, letter))
        if stored is None:
            self.keep(letter._replace(id=id))
        else:
            receipt = Receipt.KNOWN
        self.received.open(key, id)
        return receipt

    def fail_again(self, stored: DeadLetter, letter: DeadLetter) -> None:
        """Keep a later letter about a stored message; only the claim on a dead letter outlasts it."""
        self.letters[stored.id] = stored.failed_again(letter)
        if stored.state == "deferred" or letter.state == "deferred":
            self.claims.pop(stored.id, None)
            self.schedule(stored.id)

    def keep(self, letter: DeadLetter) -> None:
        """Keep a letter as it is, in the place of the one with its id, or as the newest."""
        stored = self.letters.get(letter.id)
        if stored is None:
            self.last_position += 1
        position = self.last_position if stored is None else stored.position
        self.letters[letter.id] = letter.with_history()._replace(position=position)
        self.claims.pop(letter.id, None)  # it was on the letter that is replaced
        self.schedule(letter.id)

    def delete(self, id: bytes) -> None:
        """Remove a letter, and the claim on it."""
        del self.letters[id]
        self.claims.pop(id, None)
        self.schedule(id)
        self.received.close(id, utc_now())

    def schedule(self, id: bytes) -> None:
        """Have the timelines show what became of a letter and of the claim on it."""
        self.waiting.discard(id)
        self.claimed.discard(id)
        letter, claim = self.letters.get(id), self.claims.get(id)
        if letter is not None and letter.due is not None:
            if claim is None:
                self.waiting.put(id, letter.due)
            else:
                self.claimed.put(id, claim.expires)

    def claim(self, id: bytes, now: datetime, lease: timedelta) -> tuple[Claim, DeadLetter] | None:
        """Claim a letter; None where it is gone, or its claim has not ended."""
        letter = self.letters.get(id)
        if letter is None or self.is_claimed(id, now):
            return None
        claim = Claim(id, secrets.token_hex(16), letter.failures, now + lease, this_process())
        self.claims[id] = claim
        self.schedule(id)
        return claim, letter

    def claim_due(
        self, limit: int, now: datetime, lease: timedelta
    ) -> list[tuple[Claim, DeadLetter]]:
        """Claim deferred messages that are due, the earliest first."""
        self.expire(now)
        claimed: list[tuple[Claim, DeadLetter]] = []
        for id in self.waiting.take(now, limit):
            found = self.claim(id, now, lease)
            if found is not None:
                claimed.append(found)
            else:  # its claim had ended, until the clock was set back
                self.schedule(id)
        return claimed

    def is_claimed(self, id: bytes, now: datetime) -> bool:
        """Return whether there is a claim on a letter that has not ended."""
        claim = self.claims.get(id)
        return claim is not None and claim.expires > now

    def holds(self, claim: Claim) -> bool:
        """Return whether a claim is still the one on its letter."""
        current = self.claims.get(claim.id)
        return current is not None and current.token == claim.token

    def expire(self, now: datetime) -> None:
        """Have deferred messages wait again whose claims have ended.

        The claim stays until another is made, so that its owner can still renew it.
        """
        for id in self.claimed.take(now):
            self.waiting.put(id, self.letters[id].due or now)

    def deferred(self, ids: Iterable[bytes] | None, filters: LetterFilters) -> list[DeadLetter]:
        """Return the deferred messages with some ids, or all, that filters match."""
        filters = {"state": "deferred", **filters}
        check_filters(filters)
        chosen = self.letters if ids is None else dict.fromkeys(ids)
        found = [self.letters[id] for id in chosen if id in self.letters]
        return [one for one in found if one.due is not None and matches(one, filters)]

    def put_due(self, letter: DeadLetter, due: datetime | None) -> None:
        """Change when a deferred message is due; None makes it a dead letter."""
        state: LetterState = "dead" if due is None else "deferred"
        self.letters[letter.id] = letter._replace(due=due, state=state)
        self.schedule(letter.id)

    def counts(self, now: datetime) -> Counts:
        """Count the letters by state."""
        self.expire(now)
        return Counts(
            dead=self.dead,
            deferred=len(self.letters) - self.dead,
            due=self.waiting.count_until(now),
            claimed=sum(claim.expires > now for claim in self.claims.values()),
        )
