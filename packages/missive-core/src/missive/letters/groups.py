"""Groups: letters that failed alike, whatever the values that their reasons name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from .letter import DeadLetter
from .prefixes import shortest_prefixes
from .tracebacks import MAX_REASON, shortened

#: A frame in a traceback, and how its line begins.
_FRAME = re.compile(r'  File "(?P<file>.*)", line (?P<line>\d+)')
_FRAME_BEGINS = '  File "'

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
        """Return 18 digits that stay the same whatever else is in the store."""
        return _digits(self)


class Group(NamedTuple):
    """Letters that failed alike.

    :ivar number: short, and the same tomorrow; what commands and pages call it by.
    :ivar reason: one of their reasons, with numbers, quoted texts and ids masked.
    :ivar letters: how many there are.
    :ivar first_seen: when the first of them failed first, in UTC; it may have left the store since.
    :ivar last_seen: when the last of them failed last, in UTC.
    """

    number: str
    kind: Kind
    reason: str
    letters: int
    first_seen: datetime
    last_seen: datetime


def masked_reason(reason: str) -> str:
    """Return the first line of a reason with numbers, quoted texts and ids masked."""
    return _masked(reason[:MAX_REASON].strip().partition("\n")[0])


@lru_cache(maxsize=64)  # many letters in a row have the same reason, as in an outage
def _masked(line: str) -> str:
    text = " ".join(line.split())
    for pattern, mask in _VALUES:
        text = pattern.sub(mask, text)
    return text


def kind_of(letter: DeadLetter) -> Kind:
    """Return the kind that a letter is of."""
    return kind_from(letter.error_type, letter.handler, letter.reason, letter.traceback)


def kind_from(
    error_type: str | None, handler: str | None, reason: str, traceback: str | None
) -> Kind:
    """Return the kind of a letter with these fields: for a store that keeps its digits."""
    place = raising_line(traceback)
    return Kind(error_type, handler, place, masked_reason(reason) if place is None else None)


def group_letters(letters: Iterable[DeadLetter], limit: int | None = None) -> list[Group]:
    """Group letters by error, handler and raising line, the most frequent first.

    :param limit: only this many groups.
    """
    found: dict[Kind, tuple[str, int, datetime, datetime]] = {}
    for letter in letters:
        kind = kind_of(letter)
        first, last = letter.first_failed, letter.last_failed
        reason, count, first_seen, last_seen = found.get(kind, ("", 0, first, last))
        found[kind] = (
            reason or shown_reason(letter.reason),
            count + 1,
            min(first_seen, first),
            max(last_seen, last),
        )
    ordered = sorted(found.items(), key=lambda one: (-one[1][1], one[0].digits()))
    return numbered(ordered if limit is None else ordered[: max(limit, 0)])


def numbered(found: Iterable[tuple[Kind, tuple[str, int, datetime, datetime]]]) -> list[Group]:
    """Return groups with numbers, each the shortest beginning of its digits that no other has.

    :param found: the kinds, each with a masked reason, how many letters, first and last seen.
    """
    found = list(found)
    shortest = shortest_prefixes((kind.digits() for kind, _ in found), _LEAST_DIGITS)
    return [Group(shortest[kind.digits()], kind, *seen) for kind, seen in found]


def number_of(kind: Kind) -> str:
    """Return the number of a group, where there is no other to tell it from."""
    return kind.digits()[:_LEAST_DIGITS]


def shown_reason(reason: str) -> str:
    """Return a reason as a group shows it: masked, and not too long."""
    return shortened(masked_reason(reason), _SHOWN)


@lru_cache(maxsize=1024)
def _digits(kind: Kind) -> str:
    text = "\0".join(part or "" for part in kind)
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    # The first digit is no zero, so that the number survives those who take it for one.
    return str(10**17 + int.from_bytes(digest, "big") % (9 * 10**17))


def raising_line(traceback: str | None) -> str | None:
    """Return the line that raised, without its folder: that is another one on each machine."""
    frame = _last_frame(traceback) if traceback else None
    if frame is None:
        return None
    folder, _, name = frame["file"].replace("\\", "/").rpartition("/")
    if name == "__init__.py":
        name = f"{folder.rpartition('/')[2]}/{name}"
    return f"{name}:{frame['line']}"


def _last_frame(traceback: str) -> re.Match[str] | None:
    end = len(traceback)
    while (at := traceback.rfind(_FRAME_BEGINS, 0, end)) >= 0:
        frame = _FRAME.match(traceback, at)
        if frame is not None and (at == 0 or traceback[at - 1] == "\n"):
            return frame
        end = at
    return None
