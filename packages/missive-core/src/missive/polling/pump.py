"""The pump: takes due messages from the store into a run, in turns with its transport."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any

from ..delivery import Delivery
from ..error_notes import place_of
from ..errors import DeadLetterStoreError
from ..letters.deferred import LOOK_EVERY, Deferred
from ..letters.store import DeadLetterStore
from ..waiting import REFUSED

logger = logging.getLogger("missive.polling.pump")

#: How many due messages are taken from a store at a time, at most.
AT_ONCE = 100
#: Batches of due messages grow for as long as each is handled within so many seconds.
QUICK = 1.0


class Pump:
    """Takes what is due from a store of deferred messages, every second time that there is room.

    :param store: the store.
    """

    def __init__(self, store: DeadLetterStore) -> None:
        self._deferred = Deferred(store)
        self._due_at = monotonic()
        self._failing = False
        #: Set by other threads; here it is read and cleared before the store is looked into.
        self._asked = False
        self._took = False
        self._took_at = 0.0
        self._size = 1

    def take(self, room: int) -> Sequence[Delivery]:
        """Return what is due, if it is the store's turn.

        :param room: how many messages may begin now; of messages that are handled quickly there
            are more, since each claim is a write.
        """
        if self.seconds_to_next() > 0.0:
            return ()
        if self._took:  # the transport's turn
            self._took = False
            return ()
        self._asked = False
        limit = self._next_size(room)
        try:
            wait = self._deferred.seconds_to_next()
            due = self._deferred.take(limit) if wait == 0.0 else []
        except DeadLetterStoreError as error:
            self._failed(error)
            return ()
        self._failing, self._took = False, bool(due)
        self._due_at = monotonic() + wait
        return due

    def _next_size(self, room: int) -> int:
        now = monotonic()
        quick = now - self._took_at < QUICK
        self._size = min(max(2 * self._size if quick else 1, room), AT_ONCE)
        self._took_at = now
        return self._size

    def _failed(self, error: Exception) -> None:
        if not self._failing:
            logger.warning(
                "deferred messages cannot be read (%s at %s); trying again",
                type(error).__name__,
                place_of(error),
            )
        self._failing, self._due_at = True, monotonic() + LOOK_EVERY

    @property
    def holds_alone(self) -> bool:
        """Whether messages wait here that would be lost with this process."""
        store = self._deferred.store
        return not store.outlives_process and store.next_due() is not None

    def look_within(self, seconds: float) -> None:
        """Look into the store in so many seconds at the latest: something is due then."""
        self._due_at = min(self._due_at, monotonic() + seconds)

    def look(self) -> None:
        """Look into the store in the next turn: something was put there; from any thread."""
        self._asked = True

    def seconds_to_next(self) -> float:
        """Return in how many seconds to look into the store."""
        return 0.0 if self._asked else max(self._due_at - monotonic(), 0.0)

    def hasten(self, handlers: Iterable[str]) -> None:
        """Have the messages due now that a breaker refused, which has closed.

        :param handlers: the names of its handlers.
        """
        try:
            for name in handlers:
                self._deferred.store.retry_now(handler=name, reason=REFUSED)
        except DeadLetterStoreError as error:  # they are due later
            self._failed(error)
        self.look_within(0.0)

    def close(self, left: Sequence[Any]) -> None:
        """Give back what was not handled.

        :param left: deliveries that came from here.
        """
        self._deferred.close()
        try:
            self._deferred.give_back(left)
        except DeadLetterStoreError as error:  # their claims expire
            logger.debug("giving back deferred messages: %s", type(error).__name__)
