"""The mapping of a store in memory: each operation one step."""

from __future__ import annotations

from threading import RLock
from typing import Any, TypeVar, overload

from ..message import Message
from .letter import DeadLetter
from .mapping import check_key
from .shelf import Shelf
from .store import DeadLetterStore

_MISSING: Any = object()
T = TypeVar("T")


class MemoryMapping(DeadLetterStore):
    """The dead letters of a shelf, as a dict has them."""

    _lock: RLock
    _shelf: Shelf

    def __len__(self) -> int:
        return self._shelf.dead

    def __delitem__(self, key: bytes) -> None:
        with self._lock:
            self._dead(key)
            self._shelf.delete(key)

    def _dead(self, key: bytes) -> DeadLetter:
        letter = self._shelf.letters[check_key(key)]
        if letter.state != "dead":
            raise KeyError(key)
        return letter

    @overload
    def pop(self, key: bytes) -> tuple[Message, str]: ...
    @overload
    def pop(self, key: bytes, default: tuple[Message, str]) -> tuple[Message, str]: ...
    @overload
    def pop(self, key: bytes, default: T) -> tuple[Message, str] | T: ...

    def pop(self, key: bytes, default: Any = _MISSING) -> Any:
        """Remove a letter and return its message and reason, or the default.

        :raises KeyError: there is none, and no default either.
        """
        try:
            with self._lock:
                letter = self._dead(key)
                self._shelf.delete(key)
        except KeyError:
            if default is _MISSING:
                raise
            return default
        return self.build(letter), letter.reason

    def popitem(self) -> tuple[bytes, tuple[Message, str]]:
        """Remove the newest letter and return it.

        :raises KeyError: there is no dead letter.
        """
        with self._lock:
            return super().popitem()

    def setdefault(self, key: bytes, default: Any = None) -> Any:
        """Return what is stored under a key, or store the default there."""
        with self._lock:
            return super().setdefault(key, default)

    def clear(self) -> None:
        """Remove every dead letter."""
        with self._lock:
            for letter in list(self.letters()):
                self._shelf.delete(letter.id)
