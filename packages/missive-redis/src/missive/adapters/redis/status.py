"""Status: how an adapter of streams is doing."""

from __future__ import annotations

from missive import Status


class StreamsStatus(Status):
    """How an adapter of streams is doing; see :class:`missive.Status`.

    :ivar vanished: pending entries that turned out to have been deleted or trimmed before they were
        handled, since the adapter was built. They are lost.
    """

    vanished: int = 0

    @classmethod
    def of(cls, status: Status, vanished: int) -> StreamsStatus:
        """Return a status with what streams add to it."""
        own = cls(*status)
        own.vanished = vanished
        return own
