"""Queue messages: what a queue holds, as deliveries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from missive import Delivery
from pika.spec import Basic, BasicProperties

#: The properties of AMQP that stand among the headers, by their names there.
PROPERTIES = {
    "app-id": "app_id",
    "content-encoding": "content_encoding",
    "content-type": "content_type",
    "correlation-id": "correlation_id",
    "expiration": "expiration",
    "message-id": "message_id",
    "priority": "priority",
    "reply-to": "reply_to",
    "timestamp": "timestamp",
    "type": "type",
    "user-id": "user_id",
}
#: How often RabbitMQ delivered the message before, as quorum queues say.
COUNT = "x-delivery-count"


class QueueMessage(Delivery):
    """One message of a queue, as it was delivered; also ``message.native``.

    :param counted: whether the queue counts deliveries; None: it is not known.

    :ivar method: pika's ``Basic.Deliver``: delivery tag, exchange, routing key, ``redelivered``.
    :ivar properties: pika's ``BasicProperties``.
    :ivar tag: the delivery tag.
    """

    # The same for every message, so not set for each.
    headers = None
    native = None

    def __init__(
        self,
        queue: str,
        method: Basic.Deliver,
        properties: BasicProperties,
        body: bytes,
        counted: bool | None,
    ) -> None:
        self.raw_data = body
        self.source = queue
        self.method = method
        self.properties = properties
        self.tag: int = method.delivery_tag  # pyright: ignore[reportAttributeAccessIssue]
        self.message_id = properties.message_id or None
        self.delivery_count = 1 if counted else None
        headers: Any = properties.headers
        # Of a first delivery, and on a queue that does not count, the publisher wrote that header.
        if headers and COUNT in headers and method.redelivered and counted is not False:
            count = headers[COUNT]
            if isinstance(count, int):
                self.delivery_count = int(count) + 1

    def read_headers(self) -> Iterator[tuple[str, Any]]:
        """Return the properties of AMQP that are set, then the message's own headers."""
        for name, attribute in PROPERTIES.items():
            value = getattr(self.properties, attribute)
            if value is not None:
                yield name, value
        for name, value in (self.properties.headers or {}).items():
            if value is not None:
                yield name, value

    def make_native(self) -> QueueMessage:
        """Return the delivery itself."""
        return self

    def __repr__(self) -> str:
        return f"<QueueMessage {self.tag} of {self.source!r}, {len(self.raw_data)} bytes>"
