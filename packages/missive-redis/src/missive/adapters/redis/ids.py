"""Ids of entries: what they sort by, and which comes before which."""

from __future__ import annotations

#: An id as what it sorts by: milliseconds, and a number within them.
Order = tuple[int, int]


def order(entry_id: bytes) -> Order:
    """Return what an id sorts by."""
    milliseconds, _, sequence = entry_id.partition(b"-")
    return int(milliseconds), int(sequence or 0)


def id_of(place: Order) -> bytes:
    """Return the id that sorts by this."""
    return b"%d-%d" % place


def before(place: Order) -> Order:
    """Return the place just before another, at least the first there is."""
    milliseconds, sequence = place
    if sequence:
        return milliseconds, sequence - 1
    return (milliseconds - 1, 2**64 - 1) if milliseconds else (0, 0)


def first_needed(last_delivered: bytes, first_pending: bytes | None) -> Order:
    """Return the place of the first entry that a group has not settled."""
    milliseconds, sequence = order(last_delivered)
    behind = (milliseconds, sequence + 1)
    return behind if first_pending is None else min(behind, order(first_pending))
