"""Replies: the reader that turns the bytes of a connection into what Redis said."""

from __future__ import annotations

from typing import Any, Protocol

from redis.exceptions import InvalidResponse

from .errors import ServerError

hiredis: Any
try:
    import hiredis
except ImportError:  # the quick parser is not needed, only much wanted
    hiredis = None

#: What ``gets`` gives while no reply has come whole. Replies may be None and False.
UNFINISHED: Any = object()


class Reader(Protocol):
    """What is fed the bytes of a connection and gives the replies in them; hiredis has it."""

    def feed(self, data: Any, start: int, length: int, /) -> None:
        """Take ``length`` bytes from ``start`` on."""

    def gets(self) -> Any:
        """Return the next reply, or ``UNFINISHED``.

        :raises InvalidResponse: these bytes are not what Redis speaks.
        """


def make_reader() -> Reader:
    """Make a reader: that of hiredis, where it is installed."""
    if hiredis is None:
        return PureReader()
    reader: Reader = hiredis.Reader(
        protocolError=InvalidResponse, replyError=ServerError, notEnoughData=UNFINISHED
    )
    return reader


class PureReader:
    """A reader of RESP2 in Python, for where hiredis cannot be had.

    https://redis.io/docs/latest/develop/reference/protocol-spec/ describes the protocol. Bulk
    strings and simple strings become bytes, errors become values, as with hiredis.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._position = 0
        self._open: list[_Array] = []  # the arrays that have begun, outermost first

    def feed(self, data: Any, start: int, length: int, /) -> None:
        """Take ``length`` bytes from ``start`` on."""
        if self._position:
            del self._buffer[: self._position]
            self._position = 0
        self._buffer += memoryview(data)[start : start + length]

    def gets(self) -> Any:
        """Return the next reply, or ``UNFINISHED``.

        :raises InvalidResponse: these bytes are not RESP2.
        """
        while True:
            value = self._next_value()
            if value is UNFINISHED:
                return value
            if isinstance(value, _Array):
                if value.length:
                    self._open.append(value)
                    continue
                value = value.elements
            while self._open:
                array = self._open[-1]
                array.elements.append(value)
                if len(array.elements) < array.length:
                    break
                value = self._open.pop().elements
            else:
                return value

    def _next_value(self) -> Any:
        buffer, begin = self._buffer, self._position
        end = buffer.find(b"\r\n", begin)
        if end < 0:
            return UNFINISHED
        line = bytes(buffer[begin:end])
        try:
            if line[:1] == b"$":
                return self._bulk(int(line[1:]), end + 2)
            value = self._line(line[:1], line[1:])
        except ValueError as error:
            raise InvalidResponse("the server sent an invalid length or number") from error
        self._position = end + 2
        return value

    def _bulk(self, length: int, begin: int) -> Any:
        if length < 0:
            self._position = begin
            return None
        end = begin + length
        if len(self._buffer) < end + 2:
            return UNFINISHED
        self._position = end + 2
        return bytes(memoryview(self._buffer)[begin:end])

    def _line(self, kind: bytes, line: bytes) -> Any:
        if kind == b"+":
            return line
        if kind == b":":
            return int(line)
        if kind == b"-":
            return ServerError(line.decode("utf-8", "replace"))
        if kind == b"*":
            length = int(line)
            return None if length < 0 else _Array(length)
        raise InvalidResponse("the server does not speak RESP2")


class _Array:
    """An array that has begun: its elements are the replies that follow."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.elements: list[Any] = []
