"""The sound store: a MemoryDLQ that keeps a file, for any number of processes."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import threading
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from missive import DeadLetter, DeadLetterStoreError, MemoryDLQ
from missive.letters import Action, Claim, Failure
from missive.letters.received import Received
from missive.letters.shelf import Shelf

#: Version 1 knew no deferred messages.
FORMAT, VERSION = "missive-mutants", 2
#: How long a lock is waited for, in seconds.
LOCK_PATIENCE = 0.3


def _writing(name: str) -> Callable[..., Any]:
    def method(self: FileDLQ, *arguments: Any, **options: Any) -> Any:
        with self.exclusive():
            result = getattr(MemoryDLQ, name)(self, *arguments, **options)
            self.dirty = True
            return result

    method.__name__ = name
    return method


def _reading(name: str) -> Callable[..., Any]:
    def method(self: FileDLQ, *arguments: Any, **options: Any) -> Any:
        self.refresh()
        return getattr(MemoryDLQ, name)(self, *arguments, **options)

    method.__name__ = name
    return method


class FileDLQ(MemoryDLQ):
    """A store in a file, which is written anew, and put in place of the old, with each change.

    :param path: the file; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._lock = threading.RLock()  # its own, as it is held for as long as a file is waited for
        self.path = path
        self.depth = 0
        self.dirty = False
        self.closed = False
        self.version_read: tuple[int, int, int] | None = None
        if path.exists():
            self.refresh()

    record = _writing("record")
    put_many = _writing("put_many")
    restore_many = _writing("restore_many")
    assign = _writing("assign")
    defer = _writing("defer")
    receive = _writing("receive")
    forget_done = _writing("forget_done")
    claim = _writing("claim")
    claim_due = _writing("claim_due")
    renew = _writing("renew")
    release = _writing("release")
    remove = _writing("remove")
    retry_now = _writing("retry_now")
    give_up = _writing("give_up")
    remove_chosen = _writing("remove_chosen")
    pop = _writing("pop")
    popitem = _writing("popitem")
    setdefault = _writing("setdefault")
    clear = _writing("clear")
    __delitem__ = _writing("__delitem__")
    actions = _reading("actions")
    letter = _reading("letter")
    letters = _reading("letters")
    summary = _reading("summary")
    counts = _reading("counts")
    next_due = _reading("next_due")
    claim_of = _reading("claim_of")
    __len__ = _reading("__len__")
    __contains__ = _reading("__contains__")

    @contextmanager
    def exclusive(self) -> Generator[None]:
        """Hold the store for one change, and write it at the end of the outermost."""
        with self._lock:
            if self.closed:
                raise DeadLetterStoreError(f"the store at {self.path} was closed; open it again")
            if self.depth:
                yield
                return
            with self.lock_file():
                self.refresh()
                self.depth += 1
                try:
                    yield
                    if self.dirty:
                        self.persist()
                except BaseException:
                    self.version_read = None  # what is in memory is not what is in the file
                    raise
                finally:
                    self.depth -= 1
                    self.dirty = False

    @contextmanager
    def lock_file(self) -> Generator[None]:
        """Hold the lock that all processes share."""
        try:
            descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise DeadLetterStoreError(
                f"{self.path} cannot be locked ({error.strerror}); check the folder's permissions"
            ) from error
        try:
            deadline = monotonic() + LOCK_PATIENCE
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as error:
                    if monotonic() > deadline:
                        raise DeadLetterStoreError(
                            f"another process holds {self.path}; try again when it is done"
                        ) from error
                    sleep(0.002)
            yield
        finally:
            os.close(descriptor)

    def refresh(self) -> None:
        """Read the file, if it is another than was read last."""
        with self._lock:
            if self.depth or self.closed:
                return
            try:
                found = self.path.stat()
            except FileNotFoundError:
                if self.version_read is None:
                    self._shelf = Shelf()
                return
            version = (found.st_ino, found.st_mtime_ns, found.st_size)
            if version != self.version_read:
                self.load(self.path.read_bytes())
                self.version_read = version

    def load(self, content: bytes) -> None:
        """Take over what is in a file."""
        head, _, rest = content.partition(b"\n")
        try:
            told = json.loads(head)
            if told["format"] != FORMAT:
                raise ValueError("another format")
        except (ValueError, TypeError, KeyError) as error:
            raise DeadLetterStoreError(
                f"{self.path} is no store of dead letters; give another path"
            ) from error
        if told["version"] > VERSION:
            raise DeadLetterStoreError(
                f"{self.path} has version {told['version']}, and {VERSION} is known; update"
            )
        if told["crc"] != zlib.crc32(rest):
            raise DeadLetterStoreError(f"{self.path} is damaged; restore it from a backup")
        state = json.loads(rest)
        self._shelf = Shelf(
            letters={one.id: one for one in map(letter_of, state["letters"])},
            claims={one.id: one for one in map(claim_of, state["claims"])},
            last_position=state["last"],
            received=received_of(state.get("received", {"letters": [], "done": []})),
        )
        self._actions = deque(map(action_of, state.get("actions", ())))

    def persist(self) -> None:
        """Write everything to a new file, and put that in the place of the old."""
        rest = json.dumps(
            {
                "letters": [row_of(one) for one in self._shelf.letters.values()],
                "claims": [row_of(one) for one in self._shelf.claims.values()],
                "last": self._shelf.last_position,
                "actions": [line_of(one) for one in self._actions or ()],
                "received": row_of_received(self._shelf.received),
            }
        ).encode()
        head = {"format": FORMAT, "version": VERSION, "crc": zlib.crc32(rest)}
        fresh = self.path.with_suffix(".new")
        try:
            with fresh.open("wb") as file:
                file.write(json.dumps(head).encode() + b"\n" + rest)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
            found = self.path.stat()
        except OSError as error:
            raise DeadLetterStoreError(
                f"{self.path} cannot be written ({error.strerror}); check the disk"
            ) from error
        self.version_read = (found.st_ino, found.st_mtime_ns, found.st_size)

    def __iter__(self) -> Iterator[bytes]:
        return iter([one.id for one in self.letters()])

    def check(self) -> None:
        """Make sure that the store can be written."""
        with self.exclusive():
            self.dirty = True

    def close(self) -> None:
        """Close the store."""
        self.closed = True


def row_of(record: DeadLetter | Claim) -> dict[str, Any]:
    """Make what JSON can hold of a letter or a claim."""
    return {name: _plain(value) for name, value in record._asdict().items()}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"time": value.isoformat()}
    if isinstance(value, tuple):
        return [_plain(one._asdict()) if hasattr(one, "_asdict") else one for one in value]
    if hasattr(value, "items"):
        return {"map": {name: _plain(one) for name, one in value.items()}}
    return value


def _rich(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(Failure(**_rich(one)) for one in value)
    if isinstance(value, dict):
        ((kind, inner),) = value.items()
        if kind == "bytes":
            return base64.b64decode(inner)
        if kind == "time":
            return datetime.fromisoformat(inner)
        return {name: _rich(one) for name, one in inner.items()}
    return value


def row_of_received(received: Received) -> dict[str, Any]:
    """Make what JSON can hold of the records of an inbox."""
    return {
        "letters": [
            [one.hex(), other.hex(), id.hex()] for (one, other), id in received.letters.items()
        ],
        "done": [
            [one.hex(), other.hex(), at.isoformat()] for (one, other), at in received.done.items()
        ],
    }


def received_of(row: dict[str, Any]) -> Received:
    """Make the records of an inbox of what JSON held of them."""
    key = bytes.fromhex
    return Received(
        letters={(key(one), key(other)): key(id) for one, other, id in row["letters"]},
        done={(key(one), key(other)): datetime.fromisoformat(at) for one, other, at in row["done"]},
    )


def letter_of(row: dict[str, Any]) -> DeadLetter:
    """Make a letter of what JSON held of it."""
    return DeadLetter(**{name: _rich(value) for name, value in row.items()})


def line_of(action: Action) -> list[Any]:
    """Make what JSON can hold of an action."""
    return [action.at.isoformat(), *action[1:6], [id.hex() for id in action.ids], action.number]


def action_of(line: list[Any]) -> Action:
    """Make an action of what JSON held of it."""
    at, who, what, which, letters, result, ids, number = line
    ids = tuple(map(bytes.fromhex, ids))
    return Action(datetime.fromisoformat(at), who, what, which, letters, result, ids, number)


def claim_of(row: dict[str, Any]) -> Claim:
    """Make a claim of what JSON held of it."""
    return Claim(**{name: _rich(value) for name, value in row.items()})
