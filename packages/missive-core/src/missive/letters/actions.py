"""Actions: who did what to which letters, for those who look later."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

#: How many ids an action names; it counts the others.
MAX_ACTION_IDS = 1000


class Action(NamedTuple):
    """What a person did to letters of a store.

    :ivar at: when, in UTC.
    :ivar who: the person, as the program that asked knows them.
    :ivar what: such as ``"replay"`` or ``"delete"``.
    :ivar which: the letters, in words: a filter, a group.
    :ivar letters: how many letters there were.
    :ivar result: what came of it, in words.
    :ivar ids: the ids of the letters, the first MAX_ACTION_IDS.
    :ivar number: its place in the store, rising and never used twice; None until recorded.
    """

    at: datetime
    who: str
    what: str
    which: str
    letters: int
    result: str = ""
    ids: tuple[bytes, ...] = ()
    number: int | None = None

    def __repr__(self) -> str:
        return f"<Action {self.what} by {self.who} at {self.at.isoformat()}>"
