"""The gate: whether open breakers let anything be received or handled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..breaker import Breakers
from ..matching import Handler


class Gate:
    """Closed while no handler could handle anything, or while none but a single message may.

    :param breakers: those of the run.
    :param handlers: those of the processor.
    :param defers: whether a store keeps what a breaker refuses, so that the messages of the other
        handlers go on.
    """

    def __init__(self, breakers: Breakers, handlers: Sequence[Handler[Any]], defers: bool) -> None:
        self._breakers = breakers
        self._handlers = handlers
        self._defers = defers

    def pause(self, is_empty: bool) -> float | None:
        """Return for how long nothing may be received; None where it may.

        :param is_empty: whether this process has no message to try a breaker with.
        """
        states = self._breakers.open()
        if not states or (self._defers and self._breakers.any_up()):
            return None
        wait = min(state.wait_time() for state in states)
        if wait == 0.0 and is_empty:
            return None
        return max(wait, 0.01)

    def may_probe(self) -> bool:
        """Return whether one message may be tried now."""
        return any(state.wait_time() == 0.0 for state in self._breakers.open())

    def closed_handlers(self) -> list[str]:
        """Return the names of the handlers whose breakers have closed since the last call."""
        closed = [state.breaker for state in self._breakers.closed()]
        return [handler.name for handler in self._handlers if handler.breaker in closed]
