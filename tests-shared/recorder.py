"""A processor that keeps what it handled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import missive
from patience import eventually


class Recorder:
    """A processor whose one handler notes each message and then does what the test says.

    :param act: what the handler does with message and context; it acks unless told otherwise.

    :ivar messages: the messages in the order in which they were handled.
    """

    def __init__(self, act: Callable[[Any, Any], None] | None = None) -> None:
        self.messages: list[Any] = []
        self.processor: missive.Processor[Any] = missive.Processor()
        self.act = act or (lambda message, ctx: ctx.ack())

        @self.processor.handle_for(missive.otherwise)
        def handle(message: Any, ctx: Any) -> None:
            self.messages.append(message)
            self.act(message, ctx)

    @property
    def bodies(self) -> list[bytes]:
        """The bytes of the messages."""
        return [message.raw_data for message in self.messages]

    def wait_for(self, count: int) -> None:
        """Wait until so many messages were handled."""
        eventually(
            lambda: len(self.messages) >= count,
            f"{count} messages were awaited",
        )
