"""Keeping letters: what is written of them, within a transaction of the caller's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from missive import DeadLetter
from missive.letters import MAX_HISTORY, Receipt, find_place, inbox_key

from . import statements as sql
from .origins import Origin, Origins
from .rows import Value, content_values, letter_values, to_micros, to_text


class Keeper:
    """Writes letters.

    :param origins: the origins of the database that it writes to.
    """

    def __init__(self, origins: Origins) -> None:
        self._origins = origins

    def put_many(self, connection: sqlite3.Connection, letters: Iterable[DeadLetter]) -> None:
        """Insert what is new, all contents at once; whatever is not takes the long way."""
        beside = connection.execute(sql.ANY_BESIDE).fetchone() is not None
        contents: list[tuple[Value, ...]] = []
        position = next_position(connection)
        for letter in letters:
            if not beside and len(letter.history) <= 1:
                origin = self._origins.number_of(connection, Origin.of(letter))
                values = (position, origin, *letter_values(letter))
                if connection.execute(sql.INSERT_LETTER, values).rowcount:
                    contents.append((position, *content_values(letter)))
                    position += 1
                    continue
            connection.executemany(sql.INSERT_CONTENT, contents)
            contents.clear()
            beside = self._put_beside(connection, letter) or beside
            position = next_position(connection)
        connection.executemany(sql.INSERT_CONTENT, contents)

    def _put_beside(self, connection: sqlite3.Connection, letter: DeadLetter) -> bool:
        """Put a letter whose id, or an id beside it, may be taken; return whether that was so."""
        position, id = self._place_of(connection, letter)
        if position is not None:
            self._fail_again(connection, position, letter)
            return False
        self._insert(connection, letter._replace(id=id))
        return id != letter.id

    def _place_of(
        self, connection: sqlite3.Connection, letter: DeadLetter
    ) -> tuple[int | None, bytes]:
        """Return the position of the same message, or None and the id to keep it under."""
        source = to_text(letter.source)

        def find(id: bytes) -> tuple[int, bool] | None:
            found: tuple[int, bool] | None = connection.execute(
                sql.FIND, (source, letter.raw_data, id)
            ).fetchone()
            return found

        return find_place(letter, find)

    def receive(self, connection: sqlite3.Connection, letter: DeadLetter) -> Receipt:
        """Keep a message of an inbox, unless it was received before."""
        origin, body = inbox_key(letter)
        key = origin + body
        if connection.execute(sql.WAS_RECEIVED, (key,)).fetchone() is not None:
            return Receipt.KNOWN
        position, id = self._place_of(connection, letter)
        if position is not None:
            receipt = Receipt.KNOWN
        else:
            last = origin + b"\xff" * len(body)
            others = connection.execute(sql.RECEIVED_BETWEEN, (origin, last)).fetchone()
            receipt = Receipt.NEW if others is None else Receipt.BESIDE
            position = self._insert(connection, letter._replace(id=id))
        connection.execute(sql.INSERT_RECEIVED, (key, position))
        return receipt

    def _fail_again(
        self, connection: sqlite3.Connection, position: int, letter: DeadLetter
    ) -> None:
        """Append the failure of a letter to the one that is about the same message."""
        connection.execute(sql.APPEND_HISTORY, (position,))
        origin = self._origins.number_of(connection, Origin.of(letter))
        connection.execute(sql.FAIL_AGAIN, (origin, *letter_values(letter)[4:], position))
        connection.execute(sql.BOUND_HISTORY, (position, position, MAX_HISTORY))
        connection.execute(sql.REPLACE_CONTENT, (*content_values(letter), position))

    def _insert(self, connection: sqlite3.Connection, letter: DeadLetter) -> int:
        """Insert a letter as the newest; return its position."""
        origin = self._origins.number_of(connection, Origin.of(letter))
        position = next_position(connection)
        connection.execute(sql.INSERT_LETTER, (position, origin, *letter_values(letter)))
        connection.execute(sql.INSERT_CONTENT, (position, *content_values(letter)))
        self._insert_history(connection, position, letter)
        return position

    def _replace(self, connection: sqlite3.Connection, position: int, letter: DeadLetter) -> None:
        origin = self._origins.number_of(connection, Origin.of(letter))
        connection.execute(sql.REPLACE_LETTER, (origin, *letter_values(letter)[1:], position))
        connection.execute(sql.REPLACE_CONTENT, (*content_values(letter), position))
        connection.execute(sql.DELETE_HISTORY, (position,))
        self._insert_history(connection, position, letter)

    def _insert_history(
        self, connection: sqlite3.Connection, position: int, letter: DeadLetter
    ) -> None:
        history = letter.history[-MAX_HISTORY:]
        first = letter.failures - len(history) + 1
        # The last failure is in the letter itself, unless the letter was given another one.
        if history and history[-1] == letter._replace(history=()).with_history().history[0]:
            history = history[:-1]
        connection.executemany(
            sql.INSERT_HISTORY,
            [
                (
                    position,
                    number,
                    self._origins.number_of(connection, Origin.of(letter, failure)),
                    to_micros(failure.at),
                    to_text(failure.reason),
                )
                for number, failure in enumerate(history, first)
            ],
        )

    def restore_many(self, connection: sqlite3.Connection, letters: Iterable[DeadLetter]) -> None:
        """Keep letters exactly as they are, each in the place of the one with its id."""
        for letter in letters:
            found = connection.execute(sql.POSITION, (letter.id,)).fetchone()
            if found is None:
                self._insert(connection, letter)
            else:
                self._replace(connection, found[0], letter)

    def assign(self, connection: sqlite3.Connection, letter: DeadLetter) -> None:
        """Keep a letter under its id, whatever is stored there."""
        found = connection.execute(
            sql.FIND, (to_text(letter.source), letter.raw_data, letter.id)
        ).fetchone()
        if found is None:
            self._insert(connection, letter)
        elif found[1]:
            self._fail_again(connection, found[0], letter)
            message_id = None if letter.message_id == letter.id else letter.message_id
            connection.execute(sql.SET_MESSAGE_ID, (message_id, found[0]))
        else:
            self._replace(connection, found[0], letter)


def next_position(connection: sqlite3.Connection) -> int:
    """Return the position of the next new letter."""
    (position,) = connection.execute(sql.NEXT_POSITION).fetchone()
    return int(position)
