"""Stdin: one message a line, from a pipe, a terminal or any binary file."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from ..capabilities import Capabilities
from ..errors import ConfigurationError, NackUnsupported
from ..messages import M
from ..polling import EndOfInput, PollingAdapter
from ..urls import read_flag, read_options

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..polling import PollingOptions
    from ..processor import Processor

#: How much is read at once, in bytes: what a Linux pipe holds.
CHUNK_SIZE = 65_536
#: Lines longer than this are split by a file in memory, shorter ones by bytes.split, in bytes.
#: The one costs 93 ns for a line of 1 KB and 42 for one of 6 bytes, the other 325 and 11.
LONG_LINE = 128


class StdinAdapter(PollingAdapter[M]):
    r"""Takes each line of a binary file as a message, until the file ends.

    A message is the line's bytes without its ``\n`` or ``\r\n``, otherwise untouched, whatever
    its length. The last line need not end in a newline. A file cannot be given a message back, so
    a nack goes to the DLQ, and without one ends ``run``.

    :param filelike: a binary file; standard input unless given.
    :param keep_empty: take empty lines as empty messages, instead of skipping them.
    :param options: what every :class:`~missive.PollingAdapter` takes.
    :raises ConfigurationError: the file is a text file.
    """

    capabilities = Capabilities(
        delivery="at-most-once",
        nack="drop-refused",
        ordering="total",
        binary_safe=False,
        empty_body=False,
    )
    source = "stdin"

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        processor: Processor[M],
        filelike: BinaryIO | None = None,
        *,
        keep_empty: bool = False,
        **options: Unpack[PollingOptions],
    ) -> None:
        super().__init__(message_cls, processor, **options)
        if isinstance(filelike, io.TextIOBase):
            raise ConfigurationError(
                "StdinAdapter reads bytes, and was given a text file; give its .buffer, or open it"
                ' with "rb"'
            )
        self.filelike = filelike
        self.keep_empty = keep_empty
        self._parts: list[bytes] = []  # the line that has begun and not ended
        self._lines_are_long = False  # in the chunk before

    @classmethod
    def from_url(
        cls,
        url: str,
        message_cls: Callable[[bytes], Any],
        processor: Processor[Any],
        **options: Any,
    ) -> StdinAdapter[Any]:
        """Build the adapter from ``stdin:``, with its keyword arguments in the query if need be.

        :raises ConfigurationError: a path follows the scheme, or an option cannot be read.
        """
        if url.partition("?")[0].partition(":")[2] not in ("", "//"):
            raise ConfigurationError(
                "stdin: takes no address, since it reads standard input alone; redirect a file to"
                " it with <, or give StdinAdapter the open file"
            )
        readers = {**cls.url_options, "keep_empty": read_flag}
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
        try:
            self._fd: int | None = file.fileno()
        except (AttributeError, OSError):  # a file in memory
            self._fd = None

    def close(self) -> None:
        """Leave the file open: it is not ours."""

    def receive(self, timeout: float) -> Sequence[bytes]:
        """Give the lines that have come whole."""
        if self._fd is not None and not self.wait(timeout, self._fd):
            return ()
        chunk = self._read(CHUNK_SIZE)
        if chunk is None:  # a non-blocking file without anything to read
            return ()
        if not chunk:
            return self._last_line()
        if b"\n" not in chunk:
            self._parts.append(chunk)
            return ()
        lines, rest = self._split(chunk)
        if self._parts:
            lines[0] = b"".join([*self._parts, lines[0]])
        returns = b"\r" in chunk or b"\r" in lines[0][-1:]
        self._parts = [rest] if rest else []
        if returns:
            lines = [line[:-1] if line.endswith(b"\r") else line for line in lines]
        return lines if self.keep_empty else list(filter(None, lines))

    def _split(self, chunk: bytes) -> tuple[list[bytes], bytes]:
        """Give the lines that end in a chunk, and what stands behind the last one."""
        if self._lines_are_long:
            end = chunk.rfind(b"\n") + 1
            lines = [line[:-1] for line in io.BytesIO(chunk[:end])]
            rest = chunk[end:]
        else:
            lines = chunk.split(b"\n")
            rest = lines.pop()
        self._lines_are_long = len(chunk) > LONG_LINE * len(lines)
        return lines, rest

    def _last_line(self) -> Sequence[bytes]:
        if not self._parts:
            raise EndOfInput
        line = b"".join(self._parts)
        self._parts = []
        return (line,)

    def ack(self, message: M) -> None:
        """Do nothing: what was read is gone from the file."""

    def nack(self, message: M) -> None:
        """Refuse; by its capabilities nobody calls this.

        :raises NackUnsupported: always.
        """
        raise NackUnsupported(message, self)
