"""Groups: letters that failed alike, whatever the values that their reasons name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple

import click
from missive import DeadLetter
from missive.letters import MAX_REASON, shortened

from .prefixes import shortest_prefixes

#: A frame in a traceback.
_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+)', re.MULTILINE)

#: What differs between two failures of one kind, and what stands for it. In this order.
_VALUES = (
    (re.compile(r"(?<!\w)'(?:[^'\\]|\\.)*'(?!\w)"), "'…'"),
    (re.compile(r'"(?:[^"\\]|\\.)*"'), '"…"'),
    (re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"), "…"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b"), "…"),
    (re.compile(r"\b(?=[a-fA-F]*\d)[0-9a-fA-F]{8,}\b"), "…"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "#"),
)
#: How much of a reason is shown.
_SHOWN = 500
#: How many digits a group's number has at least.
_LEAST_DIGITS = 3


class Kind(NamedTuple):
    """What the letters of a group have in common.

    :ivar place: the line that raised, as ``file:line``; None where there is no traceback.
    :ivar reason: the masked reason, where that is all that tells one kind from another.
    """

    error_type: str | None
    handler: str | None
    place: str | None
    reason: str | None

    def digits(self) -> str:
        """Return digits that stay the same whatever else is in the store."""
        text = "\0".join(part or "" for part in self)
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        # The first digit is no zero, so that the number survives those who take it for one.
        return str(10**17 + int.from_bytes(digest, "big") % (9 * 10**17))


class Group(NamedTuple):
    """Letters that failed alike.

    :ivar number: short, and the same tomorrow; what the commands call it by.
    :ivar reason: one of their reasons, with numbers, quoted texts and ids masked.
    """

    number: str
    kind: Kind
    reason: str
    letters: int
    first_seen: datetime
    last_seen: datetime


def masked_reason(reason: str) -> str:
    """Return the first line of a reason with numbers, quoted texts and ids masked."""
    text = " ".join(reason[:MAX_REASON].strip().partition("\n")[0].split())
    for pattern, mask in _VALUES:
        text = pattern.sub(mask, text)
    return text


def kind_of(letter: DeadLetter) -> Kind:
    """Return the kind that a letter is of."""
    place = _place(letter.traceback)
    reason = masked_reason(letter.reason) if place is None else None
    return Kind(letter.error_type, letter.handler, place, reason)


def group(letters: Iterable[DeadLetter]) -> list[Group]:
    """Group letters by error, handler and raising line, the most frequent first."""
    found: dict[Kind, tuple[str, int, datetime, datetime]] = {}
    for letter in letters:
        kind = kind_of(letter)
        first, last = letter.first_failed, letter.last_failed
        reason, count, first_seen, last_seen = found.get(kind, ("", 0, first, last))
        found[kind] = (
            reason or shortened(masked_reason(letter.reason), _SHOWN),
            count + 1,
            min(first_seen, first),
            max(last_seen, last),
        )
    numbers = _numbers(found)
    groups = [Group(numbers[kind], kind, *rest) for kind, rest in found.items()]
    return sorted(groups, key=lambda one: (-one.letters, one.number))


def kind_with(number: str, letters: Iterable[DeadLetter]) -> Kind:
    """Return the kind that a group's number stands for.

    :raises click.UsageError: no group of these letters has it, or several have.
    """
    groups = group(letters)
    found = [one for one in groups if one.kind.digits().startswith(number)]
    if len(found) == 1 and number.isdigit():
        return found[0].kind
    there = ", ".join(one.number for one in found or groups) or "none"
    if found:
        raise click.UsageError(f"{number} is the beginning of several groups: {there}")
    raise click.UsageError(
        f"there is no group {number}; there are {there}; see missive dlq summary"
    )


def number_of(kind: Kind) -> str:
    """Return the number of a group, where there is no other to tell it from."""
    return kind.digits()[:_LEAST_DIGITS]


def _numbers(kinds: Iterable[Kind]) -> dict[Kind, str]:
    """Return for each kind the shortest beginning of its digits that no other one has."""
    digits = {kind: kind.digits() for kind in kinds}
    shortest = shortest_prefixes(digits.values(), _LEAST_DIGITS)
    return {kind: shortest[own] for kind, own in digits.items()}


def _place(traceback: str | None) -> str | None:
    """Return the line that raised, without its folder: that is another one on each machine."""
    frames = _FRAME.findall(traceback or "")
    if not frames:
        return None
    path, line = frames[-1]
    folder, _, name = path.replace("\\", "/").rpartition("/")
    if name == "__init__.py":
        name = f"{folder.rpartition('/')[2]}/{name}"
    return f"{name}:{line}"
