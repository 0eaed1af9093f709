"""The harness of the sound store, and so of its mutants."""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import ClassVar

from missive import DLQ, MemoryDLQ
from missive.conformance import DLQHarness
from missive.conformance.dlq_lab import letter

from .store import FORMAT, FileDLQ, row_of


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

    def older(self) -> Mapping[bytes, tuple[bytes, str]]:
        store = MemoryDLQ()
        store.put_many(letter(number, b"body %d" % number) for number in range(3))
        rows = [row_of(found) for found in store.letters()]
        for row in rows:
            del row["state"], row["due"], row["attempt"]
        rest = json.dumps({"letters": rows, "claims": [], "last": 3}).encode()
        head = {"format": FORMAT, "version": 1, "crc": zlib.crc32(rest)}
        self.path.write_bytes(json.dumps(head).encode() + b"\n" + rest)
        return {found.id: (found.raw_data, found.reason) for found in store.letters()}

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
