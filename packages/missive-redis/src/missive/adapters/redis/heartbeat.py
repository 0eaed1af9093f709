"""The heartbeat: keeps what a consumer has in hand from being taken for abandoned."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

from missive import MissiveError

from redis import exceptions

from .groups import Group, is_no_group
from .ledger import Ledger
from .links import Link

logger = logging.getLogger("missive.adapters.redis.heartbeat")

#: How long the end of the thread is waited for, in seconds.
CLOSING = 1.0


class Heartbeat:
    """A thread that says of every entry in hand, again and again, that it is in hand.

    And of every entry that is settled that it is, where its ack has waited for a while: the thread
    that handled it may be held up by the next, and somebody else would take it for abandoned.

    Redis counts how long ago an entry was last delivered or claimed; other consumers claim it once
    that is longer than their ``retry_after``. The thread claims the entries anew for their own
    consumer, with JUSTID, which sets that time back and does not count as a delivery. It has a
    connection of its own, opened when there is first something to say, so that a handler that holds
    the receiving thread for an hour keeps its entry.

    :param ledger: what is in hand, and what is settled. The thread only ever copies from it.
    :param interval: seconds between two beats.
    :param on_failure: called when the thread ends because of an error that lasts.
    """

    def __init__(
        self,
        open_link: Callable[[], Link],
        ledger: Ledger,
        group: Group,
        interval: float,
        on_failure: Callable[[], None],
    ) -> None:
        self._open_link = open_link
        self._ledger = ledger
        self._group = group
        self._interval = interval
        self._on_failure = on_failure
        self._link: Link | None = None
        self._stop = threading.Event()
        self._failure: MissiveError | None = None
        self._thread = threading.Thread(target=self._run, name="missive-heartbeat", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise what the thread ended by, if it did.

        :raises RedisRefused: Redis does not let it claim.
        """
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        link = self._link
        if link is not None:
            link.abort()
        # Where it is just connecting to somebody who does not answer, it ends on its own later.
        self._thread.join(CLOSING)

    def _run(self) -> None:
        failing = False
        try:
            while not self._stop.wait(self._interval / 4 if failing else self._interval):
                try:
                    self.beat()
                    failing = False
                except (exceptions.ConnectionError, exceptions.TimeoutError) as error:
                    self._link = None
                    if not failing and not self._stop.is_set():
                        logger.warning(
                            "cannot keep entries in hand (%s); trying again",
                            type(error).__name__,
                        )
                    failing = True
        except MissiveError as error:
            self._failure = error
            self._on_failure()
        finally:
            if self._link is not None:
                self._link.close()

    def beat(self) -> None:
        """Claim anew what has been in hand for a while, and ack what has been settled for a while.

        An ack that is sent a second time by whoever owes it does no harm.

        :raises RedisRefused: Redis does not let us.
        :raises redis.exceptions.RedisError: the connection is lost.
        """
        old = monotonic() - self._interval / 2
        group, ledger = self._group, self._ledger
        commands = [*group.keeps(ledger.old_in_hand(old)), *group.acks(ledger.old_acks(old))]
        if not commands:
            return
        if self._link is None:
            self._link = self._open_link()
        for reply in self._link.call(*commands):
            # A group that is gone has nothing to be kept; the receiving thread makes it anew.
            if not is_no_group(reply):
                self._link.verify(reply)
