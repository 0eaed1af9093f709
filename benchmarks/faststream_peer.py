"""A program of FastStream, timed from its first message to its last."""

from __future__ import annotations

import asyncio
from typing import Any

from instrument import Stopwatch


class FastStreamProgram:
    """A broker of FastStream, whose subscribers tell what they handled.

    :param broker: the broker.
    :param items: how many messages there will be.
    """

    def __init__(self, broker: Any, items: int) -> None:
        self._broker = broker
        self._items = items
        self._handled = 0
        self._watch = Stopwatch()
        self._figures: dict[str, float] = {}
        self._finished = asyncio.Event()

    def count(self, number: int = 1) -> None:
        """Note that so many more messages were handled."""
        if not self._handled:
            self._watch = Stopwatch()
        self._handled += number
        if self._handled == self._items:
            self._figures = self._watch.stop()
            self._finished.set()

    async def run(self, acks: float = 0.5) -> dict[str, float]:
        """Run until all are handled, and return what that took.

        :param acks: how long its last acks may take, which come after its handlers, in seconds.
        """
        async with self._broker:
            await self._broker.start()
            await self._finished.wait()
            await asyncio.sleep(acks)
        return self._figures
