"""The heartbeat: keeps what a consumer has in flight from being taken for abandoned."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, cast

from missive import MissiveError

from redis import exceptions

from .groups import Group, is_no_group
from .ledger import Ledger
from .links import Command, Link

logger = logging.getLogger("missive.adapters.redis.heartbeat")

#: A beat comes so many times within ``retry_after``, and a failed one so many times as often.
BEATS, RETRIES = 3, 4
#: How long the end of the thread is waited for, in seconds.
CLOSING = 1.0
#: How many pending entries are asked for, at most, while a read is under way.
UNPARSED = 100_000


class Heartbeat:
    """A thread that says of every entry in flight, again and again, that it is in flight.

    And of every entry that is settled that it is, where its ack has waited for a while: the thread
    that handled it may be held up by the next, and somebody else would take it for abandoned. And of
    every entry that a long reply brings and that is not parsed yet, which only the server can name.

    Redis counts how long ago an entry was last delivered or claimed; other consumers claim it once
    that is longer than their ``retry_after``. The thread claims the entries anew for their own
    consumer, with JUSTID, which sets that time back and does not count as a delivery. It has a
    connection of its own, opened when there is first something to say, so that a handler that holds
    the receiving thread for an hour keeps its entry.

    :param ledger: what is in flight, and what is settled. The thread only ever copies from it.
    :param retry_after: how long an entry is left to its consumer, in seconds.
    :param on_failure: called when the thread ends because of an error that lasts. One that is neither
        of Redis nor of Missive, as of the user's provider of credentials, lasts once it has for
        ``retry_after``.
    """

    def __init__(
        self,
        open_link: Callable[[], Link],
        ledger: Ledger,
        group: Group,
        retry_after: float,
        on_failure: Callable[[], None],
    ) -> None:
        self._open_link = open_link
        self._ledger = ledger
        self._group = group
        self._interval = retry_after / BEATS
        self._patience = retry_after
        self._on_failure = on_failure
        self._link: Link | None = None
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="missive-heartbeat", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise what the thread ended by, if it did.

        :raises RedisRefused: Redis does not let it claim.
        :raises BaseException: what else has made it fail for ``retry_after``.
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
        try:
            self._beat_until_closed()
        except BaseException as error:
            self._failure = error
            self._on_failure()
        finally:
            if self._link is not None:
                self._link.close()

    def _beat_until_closed(self) -> None:
        failing = False
        odd_since: float | None = None  # since when it fails by errors that are not of Redis
        while not self._stop.wait(self._interval / RETRIES if failing else self._interval):
            try:
                self.beat()
                failing, odd_since = False, None
            except MissiveError:
                raise
            except Exception as error:
                self._drop_link()
                if isinstance(error, (exceptions.ConnectionError, exceptions.TimeoutError)):
                    odd_since = None
                elif odd_since is None:
                    odd_since = monotonic()
                elif monotonic() - odd_since >= self._patience:
                    raise
                if not failing and not self._stop.is_set():
                    logger.warning(
                        "cannot keep entries in flight (%s); trying again", type(error).__name__
                    )
                failing = True

    def _drop_link(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def beat(self) -> None:
        """Claim anew what has been in flight for a while, and ack what has been settled for a while.

        Sending an ack twice does no harm.

        :raises RedisRefused: Redis does not let us.
        :raises redis.exceptions.RedisError: the connection is lost.
        """
        old = monotonic() - self._interval / 2
        group, ledger = self._group, self._ledger
        reading_since = ledger.reading_since
        if reading_since is not None and reading_since < old:
            self._say(*group.keeps(self._unparsed()))
        self._say(*group.keeps(ledger.old_in_hand(old)), *group.acks(ledger.old_acks(old)))

    def _unparsed(self) -> dict[bytes, list[bytes]]:
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
            for key, reply in zip(keys, self._say(*looks), strict=True)
            if isinstance(reply, list)
        }

    def _say(self, *commands: Command) -> list[Any]:
        if not commands:
            return []
        if self._link is None:
            self._link = self._open_link()
        replies = self._link.call(*commands)
        for reply in replies:
            # A group that is gone has nothing to be kept; the receiving thread makes it anew.
            if not is_no_group(reply):
                self._link.verify(reply)
        return replies
