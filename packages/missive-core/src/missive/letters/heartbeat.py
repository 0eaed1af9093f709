"""Heartbeat: a claim is renewed for as long as its handler takes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ..error_notes import place_of
from ..ids import format_id
from .claim import Claim
from .store import DeadLetterStore

logger = logging.getLogger("missive.letters.replay")


class Heartbeat:
    """A thread that renews the claim of the letter in flight; started by ``with``.

    :param claim: returns the claim in flight; None while there is none, or while it is settled.
    """

    def __init__(
        self, store: DeadLetterStore, lease: float, claim: Callable[[], Claim | None]
    ) -> None:
        self._store = store
        self._lease = lease
        self._claim = claim
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="missive-replay", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(self._lease / 3):
            claim = self._claim()
            if claim is not None:
                self._renew(claim)

    def _renew(self, claim: Claim) -> None:
        printable = format_id(claim.id)
        try:
            renewed = self._store.renew(claim, lease=self._lease)
        except Exception as error:
            logger.warning(
                "the claim on %s could not be renewed: %s at %s",
                printable,
                type(error).__name__,
                place_of(error),
            )
            return
        if renewed is None and self._claim() is claim:
            logger.warning(
                "the claim on %s was lost: the letter was removed or replaced, or another"
                " replay has it",
                printable,
            )
