"""Batches: the messages that a batch handler decides about one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Generic

from .errors import ConfigurationError, DecisionTooLate
from .handling import ACKED, HandlingContext
from .matching import Handler
from .message import M


class BatchContext(Generic[M]):
    """Decides about each message of a batch handler separately.

    If a message is left undecided, only that message fails.

    :ivar contexts: the handling context of each message, in the order of the messages.
    :ivar processing_ctx: the :class:`ProcessingContext` of the whole run.
    """

    def __init__(self, contexts: Sequence[HandlingContext[M]]) -> None:
        self.contexts = tuple(contexts)
        self.processing_ctx: Any = contexts[0].processing_ctx
        self._by_message: dict[int, HandlingContext[M]] | None = None

    def context_of(self, message: M) -> HandlingContext[M]:
        """Return the handling context of one message of the batch.

        :raises DecisionTooLate: the message is not of this batch.
        """
        known = self._by_message
        if known is None:
            # By identity: two deliveries of one message are equal.
            known = {id(context.message): context for context in self.contexts}
            self._by_message = known
        try:
            return known[id(message)]
        except KeyError:
            raise DecisionTooLate(message) from None

    def ack(self, message: M) -> None:
        """Decide that a message is done, as ``HandlingContext.ack`` does."""
        self.context_of(message).ack()

    def nack(self, message: M, delay: float | None = None) -> None:
        """Decide that a message should be delivered again, as ``HandlingContext.nack`` does."""
        self.context_of(message).nack(delay)

    def ack_rest(self) -> None:
        """Ack every message that is not decided yet."""
        for context in self.contexts:
            if context._decision is None and context.message._handling is context:
                context._decision = ACKED  # the usual case, without another call
            elif context._decision is None:
                context.ack()

    def __repr__(self) -> str:
        return f"<BatchContext of {len(self.contexts)} messages>"


def check_batches(handlers: Iterable[Handler[Any]], adapter: Any) -> None:
    """Refuse batch handlers where a sender waits for the answer to its one message.

    :raises ConfigurationError: there is one.
    """
    if adapter.capabilities.delivery != "request-reply":
        return
    for handler in handlers:
        if handler.batch is not None:
            raise ConfigurationError(
                f"{handler.name} was registered with handle_batch_for, but {type(adapter).__name__}"
                " answers each message separately, so a message cannot wait for others; use handle_for"
            )
