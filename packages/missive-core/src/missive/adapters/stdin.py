"""Stdin: one message a line, from a pipe, a terminal or any binary file."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from ..capabilities import Capabilities
from ..delivery import Delivery
from ..errors import ConfigurationError, NackUnsupported
from ..message import M
from ..polling.adapter import PollingAdapter
from ..polling.options import check_count
from ..polling.port import EndOfInput
from ..processor import Processor
from ..urls import read_flag, read_options
from .reading import ReaderThread

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..polling.options import PollingOptions

__all__ = ["StdinAdapter"]

#: How much is read at once, in bytes: what a Linux pipe holds.
CHUNK_SIZE = 65_536
#: Lines longer than this are split by a file in memory, shorter ones by bytes.split, in bytes.
#: The one costs 93 ns for a line of 1 KB and 42 for one of 6 bytes, the other 325 and 11.
LONG_LINE = 128


class StdinAdapter(PollingAdapter[M]):
    r"""Takes each line of a binary file as a message, until the file ends.

    A message is the line's bytes without its ``\n`` or ``\r\n``, otherwise unchanged, and of any
    length. The last line need not end in a newline. A message cannot be returned to a file, so
    a nack goes to the DLQ, and without one ends ``run``.

    :param filelike: a binary file; standard input unless given.
    :param keep_empty: take empty lines as empty messages, instead of skipping them.
    :param max_bytes: the longest line, in bytes; of a longer one the first ``max_bytes`` become a
        dead letter that says how long it was. None: no limit, so input without line ends fills the
        memory.
    :param options: what every :class:`~missive.polling.PollingAdapter` takes.
    :raises ConfigurationError: the file is a text file, or ``max_bytes`` is not a whole number
        from 1.
    """

    capabilities = Capabilities(
        delivery="at-most-once",
        nack="drop-refused",
        ordering="total",
        binary_safe=False,
        empty_body=False,
    )
    source = "stdin"
    where_leftovers_go = (
        "they cannot be read again, so they are lost unless this adapter runs again"
    )

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        processor: Processor[M],
        filelike: BinaryIO | None = None,
        *,
        keep_empty: bool = False,
        max_bytes: int | None = None,
        **options: Unpack[PollingOptions],
    ) -> None:
        super().__init__(message_cls, processor, **options)
        if isinstance(filelike, io.TextIOBase):
            raise ConfigurationError(
                "StdinAdapter reads bytes, and was given a text file; give its .buffer, or open it"
                ' with "rb"'
            )
        if max_bytes is not None:
            check_count(self, "max_bytes", max_bytes)
        self.filelike = filelike
        self.keep_empty = keep_empty
        self.max_bytes = max_bytes
        self._parts: list[bytes] = []  # the line that has begun and not ended
        self._length = 0  # of that line so far, what was not kept included
        self._lines_are_long = False  # in the chunk before
        self._reader: ReaderThread | None = None

    @classmethod
    def from_url(
        cls,
        url: str,
        message_cls: Callable[[bytes], Any],
        processor: Any,
        **options: Any,
    ) -> StdinAdapter[Any]:
        """Return the adapter for ``stdin:``, with its keyword arguments in the query.

        :raises ConfigurationError: a path follows the scheme, or an option cannot be read.
        """
        if url.partition("?")[0].partition(":")[2] not in ("", "//"):
            raise ConfigurationError(
                "stdin: takes no address, since it reads only standard input; redirect a file to"
                " it with <, or give StdinAdapter the open file"
            )
        readers: dict[str, Callable[[str], Any]] = {
            **cls.url_options,
            "keep_empty": read_flag,
            "max_bytes": int,
        }
        return cls(message_cls, processor, **{**read_options(url, readers), **options})

    def open(self) -> None:
        """Find out how the file is read.

        :raises ConfigurationError: this process has no standard input of bytes.
        """
        file: Any = getattr(sys.stdin, "buffer", None) if self.filelike is None else self.filelike
        if file is None:
            raise ConfigurationError(
                "StdinAdapter finds no standard input to read bytes from (it is closed, or was"
                " replaced by text); give it an open file"
            )
        self._read: Callable[[int], bytes | None] = getattr(file, "read1", file.read)
        self._buffered = False
        self._fd: int | None = None
        try:
            number: int = file.fileno()
        except (AttributeError, OSError):  # a file in memory
            return
        if not _reads_its_descriptor(file):
            # What stands above the descriptor (gzip) may have more when that has nothing.
            if self._reader is None or self._reader.file is not file:
                self._reader = ReaderThread(file, CHUNK_SIZE, self.wake)
            self._read = self._reader.read
            return
        self._fd = number
        if isinstance(file, io.BufferedReader):
            self._buffered = _has_read_ahead(cast("io.BufferedReader", file), number)

    def close(self) -> None:
        """Leave the file open, since the caller opened it."""

    def receive(self, timeout: float) -> Sequence[Delivery | bytes]:
        """Return the lines that have arrived whole."""
        if not self._has_data(timeout):
            return ()
        chunk = self._read(CHUNK_SIZE)
        if chunk is None:  # a non-blocking file without anything to read
            return ()
        if not chunk:
            return self._last_line()
        if b"\n" not in chunk:
            self._begin_line(chunk)
            return ()
        lines, rest = self._split(chunk)
        first: list[Delivery | bytes] = []
        if self._parts:
            self._begin_line(lines.pop(0))
            first = self._end_line()
        if b"\r" in chunk:
            lines = [line[:-1] if line.endswith(b"\r") else line for line in lines]
        if rest:
            self._begin_line(rest)
        if not self.keep_empty:
            lines = list(filter(None, lines))
        if self.max_bytes is None:
            return [*first, *lines] if first else lines
        return [*first, *(self._checked(line, len(line)) for line in lines)]

    def _has_data(self, timeout: float) -> bool:
        """Wait until reading would not block; return False where nothing has come."""
        buffered, self._buffered = self._buffered, False
        if self._reader is not None:
            if not self._reader.has_data:
                self.wait(timeout)
            return self._reader.has_data
        return buffered or self._fd is None or self.wait(timeout, self._fd)

    def _begin_line(self, part: bytes) -> None:
        """Keep a part of a line that has not ended, as far as a line may be long."""
        room = len(part) if self.max_bytes is None else self.max_bytes + 2 - self._length
        self._length += len(part)
        if room > 0:
            self._parts.append(part[:room])

    def _end_line(self, *, ended: bool = True) -> list[Delivery | bytes]:
        line, length = b"".join(self._parts), self._length
        self._parts, self._length = [], 0
        if ended and line.endswith(b"\r") and len(line) == length:
            line, length = line[:-1], length - 1
        return [self._checked(line, length)] if line or self.keep_empty else []

    def _checked(self, line: bytes, length: int) -> Delivery | bytes:
        if self.max_bytes is None or length <= self.max_bytes:
            return line
        reason = f"a line of {length} bytes, longer than max_bytes={self.max_bytes}"
        return Delivery(line[: self.max_bytes], source=self.source, rejection=(reason, "decoding"))

    def _split(self, chunk: bytes) -> tuple[list[bytes], bytes]:
        """Return the lines that end in a chunk, and what follows the last one."""
        if self._lines_are_long:
            end = chunk.rfind(b"\n") + 1
            lines = [line[:-1] for line in io.BytesIO(chunk[:end])]
            rest = chunk[end:]
        else:
            lines = chunk.split(b"\n")
            rest = lines.pop()
        self._lines_are_long = len(chunk) > LONG_LINE * len(lines)
        return lines, rest

    def _last_line(self) -> Sequence[Delivery | bytes]:
        if not self._parts:
            raise EndOfInput
        return self._end_line(ended=False)

    def ack(self, message: M) -> None:
        """Do nothing: what was read is gone from the file."""

    def nack(self, message: M) -> None:
        """Refuse; the capabilities say that nacks are not passed to this adapter.

        :raises NackUnsupported: always.
        """
        raise NackUnsupported(message, self)


def _reads_its_descriptor(file: Any) -> bool:
    """Return whether a file has data when its descriptor is readable, but for what it buffers."""
    raw: object = getattr(file, "raw", None) if type(file) is io.BufferedReader else file
    return isinstance(raw, io.FileIO)


def _has_read_ahead(file: io.BufferedReader, fd: int) -> bool:
    """Return whether somebody has made a file read more than they took."""
    if not hasattr(os, "set_blocking"):  # Windows, before Python 3.12
        return False
    blocking = os.get_blocking(fd)
    os.set_blocking(fd, False)
    try:
        return bool(file.peek(1))
    finally:
        os.set_blocking(fd, blocking)
