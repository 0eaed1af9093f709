"""The mapping of a store in memory: each operation one step."""

from __future__ import annotations

from threading import RLock
from typing import Any

from .letter import DeadLetter
from .mapping import check_key
from .shelf import Shelf
from .store import DeadLetterStore


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

    def take(self, key: bytes) -> DeadLetter | None:
        """Remove a dead letter and return it; None where there is none."""
        with self._lock:
            return super().take(key)

    def take_newest(self) -> DeadLetter | None:
        """Remove the newest dead letter and return it; None where there is none."""
        with self._lock:
            return super().take_newest()

    def setdefault(self, key: bytes, default: Any = None) -> Any:
        """Return what is stored under a key, or store the default there."""
        with self._lock:
            return super().setdefault(key, default)

    def clear(self) -> None:
        """Remove every dead letter."""
        with self._lock:
            for letter in list(self.letters()):
                self._shelf.delete(letter.id)
