"""The harness of the sound store, and so of its mutants."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import ClassVar

from missive import DLQ
from missive.conformance import DLQHarness

from .store import FORMAT, FileDLQ


class FileHarness(DLQHarness):
    """A store in a file of its own."""

    dlq_cls: ClassVar[type[FileDLQ]] = FileDLQ
    persistent = True
    shared = True
    patience = 8.0

    @property
    def path(self) -> Path:
        """Where the store is."""
        return self.folder / "letters"

    def open(self) -> DLQ:
        return self.dlq_cls(self.path)

    def corrupt(self) -> None:
        content = bytearray(self.path.read_bytes())
        content[len(content) // 2] ^= 1
        self.path.write_bytes(content)

    def foreign(self) -> None:
        self.path.write_text("Dear diary,\nnothing here is a dead letter.\n")

    def newer(self) -> None:
        head = {"format": FORMAT, "version": 99, "crc": 0}
        self.path.write_text(json.dumps(head) + "\nwho knows\n")

    def locked(self) -> AbstractContextManager[None]:
        return self._locked()

    @contextmanager
    def _locked(self) -> Generator[None]:
        descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.close(descriptor)

    def read_only(self) -> None:
        for path in self.folder.iterdir():
            path.chmod(0o444)
        self.folder.chmod(0o555)
