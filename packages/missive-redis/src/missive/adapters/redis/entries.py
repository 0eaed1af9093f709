"""Entries: what a stream holds, as deliveries."""

from __future__ import annotations

from collections.abc import Iterator

from missive import Delivery, Stage


class StreamEntry(Delivery):
    """One entry of a stream, as a consumer group delivered it; also ``message.native``.

    :ivar stream: the name of the stream, in bytes.
    :ivar entry_id: the id of the entry in its stream, such as ``b"1700000000000-0"``.
    :ivar flat: the fields and values in order, as Redis gives them.
    :ivar body_at: where in ``flat`` the body stands; -1 where the entry has none.
    :ivar counted: whether Redis counted this delivery.
    """

    __slots__ = ("body_at", "entry_id", "flat", "stream")

    # The same for every entry, so not set for each (benchmarks/redis_streams).
    headers = None
    native = None
    counted = True

    def __init__(
        self,
        stream: bytes,
        source: str,
        id_prefix: bytes,
        entry_id: bytes,
        flat: list[bytes],
        body_field: bytes,
        delivery_count: int,
    ) -> None:
        self.stream = stream
        self.source = source
        self.message_id = id_prefix + entry_id
        self.entry_id = entry_id
        self.flat = flat
        self.delivery_count = delivery_count
        if flat and flat[0] == body_field:
            self.body_at = 1
            self.raw_data = flat[1]
        else:
            self._find_body(body_field)

    def _find_body(self, body_field: bytes) -> None:
        flat = self.flat
        for index in range(0, len(flat) - 1, 2):
            if flat[index] == body_field:
                self.body_at = index + 1
                self.raw_data = flat[index + 1]
                return
        self.body_at = -1
        self.raw_data = b""

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """All fields with their values, in order; a name may stand more than once."""
        return list(zip(self.flat[::2], self.flat[1::2], strict=False))

    def read_headers(self) -> Iterator[tuple[bytes, bytes]]:
        """Return the fields that are not the body."""
        flat, body_at = self.flat, self.body_at
        return (
            (flat[index], flat[index + 1])
            for index in range(0, len(flat) - 1, 2)
            if index + 1 != body_at
        )

    def make_native(self) -> StreamEntry:
        """Return the entry itself."""
        return self

    def __repr__(self) -> str:
        return f"<StreamEntry {self.message_id!r}, {len(self.raw_data)} bytes>"


class RejectedEntry(StreamEntry):
    """An entry that is to be dead-lettered without being handled.

    :ivar rejection: why, and at which stage.
    """

    __slots__ = ("counted", "rejection")

    def __init__(
        self, entry: StreamEntry, *, reason: str, stage: Stage, counted: bool = True
    ) -> None:
        for name in ("stream", "entry_id", "flat", "body_at", "raw_data"):
            setattr(self, name, getattr(entry, name))
        self.source = entry.source
        self.message_id = entry.message_id
        self.delivery_count = entry.delivery_count
        self.counted = counted
        self.rejection = (reason, stage)
