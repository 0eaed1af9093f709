"""Due times: which letters may be deferred."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import ConfigurationError
from ..ids import format_id
from .letter import DeadLetter


def check_deferred(letters: Iterable[DeadLetter]) -> list[DeadLetter]:
    """Return letters in the state ``"deferred"``, or refuse those that are never due.

    :raises ConfigurationError: a letter has no due time, or one without a time zone.
    """
    return check_restored(letter._replace(state="deferred") for letter in letters)


def check_restored(letters: Iterable[DeadLetter]) -> list[DeadLetter]:
    """Return letters whose due times agree with their states, or refuse them.

    :raises ConfigurationError: a deferred letter has no due time, or one without a time zone.
    """
    checked: list[DeadLetter] = []
    for letter in letters:
        due = letter.due
        if letter.state == "deferred" and (due is None or due.tzinfo is None):
            raise ConfigurationError(
                f"{format_id(letter.id)} cannot be deferred without a due time that has a time zone"
            )
        checked.append(letter if letter.state == "deferred" else letter.given_up())
    return checked
