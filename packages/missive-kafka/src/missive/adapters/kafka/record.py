"""Records: what a partition holds, as deliveries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from missive import Delivery, Stage

if TYPE_CHECKING:
    from .partition import Partition

#: The header of a message whose record had no value: a tombstone of a compacted topic.
TOMBSTONE = "kafka-tombstone"
KEY = "kafka-key"
TIMESTAMP = "kafka-timestamp"
#: What kinds of timestamps confluent-kafka tells apart; 0 is none.
_TIMESTAMPS = {1: "create", 2: "append"}


class Record(Delivery):
    """One record of a partition, as it was delivered.

    Its ``native`` is confluent-kafka's own message. A repeated header is there once for each value.

    :ivar partition: the assignment that it came on.
    :ivar offset: its offset.
    """

    # The same for every record, so not set for each.
    headers = None
    delivery_count = None
    rejection: tuple[str, Stage] | None = None
    settler = None
    native: Any

    def __init__(self, partition: Partition, offset: int, native: Any, raw_data: bytes) -> None:
        self.raw_data = raw_data
        self.source = partition.topic
        self.partition = partition
        self.offset = offset
        self.native = native

    @property
    def message_id(self) -> str:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        """The id: topic, partition and offset."""
        return f"{self.partition.name}-{self.offset}"

    def read_headers(self) -> Iterator[tuple[str, Any]]:
        """Return key, timestamp and tombstone as headers, then the record's own in their order."""
        native = self.native
        if (key := native.key()) is not None:
            yield KEY, key
        kind, milliseconds = native.timestamp()
        if kind in _TIMESTAMPS:
            yield TIMESTAMP, str(milliseconds)
        if native.value() is None:
            yield TOMBSTONE, "true"
        for name, value in native.headers() or ():
            yield name, b"" if value is None else value

    def __repr__(self) -> str:
        return f"<Record {self.message_id}, {len(self.raw_data)} bytes>"
