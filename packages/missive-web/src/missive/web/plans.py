"""Plans: what a person is about to do to which letters, until they confirm it."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from time import monotonic
from typing import NamedTuple

from missive import DeadLetter, DeadLetterStore
from missive.letters import Choice

from .query import letters_of

#: How long a plan waits to be confirmed, in seconds, and how many are kept.
PATIENCE, KEPT = 3600.0, 200
#: Up to how many letters, and bytes of them, a deletion can be undone.
UNDOABLE, UNDOABLE_BYTES = 10_000, 64_000_000

#: What can be done, and what a role must allow for it.
ACTIONS = {
    "replay": "operate",
    "delete": "operate",
    "retry": "operate",
    "give-up": "operate",
    "purge": "purge",
}


class Plan(NamedTuple):
    """Letters that were chosen, and what is to become of them.

    :ivar what: the name of the action.
    :ivar which: the letters, in words.
    :ivar choice: the letters, as they stood when they were shown and counted.
    :ivar ids: their ids, where they were named or are few.
    :ivar who: the person who made the plan.
    :ivar back: the address to go back to.
    :ivar undoable: whether a deletion can be undone.
    """

    what: str
    which: str
    choice: Choice
    ids: list[bytes] | None
    who: str
    back: str
    undoable: bool = False

    def sample(self, store: DeadLetterStore, count: int) -> list[DeadLetter]:
        """Return the first of the letters, as they are now."""
        found: list[DeadLetter] = []
        for letter in letters_of(store, self.choice, self.ids):
            if len(found) == count:
                break
            found.append(letter)
        return found


class Plans:
    """The plans of a page, by a name that nobody guesses."""

    def __init__(self) -> None:
        self._plans: OrderedDict[str, tuple[float, Plan]] = OrderedDict()
        #: The jobs that plans became, so that none is carried out twice.
        self._done: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, plan: Plan) -> str:
        """Keep a plan, and return its name."""
        name = secrets.token_urlsafe(12)
        now = monotonic()
        with self._lock:
            while self._plans:
                oldest = next(iter(self._plans))
                if len(self._plans) < KEPT and self._plans[oldest][0] > now - PATIENCE:
                    break
                del self._plans[oldest]
            self._plans[name] = (now, plan)
        return name

    def get(self, name: str) -> Plan | None:
        """Return a plan; None where it was carried out, or forgotten."""
        found = self._plans.get(name)
        return found[1] if found is not None else None

    def take(self, name: str) -> Plan | None:
        """Return a plan to the one request that may carry it out."""
        with self._lock:
            found = self._plans.pop(name, None)
            return found[1] if found is not None else None

    def put_back(self, name: str, plan: Plan) -> None:
        """Keep a plan that was taken and is not done for good."""
        with self._lock:
            self._plans[name] = (monotonic(), plan)

    def became(self, name: str, job: str) -> None:
        """Remember the job that a plan became."""
        with self._lock:
            self._done[name] = job
            while len(self._done) > KEPT:
                self._done.popitem(last=False)

    def job_of(self, name: str) -> str | None:
        """Return the job that a plan became, if it did."""
        return self._done.get(name)


def can_be_undone(store: DeadLetterStore, choice: Choice, ids: list[bytes] | None) -> bool:
    """Return whether letters are few and small enough to be kept for a while once deleted."""
    if len(choice) > UNDOABLE:
        return False
    left = UNDOABLE_BYTES
    for letter in letters_of(store, choice, ids):
        left -= len(letter.raw_data) + len(letter.traceback or "")
        if left < 0:
            return False
    return True
