"""Deferred: takes due messages out of a store, and settles them there."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from ..capabilities import Capabilities
from ..delivery import Delivery
from ..error_notes import place_of
from ..handling import ACKED, NACKED, HandlingContext
from ..ids import format_id
from .claim import Claim
from .letter import DeadLetter
from .store import DeadLetterStore

logger = logging.getLogger("missive.letters.deferred")

#: How long a claim on a due message holds without being renewed, in seconds.
LEASE = 60.0
#: How long a nacked message waits where its handler named no delay, in seconds.
RETRY_AFTER = 1.0
#: How often a store is asked for due messages while none is known to be due sooner, in seconds.
LOOK_EVERY = 1.0


class DeferredDelivery(Delivery):
    """A due message on its way to its handler.

    :ivar letter: its record in the store.
    :ivar claim: the right to handle it.
    """

    def __init__(self, letter: DeadLetter, claim: Claim, settler: Deferred) -> None:
        origin = letter.delivery()
        super().__init__(
            origin.raw_data, origin.message_id, origin.headers, origin.source, None, letter
        )
        self.attempt = letter.attempt + 1
        self.letter = letter
        self.claim = claim
        self.settler = settler


class Deferred:
    """Takes due messages from a store of deferred ones, and settles them in it.

    Each due message goes to one process at a time; a process that dies loses its claims when their
    lease ends, and another takes them.

    :param store: the store.
    :param lease: how long a claim outlives its process, in seconds.
    """

    capabilities = Capabilities(
        delivery="at-least-once",
        nack="redeliver",
        persistent=True,
        crash_redelivery=True,
        competing_consumers=True,
        stable_id=True,
        headers=True,
        settles_across_connections=True,
    )

    def __init__(self, store: DeadLetterStore, *, lease: float = LEASE) -> None:
        self.store = store
        self.lease = lease

    def take(self, limit: int, *, now: datetime | None = None) -> list[Delivery]:
        """Return messages that are due, each claimed for this process; earliest due first.

        :param limit: how many at most.
        :param now: which time it is, for tests; aware.
        """
        claimed = self.store.claim_due(limit, self.lease, now=now)
        return [DeferredDelivery(letter, claim, self) for claim, letter in claimed]

    def seconds_to_next(self) -> float:
        """Return in how many seconds to look again: when the next is due, or in a while."""
        due = self.store.next_due()
        if due is None:
            return LOOK_EVERY
        return min(max((due - datetime.now(timezone.utc)).total_seconds(), 0.0), LOOK_EVERY)

    def renew(self, deliveries: Iterable[Any]) -> None:
        """Hold the claims of messages that are still being handled."""
        for delivery in deliveries:
            delivery.claim = self.store.renew(delivery.claim, lease=self.lease) or delivery.claim

    def give_back(self, deliveries: Iterable[Any]) -> None:
        """Release the claims of messages that were not handled."""
        for delivery in deliveries:
            self.store.release(delivery.claim)

    def continued(self, context: HandlingContext[Any], letter: DeadLetter) -> DeadLetter:
        """Return the letter of another failure of a deferred message, under the id it has here.

        :param letter: the record of the failure.
        """
        before: DeadLetter = context.delivery.letter  # type: ignore[attr-defined]
        return letter._replace(
            id=before.id,
            raw_data=before.raw_data,
            source=before.source,
            message_id=before.message_id,
        )

    def settle(self, batch: Sequence[HandlingContext[Any]]) -> None:
        """Remove what was acked, and let what was nacked wait; letters are written before.

        :param batch: contexts whose delivery came from :meth:`take`.
        """
        again: list[DeadLetter] = []
        for context in batch:
            delivery: Any = context.delivery
            if context.outcome is NACKED:
                delay = RETRY_AFTER if context.delay is None else context.delay
                due = datetime.now(timezone.utc) + timedelta(seconds=delay)
                again.append(delivery.letter._replace(due=due, attempt=context.attempt))
            elif context.outcome is ACKED and not self.store.remove(delivery.claim):
                logger.warning(
                    "%s was acked, and stays in the store: its claim expired, or it failed"
                    " elsewhere meanwhile",
                    format_id(delivery.claim.id),
                )
        for letter in again:
            self._defer(letter)

    def _defer(self, letter: DeadLetter) -> None:
        try:
            self.store.defer((letter,))
        except Exception as error:  # its claim expires, and it is due again
            logger.warning(
                "%s could not be deferred again: %s at %s",
                format_id(letter.id),
                type(error).__name__,
                place_of(error),
            )
