"""What the original documented of a processing context, beside ``handle``; it stays callable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any, Generic

from .errors import DecisionTooLate
from .handling import HandlingContext
from .hooks import Passage, ProcessorHooks
from .message import M
from .steps import run_plainly


class OriginalCalls(Generic[M]):
    """Lets code that has a message and the run, but no handling context, decide."""

    hooks: ProcessorHooks
    wait: Callable[[Awaitable[Any]], Any]

    @contextmanager
    def handling_context(self, message: M) -> Generator[HandlingContext[M]]:
        """Enter the handling context of a message with its hooks; settles nothing."""
        context = HandlingContext(message, self)
        passage = Passage(self.hooks.handling, (self, context), context.fail)
        with context.open():
            try:
                run_plainly(passage.enter(), self.wait)
                if passage.error is None:
                    yield context
            except BaseException as error:
                passage.fail(error)
            run_plainly(passage.exit(), self.wait)
            if passage.error is not None:
                raise passage.error

    def ack(self, message: M) -> None:
        """Decide, while the message is handled, as ``HandlingContext.ack`` does."""
        self._handling_of(message).ack()

    def nack(self, message: M) -> None:
        """Decide, while the message is handled, as ``HandlingContext.nack`` does."""
        self._handling_of(message).nack()

    def _handling_of(self, message: M) -> HandlingContext[M]:
        context: HandlingContext[M] | None = message._handling
        if context is None:
            raise DecisionTooLate(message)
        return context
