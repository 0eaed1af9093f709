"""The store as a mapping: each operation one step, or quicker than what follows from the letters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from missive import DeadLetter, DeadLetterStore
from missive.letters import check_key

from . import statements as sql
from .database import Database
from .keeping import Keeper
from .reading import Reader, newest_position

#: How many letters are removed in one transaction.
REMOVED_AT_ONCE = 1000


class SQLiteMapping(DeadLetterStore):
    """The dead letters of a database, as a dict has them."""

    _database: Database
    _keeper: Keeper
    _reader: Reader

    def __len__(self) -> int:
        with self._database.reading() as connection:
            (count,) = connection.execute(sql.COUNT).fetchone()
            return int(count)

    def __contains__(self, key: object) -> bool:
        try:
            key = check_key(key)
        except KeyError:
            return False
        with self._database.reading() as connection:
            return connection.execute(sql.EXISTS, (key,)).fetchone() is not None

    def __iter__(self) -> Iterator[bytes]:
        return self._reader.ids(newest_first=False)

    def __reversed__(self) -> Iterator[bytes]:
        return self._reader.ids(newest_first=True)

    def __delitem__(self, key: bytes) -> None:
        key = check_key(key)
        with self._database.writing() as connection:
            deleted = connection.execute(sql.DELETE, (key,)).rowcount
        if not deleted:
            raise KeyError(key)

    def take(self, key: bytes) -> DeadLetter | None:
        """Remove a dead letter and return it; None where there is none."""
        with self._database.writing() as connection:
            letter = self._reader.letter(connection, key)
            if letter is None or letter.state != "dead":
                return None
            connection.execute(sql.DELETE, (key,))
        return letter

    def take_newest(self) -> DeadLetter | None:
        """Remove the newest dead letter and return it; None where there is none."""
        with self._database.writing() as connection:
            found = self._reader.found(connection, sql.NEWEST, ())
            for letter in found:
                connection.execute(sql.DELETE_AT, (letter.position,))
        return found[0] if found else None

    def setdefault(self, key: bytes, default: Any = None) -> Any:
        """Return what is stored under a key, or store the default there.

        :raises TypeError: nothing is stored there, and the default is no message with a reason.
        """
        given: object = key
        with self._database.writing() as connection:
            letter = self._reader.letter(connection, key) if isinstance(given, bytes) else None
            if letter is None or letter.state != "dead":
                self._keeper.assign(connection, DeadLetter.from_item(key, default))
                return default
        return self.build(letter), letter.reason

    def clear(self) -> None:
        """Remove every dead letter that is there now, a thousand at a time."""
        with self._database.reading() as connection:
            newest = newest_position(connection)
        deleted = REMOVED_AT_ONCE
        while deleted >= REMOVED_AT_ONCE:
            with self._database.writing() as connection:
                cursor = connection.execute(sql.DELETE_SOME, (newest, REMOVED_AT_ONCE))
                deleted = cursor.rowcount
