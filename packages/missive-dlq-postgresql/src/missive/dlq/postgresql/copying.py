"""Copying: a batch of letters as COPY takes it, in PostgreSQL's binary format.

The server inserts what came while the rest is written here: of a thousand letters that takes half
the time of one INSERT with an array for each column (benchmarks/postgresql.py, "1000 in a
statement").
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from itertools import chain, islice
from typing import Any

from missive import DeadLetter

from .rows import letter_values
from .statements import COLUMNS

#: How many letters are sent at once.
SENT_AT_ONCE = 50

_EPOCH = datetime(2000, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
#: A signature, no flags, no extension.
_BEGINNING = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_ROW = struct.pack("!h", len(COLUMNS))
_LENGTH = struct.Struct("!i")
_INTEGER = struct.Struct("!iq")
_NULL = b"\xff\xff\xff\xff"


def copied(letters: Iterable[DeadLetter]) -> Iterator[bytes]:
    """Return letters as COPY takes them, with the columns of ``statements.COLUMNS``, in pieces."""
    yield _BEGINNING
    rest = iter(letters)
    while some := list(islice(rest, SENT_AT_ONCE)):
        columns = zip(*map(letter_values, some), strict=True)
        written = map(_written, COLUMNS.values(), columns)
        yield b"".join(chain.from_iterable(zip([_ROW] * len(some), *written, strict=True)))
    yield _END


def _written(kind: str, values: Sequence[Any]) -> list[bytes]:
    """Return the values of a column, each after its length."""
    write, first = _WRITERS[kind], values[0]
    if values.count(first) == len(values):  # the letters of a batch have much in common
        return [_NULL if first is None else write(first)] * len(values)
    return [_NULL if value is None else write(value) for value in values]


def _text(value: str) -> bytes:
    return _bytes(value.encode())


def _bytes(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value


def _integer(value: int) -> bytes:
    return _INTEGER.pack(8, value)


def _moment(value: datetime) -> bytes:
    return _INTEGER.pack(8, (value - _EPOCH) // _MICROSECOND)


#: What writes a value, by the type of its column.
_WRITERS: dict[str, Callable[[Any], bytes]] = {
    "bytea": _bytes,
    "bigint": _integer,
    "text": _text,
    "json": _text,
    "timestamptz": _moment,
}
