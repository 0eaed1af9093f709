"""Placing: the id that a letter is kept under, where another message may have its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from .letter import DeadLetter

T = TypeVar("T")


def find_place(
    letter: DeadLetter, find: Callable[[bytes], tuple[T, bool] | None]
) -> tuple[T | None, bytes]:
    """Return what a store has of a letter's message, and the id to keep the letter under.

    That is the letter's id, or one beside it: the first that is about the same message, or else the
    first that is free.

    :param find: returns what is stored under an id and whether that is about the same message; None
        where the id is free.
    """
    id, free, number = letter.id, None, 0
    while True:
        found = find(id)
        if found is None:
            free = id if free is None else free
            if number:
                return None, free
        elif found[1]:
            return found[0], id
        number += 1
        id = letter.beside_id(number)
