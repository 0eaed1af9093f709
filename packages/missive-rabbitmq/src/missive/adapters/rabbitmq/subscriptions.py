# pika has no types of its own.
# pyright: reportUnknownMemberType=false
"""Subscriptions: the consumers of one channel, and the queues that are waited for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from pika import exceptions
from pika.channel import Channel
from pika.spec import Basic, BasicProperties

from .errors import NOT_FOUND, code_of
from .link import Link
from .queue_message import QueueMessage
from .queues import Queues, exists

logger = logging.getLogger("missive.adapters.rabbitmq.subscriptions")

#: How often to look for a queue that is missing, in seconds: at first, and later.
LOOK_FIRST, LOOK_LONGEST = 0.25, 5.0
#: The header that every message of a stream has.
STREAM_OFFSET = "x-stream-offset"


class Subscriptions:
    """Consumes from queues on the channel of a link.

    A quorum queue is consumed with one message at a time until a message comes that was not
    delivered before: what a process held that died returns to the head of the queue, and would be
    held together again, by a process that may die of the same message.

    :param link: the connection.
    :param queues: what each queue is.
    :param prefetch: how many messages of each queue the broker sends ahead.
    :param take: called with each delivery.
    """

    def __init__(
        self,
        link: Link,
        queues: Queues,
        prefetch: int,
        take: Callable[[QueueMessage], None],
    ) -> None:
        self._link = link
        self._queues = queues
        self._prefetch = prefetch
        self._take = take
        self._tags: dict[str, str] = {}
        self._careful: set[str] = set()
        self._missing: dict[str, float] = {}  # queues, with the wait before the next look
        self._look_at = 0.0
        link.channel.add_on_cancel_callback(self._on_cancel)

    @property
    def are_complete(self) -> bool:
        """Whether every queue is consumed from."""
        return not self._missing

    def begin(self, queue: str) -> None:
        """Consume from a queue, and return when the broker has confirmed it.

        :raises ConfigurationError: it cannot be read as a queue.
        :raises AMQPError: the broker refuses.
        """
        kind = self._queues.kind(self._link, queue)
        careful = kind.starts_carefully and self._prefetch > 1
        confirmed: list[object] = []
        self._consume(queue, kind.counts, 1 if careful else self._prefetch, confirmed.append)
        if careful:
            self._careful.add(queue)
        self._link.until(lambda: bool(confirmed))

    def _consume(
        self,
        queue: str,
        counted: bool | None,
        prefetch: int,
        confirmed: Callable[[Any], object] | None = None,
    ) -> None:
        channel, take, careful = self._link.channel, self._take, self._careful

        def on_message(
            channel: Channel, method: Basic.Deliver, properties: BasicProperties, body: bytes
        ) -> None:
            if counted is None and STREAM_OFFSET in (properties.headers or ()):
                self._queues.found_stream(queue)
            message = QueueMessage(queue, method, properties, body, counted)
            if queue in careful and message.delivery_count == 1:
                self._trust(queue)
            take(message)

        channel.basic_qos(prefetch_count=prefetch)
        options: dict[str, Any] = {} if confirmed is None else {"callback": confirmed}
        self._tags[queue] = channel.basic_consume(queue, on_message, **options)

    def _trust(self, queue: str) -> None:
        """Consume from a queue at full prefetch: the head of it was not delivered before.

        The one message that was delivered is not settled yet, so no other is on its way.
        """
        self._careful.discard(queue)
        self._link.channel.basic_cancel(self._tags[queue])
        self._consume(queue, True, self._prefetch)

    def end(self) -> None:
        """Have nothing more delivered; what was delivered stays."""
        tags, self._tags = self._tags, {}
        for tag in tags.values():
            self._link.channel.basic_cancel(tag)

    # Queues that go away.

    def _on_cancel(self, frame: Any) -> None:
        for queue, tag in list(self._tags.items()):
            if tag == frame.method.consumer_tag:
                del self._tags[queue]
                self.miss(queue, "was deleted or moved")

    def miss(self, queue: str, why: str) -> None:
        """Wait for a queue to be there; say so once."""
        logger.warning("the queue %s %s; waiting until it is there", queue, why)
        self._careful.discard(queue)
        self._queues.forget(queue)
        self._missing[queue] = LOOK_FIRST
        self._look_at = monotonic() + LOOK_FIRST

    def seconds_to_look(self) -> float | None:
        """Return in how many seconds to call ``look``; None where nothing is missing."""
        return max(self._look_at - monotonic(), 0.0) if self._missing else None

    def look(self) -> bool:
        """Consume from the queues that are there again; return whether none is missing any more.

        :raises ConfigurationError: what is there cannot be read as a queue.
        :raises AMQPError: the connection is lost.
        """
        if monotonic() < self._look_at:
            return not self._missing
        for queue, wait in list(self._missing.items()):
            if exists(self._link, queue):
                self.begin(queue)
                del self._missing[queue]
                logger.warning("the queue %s is there again", queue)
            else:
                self._missing[queue] = min(wait * 2, LOOK_LONGEST)
        self._look_at = monotonic() + min(self._missing.values(), default=LOOK_FIRST)
        return not self._missing


def begin_all(subscriptions: Subscriptions, link: Link, queues: Sequence[str]) -> None:
    """Consume from queues after a reconnection; wait for those that are missing.

    :raises AMQPError: the broker refuses.
    """
    for queue in queues:
        try:
            if exists(link, queue):
                subscriptions.begin(queue)
            else:
                subscriptions.miss(queue, "is not there any more")
        except exceptions.ChannelClosedByBroker as error:
            if code_of(error) != NOT_FOUND or not link.is_alive:
                raise
            subscriptions.miss(queue, "cannot be read now")
