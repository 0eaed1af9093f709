"""Received: the records of what a MemoryDLQ received, without a lock."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

Key = tuple[bytes, bytes]


class Received:
    """Records of received messages by their inbox keys, open or done.

    :ivar letters: the open records: the id of each one's letter.
    :ivar done: when each of the others was done.
    """

    def __init__(
        self, letters: dict[Key, bytes] | None = None, done: dict[Key, datetime] | None = None
    ) -> None:
        self.letters = {} if letters is None else letters
        self.done = {} if done is None else done
        self._keys = {id: key for key, id in self.letters.items()}
        self._origins = Counter(origin for origin, _ in (*self.letters, *self.done))

    def __contains__(self, key: Key) -> bool:
        return key in self.letters or key in self.done

    def has_origin(self, key: Key) -> bool:
        """Return whether there is a record with the source and id of a key."""
        return self._origins[key[0]] > 0

    def open(self, key: Key, id: bytes) -> None:
        """Remember a message, whose letter is stored under an id."""
        self.letters[key] = id
        self._keys[id] = key
        self._origins[key[0]] += 1

    def close(self, id: bytes, now: datetime) -> None:
        """Note that a letter is removed: what it was received as, if it was, is done."""
        key = self._keys.pop(id, None)
        if key is not None:
            del self.letters[key]
            self.done[key] = now

    def forget(self, before: datetime, limit: int) -> int:
        """Forget what was done before a time, the earliest first; return how many."""
        # Sorted, since the clock may have been set back.
        old = sorted((at, key) for key, at in self.done.items() if at < before)[: max(limit, 0)]
        for _, key in old:
            del self.done[key]
            self._origins[key[0]] -= 1
            if not self._origins[key[0]]:
                del self._origins[key[0]]
        return len(old)
