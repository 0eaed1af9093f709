"""Leases: what a consumer has in flight is kept from being taken for abandoned."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any, cast

from missive import MissiveError

from redis import exceptions

from .consumer import Consumer
from .groups import Group
from .ledger import Ledger
from .links import Command

logger = logging.getLogger("missive.adapters.redis.leases")

#: How often within ``retry_after`` leases are renewed, so that some of these may fail.
RENEWALS = 6
#: How many pending entries are asked for, at most, while a read is under way.
UNPARSED = 100_000


class Leases:
    """Says of every entry in flight, again and again, that it is in flight.

    Redis counts how long ago an entry was last delivered or claimed; other consumers claim it once
    that is longer than their ``retry_after``. So the entries are claimed anew for their own
    consumer, with JUSTID, which sets that time back and does not count as a delivery. So are those
    that a long reply brings and that are not parsed yet, which only the server can name. And what
    is settled is acked: the handler that occupies the receiving thread may hold that up.

    :param ledger: what is in flight, and what is settled.
    :param retry_after: how long an entry is left to its consumer, in seconds.
    """

    def __init__(self, group: Group, ledger: Ledger, retry_after: float) -> None:
        self._group = group
        self._ledger = ledger
        self._patience = retry_after
        #: How often to renew, in seconds.
        self.interval = retry_after / RENEWALS
        self._odd_since: float | None = None  # since when errors that are not of Redis go on

    def renew(self, consumer: Consumer) -> None:
        """Renew what has been in flight for a while.

        :raises RedisRefused: Redis does not let us.
        :raises redis.exceptions.RedisError: the connection is lost.
        :raises Exception: another error, as of the user's provider of credentials, that has lasted
            for ``retry_after``.
        """
        try:
            self._renew(consumer)
        except (MissiveError, exceptions.RedisError):
            self._odd_since = None
            raise
        except Exception as error:
            now = monotonic()
            if self._odd_since is None:
                self._odd_since = now
                logger.warning(
                    "cannot keep entries in flight (%s); trying again", type(error).__name__
                )
            elif now - self._odd_since >= self._patience:
                raise
        else:
            self._odd_since = None

    def _renew(self, consumer: Consumer) -> None:
        old = monotonic() - self.interval / 2
        group, ledger = self._group, self._ledger
        reading_since = ledger.reading_since
        if reading_since is not None and reading_since < old:
            consumer.say_aside(*group.keeps(self._unparsed(consumer)))
        consumer.say_aside(*group.keeps(ledger.old_in_hand(old)))
        if ledger.unsent and ledger.unsent_since < old:
            consumer.tell(aside=True)

    def _unparsed(self, consumer: Consumer) -> dict[bytes, list[bytes]]:
        """Ask for the ids of what a read that is under way has delivered."""
        group = self._group
        keys = list(group.origins)
        looks: list[Command] = [
            (
                *("XPENDING", key, group.name),
                *(b"(" + group.seen[key] if key in group.seen else b"-", "+", UNPARSED),
                group.consumer,
            )
            for key in keys
        ]
        return {
            key: [entry[0] for entry in cast("list[list[Any]]", reply)]
            for key, reply in zip(keys, consumer.say_aside(*looks), strict=True)
            if isinstance(reply, list)
        }
