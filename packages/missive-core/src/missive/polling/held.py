"""Held messages: kept in this process, unsettled, until their next attempt is due."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import count
from time import monotonic
from typing import Any, Generic

from ..delivery import Delivery
from ..handling import HandlingContext
from ..message import M


class Held(Generic[M]):
    """Messages that wait in this process, by the time they are due (on the monotonic clock)."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, HandlingContext[M]]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, context: HandlingContext[M]) -> None:
        """Keep a message for its ``delay``."""
        due = monotonic() + (context.delay or 0.0)
        heapq.heappush(self._heap, (due, next(self._numbers), context))

    def due(self) -> list[HandlingContext[M]]:
        """Return the messages that are due, the earliest first."""
        due: list[HandlingContext[M]] = []
        now = monotonic()
        while self._heap and self._heap[0][0] <= now:
            due.append(heapq.heappop(self._heap)[2])
        return due

    def seconds_to_next(self) -> float | None:
        """Return in how many seconds one is due; None where none is held."""
        return max(self._heap[0][0] - monotonic(), 0.0) if self._heap else None

    def contexts(self) -> list[HandlingContext[M]]:
        """Return everything that is held, in the order of time."""
        return [context for _, _, context in sorted(self._heap, key=lambda row: row[:2])]

    def drop(self, gone: Callable[[Any], bool]) -> list[HandlingContext[M]]:
        """Remove and return what is ``gone``, as judged by its delivery."""
        dropped = [context for _, _, context in self._heap if gone(context.delivery)]
        self._heap = [row for row in self._heap if not gone(row[2].delivery)]
        heapq.heapify(self._heap)
        return dropped


def delivery_of_next(context: HandlingContext[Any]) -> Delivery:
    """Return the delivery by which a held message is handled again, as its next attempt."""
    message, before = context.message, context.delivery
    if isinstance(before, Delivery):
        before.attempt = context.next_attempt
        return before
    delivery = Delivery(
        message.raw_data, message.message_id, message.headers, before.source, None, None
    )
    delivery.attempt, delivery.generation = context.next_attempt, before.generation
    return delivery


def delivery_of(context: HandlingContext[Any]) -> Delivery | bytes:
    """Return what a message was delivered as."""
    delivery = context.delivery
    return delivery if isinstance(delivery, Delivery) else context.message.raw_data


def stamp(batch: Sequence[Delivery | bytes], generation: int) -> None:
    """Note on deliveries which connection they came on."""
    for delivery in batch:
        if not isinstance(delivery, bytes):
            delivery.generation = generation
