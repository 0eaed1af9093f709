"""Reading a file in a thread of its own: where nothing else tells whether there is data."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

#: How many chunks wait at most for the receiving thread.
READ_AHEAD = 4


class ReaderThread:
    """Reads chunks until the end of a file; it may block there, and the receiving thread need not.

    :param file: the binary file.
    :param size: how much to read at once, in bytes.
    :param on_data: called in the thread when there is something to take.
    """

    def __init__(self, file: Any, size: int, on_data: Callable[[], None]) -> None:
        self.file = file
        self._size = size
        self._on_data = on_data
        self._chunks: deque[bytes] = deque()
        self._room = threading.Semaphore(READ_AHEAD)
        self._failure: BaseException | None = None
        self._at_end = False
        threading.Thread(target=self._run, name="missive-reader", daemon=True).start()

    @property
    def has_data(self) -> bool:
        """Whether ``read`` returns at once with data, the end, or an error."""
        return bool(self._chunks) or self._at_end

    def read(self, size: int) -> bytes:
        """Return the next chunk; empty at the end of the file. Call it where ``has_data`` is true.

        :param size: ignored; chunks are as long as they were read.
        :raises BaseException: what reading raised.
        """
        if self._chunks:
            self._room.release()
            return self._chunks.popleft()
        if self._failure is not None:
            raise self._failure
        return b""

    def _run(self) -> None:
        read = getattr(self.file, "read1", self.file.read)
        try:
            while True:
                self._room.acquire()
                chunk = read(self._size)
                if not chunk:
                    break
                self._chunks.append(chunk)
                self._on_data()
        except BaseException as error:  # raised by read(), in the receiving thread
            self._failure = error
        self._at_end = True
        self._on_data()
