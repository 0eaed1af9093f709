"""Harnesses of the adapters and DLQs of this repository."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from missive import DLQ, Adapter, Processor, RawMessage, TestAdapter
from missive.adapters.stdin import StdinAdapter
from missive.conformance import AdapterHarness, DLQHarness


class RunnableTestAdapter(TestAdapter[Any]):
    """A test client that is fed from a queue, so that it can be run and stopped like the others."""

    def __init__(
        self, queue: deque[tuple[bytes, dict[str, Any]]], *arguments: Any, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.ready = threading.Event()
        self._queue = queue
        self._changed = threading.Event()
        self._stopping = False

    def run(self) -> None:
        """Send what is in the queue; leave there what could not be settled."""
        try:
            if not self._stopping:
                self._run()
        finally:
            self._stopping = False
            self.ready.clear()
            self.close()

    def _run(self) -> None:
        with self:
            self.ready.set()
            while not self._stopping:
                self._changed.clear()
                while self._queue and not self._stopping:
                    body, envelope = self._queue[0]
                    self.send(body, **envelope)
                    self._queue.popleft()
                if not self._stopping and not self.redeliver():
                    self._changed.wait()

    def nudge(self) -> None:
        """Have a look at the queue."""
        self._changed.set()

    def stop(self) -> None:
        """End the run when the message in hand is settled."""
        self._stopping = True
        self._changed.set()


class TestAdapterHarness(AdapterHarness):
    """The test client, behind a queue in memory."""

    __test__ = False
    adapter_cls = TestAdapter
    reaches_processes = False

    def start(self) -> None:
        self.queue: deque[tuple[bytes, dict[str, Any]]] = deque()
        self.made: list[RunnableTestAdapter] = []

    def make_adapter(
        self,
        processor: Processor[Any],
        message_cls: Callable[[bytes], Any] = RawMessage,
        **options: Any,
    ) -> Adapter[Any]:
        self.made.append(RunnableTestAdapter(self.queue, processor, message_cls, **options))
        return self.made[-1]

    def publish(
        self, body: bytes, *, headers: Mapping[str, str] | None = None, source: str | None = None
    ) -> bool:
        self.queue.append((body, {"headers": headers}))
        for adapter in self.made:
            adapter.nudge()
        return True

    def remaining(self) -> int:
        return len(self.queue) + sum(len(adapter._returned) for adapter in self.made)


class StdinHarness(AdapterHarness):
    """Lines through a named pipe."""

    adapter_cls = StdinAdapter
    url = "stdin:"

    def start(self) -> None:
        path = self.folder / "pipe"
        os.mkfifo(path)
        self.address["pipe"] = str(path)
        # Open for reading too, so that it neither blocks here nor ever ends for the reader.
        self.pipe = os.open(path, os.O_RDWR)
        self.file = os.fdopen(os.dup(self.pipe), "rb", buffering=0)
        self.sizes: list[int] = []

    def stop(self) -> None:
        self.file.close()
        os.close(self.pipe)

    def make_adapter(
        self,
        processor: Processor[Any],
        message_cls: Callable[[bytes], Any] = RawMessage,
        **options: Any,
    ) -> Adapter[Any]:
        if not hasattr(self, "file"):  # in a child process
            self.file = Path(self.address["pipe"]).open("r+b", buffering=0)  # noqa: SIM115
        return StdinAdapter(message_cls, processor, self.file, **options)

    def publish(
        self, body: bytes, *, headers: Mapping[str, str] | None = None, source: str | None = None
    ) -> bool:
        line = memoryview(body + b"\n")
        self.sizes.append(len(line))
        while line:  # a pipe holds less than a large message
            line = line[os.write(self.pipe, line) :]
        return True

    def remaining(self) -> int:
        waiting: int
        (waiting,) = struct.unpack("i", fcntl.ioctl(self.pipe, termios.FIONREAD, b"\0" * 4))
        count = 0
        while waiting > 0:
            count += 1
            waiting -= self.sizes[-count]
        return count


class DictHarness(DLQHarness):
    """A plain dict."""

    dlq_cls = dict

    def open(self) -> DLQ:
        return {}
