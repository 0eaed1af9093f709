"""Messages of NATS, as deliveries."""

from __future__ import annotations

from typing import Any

from missive import Delivery

from nats.aio.msg import Msg


class SubjectMessage(Delivery):
    """One message of a plain subject, as it was delivered; also ``message.native``.

    :ivar msg: nats-py's ``Msg``: subject, reply subject, headers.
    """

    # The same for every message, so not set for each.
    headers = None
    native = None
    message_id: str | None = None
    delivery_count: int | None = None

    def __init__(self, msg: Msg) -> None:
        self.raw_data = msg.data
        self.source = msg.subject
        self.msg = msg

    def read_headers(self) -> Any:
        """Return the headers of the message."""
        return self.msg.headers or ()

    def make_native(self) -> SubjectMessage:
        """Return the delivery itself."""
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.source!r}, {len(self.raw_data)} bytes>"


class StreamMessage(SubjectMessage):
    """One message of a stream, as it was delivered; also ``message.native``.

    :ivar stream: the name of its stream.
    :ivar sequence: its number in the stream.
    :ivar deliveries: how often it was delivered, this delivery included.
    :ivar reply: the subject to which its ack goes.
    :ivar came_at: when it came, on the clock of ``time.monotonic``.
    """

    def __init__(self, msg: Msg, came_at: float) -> None:
        self.raw_data = msg.data
        self.source = msg.subject
        self.msg = msg
        self.reply = msg.reply
        self.came_at = came_at
        # $JS.ACK.stream.consumer.deliveries.sequence.…, or after $JS.ACK the domain and the
        # account, and then the same.
        tokens = msg.reply.split(".")
        first = 2 if len(tokens) < 11 else 4
        self.stream = tokens[first]
        self.delivery_count = self.deliveries = int(tokens[first + 2])
        self.sequence = int(tokens[first + 3])
        self.message_id = f"{tokens[first]}-{tokens[first + 3]}"
