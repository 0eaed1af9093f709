"""The database: its sessions, and outages, which are waited out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any, TypeVar

import psycopg

from .connections import Connections
from .outages import passes, spoils, translated, without_content
from .session import Session

logger = logging.getLogger("missive.dlq.postgresql")

T = TypeVar("T")

#: How long to wait before the second try of something that failed, and at most, in seconds.
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0


class Database:
    """One database, for any number of threads.

    :param place: the name of the store.
    :param busy_timeout: how long to wait for the end of outages and other transactions, in seconds.
    """

    def __init__(self, connections: Connections, place: str, busy_timeout: float) -> None:
        self.connections = connections
        self.place = place
        self.busy_timeout = busy_timeout

    def rows(
        self, statement: bytes, values: Sequence[Any] | Mapping[str, Any] = ()
    ) -> list[tuple[Any, ...]]:
        """Return the rows of a statement.

        :raises DeadLetterStoreError: it failed.
        """
        return self.run(lambda session, again: session.execute(statement, values).fetchall())

    def row(
        self, statement: bytes, values: Sequence[Any] | Mapping[str, Any] = ()
    ) -> tuple[Any, ...] | None:
        """Return the first row of a statement, or None.

        :raises DeadLetterStoreError: it failed.
        """
        return next(iter(self.rows(statement, values)), None)

    def count(self, statement: bytes, values: Sequence[Any] | Mapping[str, Any] = ()) -> int:
        """Execute a statement, and return how many rows it found or changed.

        :raises DeadLetterStoreError: it failed.
        """
        return self.run(lambda session, again: session.execute(statement, values).rowcount)

    def run(self, work: Callable[[Session, bool], T]) -> T:
        """Do some work in a session; again where it failed for what passes, up to ``busy_timeout``.

        :param work: takes a session, and whether it is tried again: a try whose answer was lost may
            have been committed.
        :raises DeadLetterStoreError: it failed.
        """
        started = monotonic()
        deadline = started + self.busy_timeout
        pause, left, again = FIRST_PAUSE, self.busy_timeout, False
        while True:
            try:
                with self.connections.lend(left) as session:
                    result = work(session, again)
                break
            except psycopg.Error as error:
                if spoils(error):
                    self.connections.drop_idle()
                left = deadline - monotonic()
                if left <= 0 or not passes(error) or self.connections.closed.is_set():
                    seconds = monotonic() - started
                    raise translated(error, self.place, seconds) from without_content(error)
                if not again:
                    logger.warning(
                        "%s cannot be used (%s %s); trying again for up to %.3g s",
                        self.place,
                        type(error).__name__,
                        error.sqlstate or "without an answer",
                        left,
                    )
            self.connections.closed.wait(min(pause, left))
            pause, again = min(2 * pause, LONGEST_PAUSE), True
        if again:
            logger.info("%s can be used again, after %.3g s", self.place, monotonic() - started)
        return result
