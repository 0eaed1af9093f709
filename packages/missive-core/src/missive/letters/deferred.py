"""Deferred: takes due messages out of a store, and settles them there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, cast

from ..capabilities import OF_A_STORE
from ..delivery import Delivery
from ..error_notes import place_of
from ..handling import ACKED, NACKED, HandlingContext
from ..ids import format_id
from ..waiting import letter_of
from .claim import Claim, ClaimedDelivery
from .leases import Leases
from .letter import DeadLetter, utc_now
from .store import DeadLetterStore

logger = logging.getLogger("missive.letters.deferred")

#: How long a claim on a due message holds without being renewed, in seconds.
LEASE = 60.0
#: How long a nacked message waits where its handler named no delay, in seconds.
RETRY_AFTER = 1.0
#: How often a store is asked for due messages while none is known to be due sooner, in seconds.
LOOK_EVERY = 1.0
#: By how many seconds the wall clock may gain on the monotonic one before it was set forward.
CLOCK_JUMP = 5.0


class Deferred:
    """Takes due messages from a store of deferred ones, and settles them in it.

    Each due message goes to one process at a time. Claims are renewed until the message is settled.
    A process that dies loses its claims when their lease ends, and another takes them. Where the
    wall clock is set forward, which ends every lease, nothing is claimed until the processes that
    hold claims have renewed them.

    :param store: the store.
    :param lease: how long a claim outlives its process, in seconds.
    :param wall: returns the time, aware.
    :param clock: returns the time in seconds, monotonic.
    """

    capabilities = replace(OF_A_STORE, settles_across_connections=True)

    def __init__(
        self,
        store: DeadLetterStore,
        *,
        lease: float = LEASE,
        wall: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.store = store
        self.lease = lease
        self.leases = Leases(store, lease)
        self._wall = wall
        self._clock = clock
        self._offset = wall().timestamp() - clock()
        self._hold_until = clock()

    def take(self, limit: int) -> list[Delivery]:
        """Return messages that are due, each claimed for this process; earliest due first.

        :param limit: how many at most.
        """
        if self._waits_for_renewals():
            return []
        taken: list[Delivery] = []
        for claim, letter in self.store.claim_due(limit, self.lease, now=self._wall()):
            mine = self.leases.get(letter.id)
            if mine is not None:  # in flight here, and its claim had ended: it is held again
                mine.claim = claim
            else:
                taken.append(self.delivery_of(claim, letter))
        return taken

    def delivery_of(self, claim: Claim, letter: DeadLetter) -> ClaimedDelivery:
        """Return a claimed message as a delivery; its claim is renewed until it is settled."""
        delivery = ClaimedDelivery(letter, claim, self)
        self.leases.hold(delivery)
        return delivery

    def _waits_for_renewals(self) -> bool:
        """Return whether the wall clock was set forward so lately that claims may look ended."""
        now = self._clock()
        offset = self._wall().timestamp() - now
        gained, self._offset = offset - self._offset, offset
        if gained > CLOCK_JUMP:
            logger.warning("the clock was set forward by %.0f s", gained)
            self._hold_until = now + self.lease / 2
        return now < self._hold_until

    def seconds_to_next(self) -> float:
        """Return in how many seconds to look again: when the next is due, or in a while."""
        due = self.store.next_due()
        if due is None:
            return LOOK_EVERY
        left = max((due - self._wall()).total_seconds(), self._hold_until - self._clock(), 0.0)
        return min(left, LOOK_EVERY)

    def give_back(self, deliveries: Iterable[Any]) -> None:
        """Release the claims of messages that were not handled."""
        for delivery in deliveries:
            self.leases.drop((delivery,))
            self.store.release(delivery.claim)

    def close(self) -> None:
        """Renew no claim from now on."""
        self.leases.close()

    def settle(self, batch: Sequence[HandlingContext[Any]]) -> None:
        """Remove what was acked, and let what was nacked wait; letters are written before.

        :param batch: contexts whose delivery came from :meth:`take`.
        """
        self.leases.drop(cast("ClaimedDelivery", context.delivery) for context in batch)
        nacked = [self._nacked(context) for context in batch if context.outcome is NACKED]
        if nacked:
            self._defer(nacked)
        acked = [
            cast("ClaimedDelivery", context.delivery).claim
            for context in batch
            if context.outcome is ACKED
        ]
        # In one step: a commit for each would take longer than most handlers.
        for claim, removed in zip(
            acked, self.store.remove_many(acked) if acked else (), strict=True
        ):
            if not removed:
                logger.warning(
                    "%s was acked, and stays in the store: its claim expired, or it failed"
                    " elsewhere meanwhile",
                    format_id(claim.id),
                )

    def _nacked(self, context: HandlingContext[Any]) -> DeadLetter:
        delay = RETRY_AFTER if context.delay is None else context.delay
        return letter_of(context, context.error, self._wall() + timedelta(seconds=delay))

    def _defer(self, letters: list[DeadLetter]) -> None:
        try:
            self.store.defer(letters)
        except Exception as error:  # their claims expire, and they are due again
            logger.warning(
                "%s could not be deferred again: %s at %s",
                ", ".join(format_id(letter.id) for letter in letters),
                type(error).__name__,
                place_of(error),
            )
