"""The session: a consumer's part in its group, over all connections of a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager

from missive import MissiveError

from redis import exceptions

from .consumer import Consumer
from .entries import StreamEntry
from .errors import Outage, RedisUnavailable
from .groups import Group
from .leases import Leases
from .ledger import Ledger
from .links import Link
from .members import Members
from .names import decode
from .progress import Progress
from .reader import Reader
from .redelivery import Redelivery
from .trimming import Trimmer

logger = logging.getLogger("missive.adapters.redis.session")

#: Errors that mean: the connection is lost, try again.
CONNECTION_ERRORS = (exceptions.ConnectionError, exceptions.TimeoutError)


class Session:
    """Everything that one consumer knows and does, on one connection after the other.

    :param open_link: opens a connection.
    :param group: the group, and who this consumer is.
    :param retry_after: how long an entry is left to its consumer, in seconds.
    :param max_deliveries: how often an entry is delivered at most.
    :param body_field: the field that is the message.
    :param batch_size: how many entries of each stream are read at once, at most.
    :param trims: whether settled entries are deleted.
    """

    def __init__(
        self,
        open_link: Callable[[], Link],
        group: Group,
        *,
        retry_after: float,
        max_deliveries: int,
        body_field: bytes,
        batch_size: int,
        trims: bool,
    ) -> None:
        self._open_link = open_link
        self.group = group
        self.ledger = Ledger(group)
        self.redelivery = Redelivery(group, self.ledger, retry_after, max_deliveries)
        self.progress = Progress(group, self.ledger)
        self.members = Members(group, retry_after)
        self.trimmer = Trimmer(group, is_on=trims)
        self.leases = Leases(group, self.ledger, retry_after)
        self._outage = Outage()
        self.reader = Reader(
            *(group, self.ledger, self.progress, self.redelivery, self.members, self.trimmer),
            self._outage,
            body_field=body_field,
            batch_size=batch_size,
        )
        self.consumer: Consumer | None = None
        self._lost = False  # the connection broke while it was used, and was not closed since
        self._returned_idle = round(retry_after * 1000) + 1

    def begin(self, name: bytes) -> None:
        """Begin a run.

        :param name: of this consumer, in the process that it runs in.
        """
        self.group.consumer = name
        self.ledger.begin()
        self.redelivery.begin()

    def open(self, *, recover: bool) -> None:
        """Connect, and create the group where it is absent.

        :param recover: whether the server may have given this consumer entries in an answer that
            was lost.
        :raises redis.exceptions.RedisError: there was no connection to be had.
        """
        self.reader.begin()
        try:
            consumer = Consumer(self._open_link, self.group, self.ledger, self.progress)
            try:
                if recover:
                    self.redelivery.recover(consumer.link)
            except BaseException:
                consumer.close()
                raise
        except RedisUnavailable as error:
            self._outage.note(error)
            raise
        self.consumer = consumer

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection that is not known to be lost."""
        return self.consumer is not None and not self._lost

    @contextmanager
    def connected(self) -> Generator[Consumer]:
        """Note a connection error, so that no call waits on a dead connection.

        :raises redis.exceptions.ConnectionError: there is no connection.
        """
        consumer = self.consumer
        if consumer is None or not self.is_connected:
            raise exceptions.ConnectionError("the adapter is not connected")
        try:
            yield consumer
        except CONNECTION_ERRORS as error:
            self._lost = True
            self._outage.note(error)
            raise

    def tell(self) -> None:
        """Send the pending acks and nacks; without a connection they wait for the next.

        :raises redis.exceptions.RedisError: the connection is lost.
        """
        if self.is_connected:
            with self.connected() as consumer:
                consumer.tell()

    def keep_alive(self) -> None:
        """Renew the leases of what is in flight, on a connection of its own.

        :raises redis.exceptions.RedisError: there is none to be had.
        """
        if self.consumer is not None:
            self.leases.renew(self.consumer)

    def give_back(self, entries: Iterable[StreamEntry] = ()) -> None:
        """Have entries that were read and not handled delivered again at once, to any consumer.

        Those that the read under way still brings, too.

        :raises redis.exceptions.RedisError: the connection is lost.
        """
        with self.connected() as consumer:
            consumer.give_back(self.reader.finish(consumer), self._returned_idle)
            consumer.give_back(entries, self._returned_idle)

    def close(self, *, is_unique: bool) -> None:
        """Send the pending acks, leave the group where nothing is pending, and disconnect.

        :param is_unique: no other consumer can have the name of this one.
        """
        consumer, lost = self.consumer, self._lost
        self.ledger.reading_since = None
        self.redelivery.report()
        try:
            if consumer is not None and consumer.is_open and not lost:
                self._take_leave(consumer, is_unique=is_unique)
        finally:
            self.consumer, self._lost = None, False
            if consumer is not None:
                consumer.close()
            self.ledger.take_all_back()

    def _take_leave(self, consumer: Consumer, *, is_unique: bool) -> None:
        try:
            consumer.tell()
            self.give_back()
            self.trimmer.trim(consumer)
            self.members.leave(consumer.link, is_unique=is_unique)
        except (*CONNECTION_ERRORS, MissiveError) as error:
            logger.warning(
                "%s could not leave the group %s (%s); what it could not ack is redelivered",
                *(decode(self.group.consumer), self.group.title, type(error).__name__),
            )
