"""Origins: where letters come from, written once for the many that come from the same place."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple, cast

from missive import DeadLetter
from missive.letters import Failure, Stage

from . import statements as sql
from .rows import from_text, to_text


class Origin(NamedTuple):
    """What letters that fail alike on one machine have in common."""

    stage: Stage
    error_type: str | None
    handler: str | None
    message_class: str | None
    host: str
    version: str

    @classmethod
    def of(cls, letter: DeadLetter, failure: Failure | None = None) -> Origin:
        """Return the origin of a letter, or of one of its earlier failures."""
        told = failure or letter
        return cls(
            told.stage,
            told.error_type,
            told.handler,
            letter.message_class,
            letter.host,
            letter.version,
        )


_UNKNOWN = Origin(cast("Stage", ""), None, None, None, "", "")


class Origins:
    """The origins of one database, remembered: they are never changed and never removed."""

    def __init__(self) -> None:
        #: The origins that were committed, by the number that letters name them by.
        self.known: dict[int, Origin] = {}
        self._numbers: dict[Origin, int] = {}
        self._uncommitted: dict[Origin, int] = {}

    def number_of(self, connection: sqlite3.Connection, origin: Origin) -> int:
        """Return the number of an origin, writing it first where it is new; within a transaction."""
        number = self._numbers.get(origin)
        if number is None:
            number = self._uncommitted.get(origin)
        if number is None:
            values = tuple(to_text(value) for value in origin)
            found = connection.execute(sql.FIND_ORIGIN, values).fetchone()
            if found is not None:
                number = int(found[0])
            else:
                number = cast("int", connection.execute(sql.INSERT_ORIGIN, values).lastrowid)
            self._uncommitted[origin] = number
        return number

    def committed(self) -> None:
        """Remember what was found or written in the transaction that has just ended."""
        if self._uncommitted:
            self._numbers.update(self._uncommitted)
            self.known.update({number: origin for origin, number in self._uncommitted.items()})
            self._uncommitted.clear()

    def rolled_back(self) -> None:
        """Forget it: another may get that number."""
        self._uncommitted.clear()

    def read(self, connection: sqlite3.Connection, number: int) -> Origin:
        """Return the origin with a number from the database, whatever somebody else wrote there."""
        row = connection.execute(sql.ORIGIN, (number,)).fetchone()
        if row is None:
            return _UNKNOWN
        stage, error_type, handler, message_class, host, version = map(from_text, row)
        # The stage is not checked against the four that there are: a newer core may know another.
        origin = Origin(
            cast("Stage", stage or ""),
            error_type,
            handler,
            message_class,
            host or "",
            version or "",
        )
        if origin not in self._uncommitted:
            self.known[number] = origin
        return origin
