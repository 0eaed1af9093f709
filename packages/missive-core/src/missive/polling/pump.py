"""The pump: takes due messages out of the store, beside the transport."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from time import monotonic

from ..delivery import Delivery
from ..error_notes import named
from ..errors import DeadLetterStoreError
from ..letters.deferred import LEASE, LOOK_EVERY, Deferred, DeferredDelivery
from ..letters.store import DeadLetterStore

logger = logging.getLogger("missive.polling.pump")

#: How many due messages are taken from a store at a time.
AT_ONCE = 100
#: How often the claims of messages that are being handled are renewed, in seconds.
RENEW_EVERY = LEASE / 3


class Pump:
    """Takes due messages from a store when they are due, and waits out its troubles.

    :param store: the store.
    """

    def __init__(self, store: DeadLetterStore) -> None:
        self._deferred = Deferred(store)
        self._due = monotonic()
        self._renew_at = monotonic() + RENEW_EVERY
        self._in_trouble = False

    def take(self, room: int) -> list[Delivery]:
        """Return messages that are due; none while the store cannot be read.

        :param room: how many at most.
        """
        limit = min(AT_ONCE, room)
        try:
            due = self._deferred.take(limit)
            wait = 0.0 if len(due) == limit else self._deferred.seconds_to_next()
        except DeadLetterStoreError as error:
            if not self._in_trouble:
                logger.warning("deferred messages cannot be read (%s); trying again", named(error))
            self._in_trouble, self._due = True, monotonic() + LOOK_EVERY
            return []
        self._in_trouble, self._due = False, monotonic() + wait
        return due

    def look_within(self, seconds: float) -> None:
        """Look into the store in so many seconds at the latest: something is due then."""
        self._due = min(self._due, monotonic() + seconds)

    def seconds_to_next(self) -> float:
        """Return in how many seconds to look into the store."""
        return max(self._due - monotonic(), 0.0)

    def renew(self, unsettled: Iterable[object]) -> None:
        """Hold the claims among what is not settled, if it is time to."""
        if monotonic() < self._renew_at:
            return
        self._renew_at = monotonic() + RENEW_EVERY
        mine = [item for item in unsettled if isinstance(item, DeferredDelivery)]
        try:
            self._deferred.renew(mine)
        except DeadLetterStoreError as error:  # tried again before the lease ends
            logger.warning("claims on deferred messages were not renewed: %s", named(error))

    def give_back(self, deliveries: Iterable[object]) -> None:
        """Release the claims of messages that were not handled."""
        mine = [item for item in deliveries if isinstance(item, DeferredDelivery)]
        try:
            self._deferred.give_back(mine)
        except DeadLetterStoreError as error:  # their claims expire
            logger.debug("giving back deferred messages: %s", type(error).__name__)
