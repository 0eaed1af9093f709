"""The store as a mapping: each operation one step, or quicker than what follows from the letters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from missive import DeadLetter, DeadLetterStore
from missive.letters import check_key

from .database import Database
from .keeping import Keeper
from .reading import Reader
from .rows import to_key, to_letter
from .session import Session
from .statements import Statements

#: How many letters are removed in one transaction.
REMOVED_AT_ONCE = 1000


class PostgreSQLMapping(DeadLetterStore):
    """The dead letters of a database, as a dict has them."""

    _database: Database
    _keeper: Keeper
    _reader: Reader
    _sql: Statements

    def __len__(self) -> int:
        rows = self._database.rows(self._sql.count)
        return int(rows[0][0])

    def __contains__(self, key: object) -> bool:
        try:
            found = to_key(check_key(key))
        except KeyError:
            return False
        return self._database.count(self._sql.exists, (found,)) > 0

    def __iter__(self) -> Iterator[bytes]:
        return (id for _, _, id in self._reader.chosen({}))

    def __reversed__(self) -> Iterator[bytes]:
        return (id for _, _, id in self._reader.chosen({}, newest_first=True))

    def __delitem__(self, key: bytes) -> None:
        if self.take(check_key(key)) is None:
            raise KeyError(key)

    def take(self, key: bytes) -> DeadLetter | None:
        """Remove a dead letter and return it; None where there is none."""
        return self._take(self._sql.take, (to_key(key),))

    def take_newest(self) -> DeadLetter | None:
        """Remove the newest dead letter and return it; None where there is none."""
        return self._take(self._sql.take_newest, ())

    def _take(self, statement: bytes, values: tuple[bytes, ...]) -> DeadLetter | None:
        row = self._database.row(statement, values)
        return None if row is None else to_letter(row)

    def setdefault(self, key: bytes, default: Any = None) -> Any:
        """Return what is stored under a key, or store the default there.

        :raises TypeError: nothing is stored there, and the default is no message with a reason.
        """

        def find_or_keep(session: Session, again: bool) -> DeadLetter | None:
            with session.transaction():
                given: object = key
                letter = self._keeper.stored(session, given) if isinstance(given, bytes) else None
                if letter is None or letter.state != "dead":
                    self._keeper.assign(session, DeadLetter.from_item(key, default), again)
                    return None
                return letter

        letter = self._database.run(find_or_keep)
        return default if letter is None else (self.build(letter), letter.reason)

    def clear(self) -> None:
        """Remove every dead letter that is there now, a thousand at a time."""
        values = (self._reader.newest_position(), REMOVED_AT_ONCE)
        deleted = REMOVED_AT_ONCE
        while deleted >= REMOVED_AT_ONCE:
            deleted = self._database.count(self._sql.delete_some, values)
