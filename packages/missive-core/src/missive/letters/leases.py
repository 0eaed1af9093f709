"""Leases: the claims on letters in flight, renewed until they are settled."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable

from ..error_notes import place_of
from ..ids import format_id
from .claim import ClaimedDelivery
from .store import DeadLetterStore

logger = logging.getLogger("missive.letters.leases")


class Leases:
    """Holds the claims of letters in flight, however long their handlers take.

    A thread renews them three times a lease. It runs only while there are any, and talks to the
    store alone, never to a transport.

    :param store: the store that gave the claims.
    :param lease: how long a claim outlives its process, in seconds.
    """

    def __init__(self, store: DeadLetterStore, lease: float) -> None:
        self._store = store
        self._lease = lease
        self._held: dict[bytes, ClaimedDelivery] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def get(self, id: bytes) -> ClaimedDelivery | None:
        """Return what is in flight under the id of a letter."""
        return self._held.get(id)

    def hold(self, delivery: ClaimedDelivery) -> None:
        """Renew a claim from now on."""
        with self._lock:
            self._held[delivery.claim.id] = delivery
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(
                    target=self._renew_until_idle, name="missive-leases", daemon=True
                )
                self._thread.start()

    def drop(self, deliveries: Iterable[ClaimedDelivery]) -> None:
        """Renew claims no longer."""
        for delivery in deliveries:
            self._held.pop(delivery.claim.id, None)

    def close(self) -> None:
        """Renew nothing from now on: what is still in flight goes to another process in time."""
        self._closed.set()
        thread = self._thread
        if thread is not None:
            thread.join()

    def renew(self) -> None:
        """Renew every claim now."""
        for delivery in list(self._held.values()):
            claim = delivery.claim
            try:
                renewed = self._store.renew(claim, lease=self._lease)
            except Exception as error:  # whatever a store raises: else the claims would expire
                logger.warning(
                    "claims on letters cannot be renewed (%s at %s); trying again",
                    type(error).__name__,
                    place_of(error),
                )
                return
            if renewed is not None:
                delivery.claim = renewed
            elif claim.id in self._held:  # else it was settled meanwhile
                logger.warning(
                    "the claim on %s was lost: the letter was removed or replaced, or another"
                    " process has it",
                    format_id(claim.id),
                )

    def _renew_until_idle(self) -> None:
        while not self._closed.wait(self._lease / 3):
            self.renew()
            with self._lock:
                if not self._held:
                    self._thread = None
                    return
