"""SQS messages: what a queue holds, as deliveries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from missive import Delivery

from .bodies import BodyEncoding, read_body


class State(Enum):
    """What this process is doing with a message that it received."""

    #: It waits to be handled, is being handled, or waits for its settlement.
    HELD = "held"
    #: It is to be deleted.
    DELETED = "deleted"
    #: It is given back to the queue.
    RETURNED = "returned"


class SQSMessage(Delivery):
    """One message of a queue, as it was received; also ``message.native``.

    :ivar receipt: the receipt handle of the latest delivery.
    :ivar attributes: what SQS says about it: ``SentTimestamp``, ``MessageGroupId``,
        ``SequenceNumber``, ``ApproximateReceiveCount`` and more, by name.
    :ivar message_attributes: what its sender said, as boto3 returns it.
    :ivar group: the message group on a FIFO queue; None on a standard queue.
    :ivar received_at: when it was received, on the clock of ``time.monotonic``.
    :ivar visible_at: when other consumers may receive it, on the same clock.
    """

    # The same for every message, so not set for each.
    headers = None
    native = None

    def __init__(
        self,
        source: str,
        found: Mapping[str, Any],
        *,
        received_at: float,
        visibility: float,
        is_fifo: bool = False,
        encoding: BodyEncoding | None = None,
        sns: bool = False,
    ) -> None:
        self.attributes: Mapping[str, str] = found.get("Attributes", {})
        self.message_attributes: Mapping[str, Any] = found.get("MessageAttributes", {})
        body = read_body(found.get("Body", ""), self.message_attributes, encoding=encoding, sns=sns)
        super().__init__(
            body.raw_data,
            message_id=found["MessageId"],
            source=source,
            delivery_count=int(self.attributes.get("ApproximateReceiveCount", 1)),
        )
        self._sns_headers = body.headers
        if body.problem is not None:
            self.rejection = (body.problem, "decoding")
        self.receipt: str = found["ReceiptHandle"]
        self.group = self.attributes.get("MessageGroupId") if is_fifo else None
        self.received_at = received_at
        self.visible_at = received_at + visibility
        self.state = State.HELD

    def read_headers(self) -> Iterator[tuple[str, str | bytes]]:
        """Return the attributes of an SNS notification, then the message's own."""
        yield from self._sns_headers.items()
        for name, attribute in self.message_attributes.items():
            value = attribute.get("StringValue", attribute.get("BinaryValue"))
            if value is not None:
                yield name, value

    def make_native(self) -> SQSMessage:
        """Return the delivery itself."""
        return self

    def __repr__(self) -> str:
        return f"<SQSMessage {self.message_id!r} of {self.source!r}, {len(self.raw_data)} bytes>"
