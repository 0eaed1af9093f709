"""A DLQ in a folder: a JSON file for each dead letter."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from missive import DeadLetterStoreError, Envelope, Message, RawMessage


class FolderDLQ(MutableMapping[bytes, tuple[Message, str]]):
    """Keeps each letter as a file that can be read with any editor.

    For one process at a time; its threads may share it.

    :param folder: where the files go; made if it is not there.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()

    def __setitem__(self, key: bytes, letter: tuple[Message, str]) -> None:
        message, reason = letter
        record = {
            "key": key.hex(),
            "message_id": message.message_id.hex(),
            "reason": reason,
            "source": message.source,
            "headers": dict(message.headers),
            "body": base64.b64encode(message.raw_data).decode("ascii"),
        }
        with self._lock:
            path = self._find(key) or self.folder / f"{self._next_number():020}-{digest(key)}.json"
            try:
                write_durably(path, json.dumps(record, indent=2))
            except OSError as error:
                raise DeadLetterStoreError(
                    f"{self.folder} cannot keep a letter ({error.strerror}); make room there, and"
                    " make sure that this user may write to it"
                ) from error

    def __getitem__(self, key: bytes) -> tuple[Message, str]:
        path = self._find(key)
        if path is None:
            raise KeyError(key)
        record = json.loads(path.read_text(encoding="utf-8"))
        message = RawMessage(base64.b64decode(record["body"]))
        message_id = bytes.fromhex(record["message_id"])
        message.put_in(Envelope(message_id, record["headers"], record["source"]))
        return message, record["reason"]

    def __delitem__(self, key: bytes) -> None:
        with self._lock:
            path = self._find(key)
            if path is None:
                raise KeyError(key)
            path.unlink()

    def __iter__(self) -> Iterator[bytes]:
        for path in self._paths():
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
            except FileNotFoundError:  # removed while we iterate
                continue
            yield bytes.fromhex(record["key"])

    def __len__(self) -> int:
        return len(self._paths())

    def close(self) -> None:
        """Release what is held; any number of times. Between two calls that is nothing."""

    def __repr__(self) -> str:
        return f"<FolderDLQ {self.folder}>"

    def _paths(self) -> list[Path]:
        """Return the files of all letters, oldest first: the names begin with a rising number."""
        return sorted(self.folder.glob("*.json"))

    def _find(self, key: bytes) -> Path | None:
        return next(self.folder.glob(f"*-{digest(key)}.json"), None)

    def _next_number(self) -> int:
        paths = self._paths()
        return int(paths[-1].name.partition("-")[0]) + 1 if paths else 1


def digest(key: bytes) -> str:
    """Make a name for a file of a key, which may hold any bytes and be of any length."""
    return hashlib.sha256(key).hexdigest()


def write_durably(path: Path, text: str) -> None:
    """Write a file whole or not at all; when this returns it survives a power cut."""
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name is the folder's content
    finally:
        os.close(folder)
