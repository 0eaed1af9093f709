"""Arrays: columns of a batch, as PostgreSQL's binary protocol has them.

psycopg writes an array element by element in Python, through a text with every quote escaped. For a
thousand letters that is half of what their insertion takes (benchmarks/postgresql.py, "put, 1000").
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

from psycopg import pq
from psycopg.adapt import Dumper

_EPOCH = datetime(2000, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)

#: One dimension, NULLs allowed, the type of the elements, their number, the first index.
_HEADER = struct.Struct("!iiIii")
_LENGTH = struct.Struct("!i")
_INTEGER = struct.Struct("!iq")
_NULL = b"\xff\xff\xff\xff"


class Array:
    """An array that is written already."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class ArrayDumper(Dumper):
    """Sends an array; its type is that which the statement says."""

    format = pq.Format.BINARY

    def dump(self, obj: Array) -> bytes:
        """Return the array."""
        return obj.data


def _text(value: str) -> bytes:
    encoded = value.encode()
    return _LENGTH.pack(len(encoded)) + encoded


def _bytes(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value


def _integer(value: int) -> bytes:
    return _INTEGER.pack(8, value)


def _moment(value: datetime) -> bytes:
    return _INTEGER.pack(8, (value - _EPOCH) // _MICROSECOND)


#: By the type of a column: the number of the type of its elements, and what writes one.
_TYPES: dict[str, tuple[int, Callable[[Any], bytes]]] = {
    "bytea": (17, _bytes),
    "bigint": (20, _integer),
    "text": (25, _text),
    "json": (25, _text),  # which the statement casts
    "timestamptz": (1184, _moment),
}


def array(kind: str, values: Iterable[Any]) -> Array:
    """Return the array of a column's values.

    :param kind: the type of the column.
    """
    number, write = _TYPES[kind]
    parts = [b""]
    last: Any = None
    written = _NULL
    for value in values:
        if value is not last and value != last:  # the letters of a batch have much in common
            last, written = value, _NULL if value is None else write(value)
        parts.append(written)
    parts[0] = _HEADER.pack(1, 1, number, len(parts) - 1, 1)
    return Array(b"".join(parts))
