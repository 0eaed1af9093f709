"""Building: a message is made from the bytes of a delivery, whatever goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, cast

from .delivery import Envelope
from .errors import InvalidMessageClass, MessageRejected
from .handling import HandlingContext
from .matching import Handler, stage_of
from .message import M, RawMessage


class Builder(Generic[M]):
    """Makes the message and the handling context of a delivery, and finds its handler.

    :ivar message_cls: makes a message from the bytes of a delivery.
    :ivar match: returns the one handler of a message.
    """

    message_cls: Callable[[bytes], M]
    match: Callable[[M], Handler[M]]

    def begin(self, raw_data: bytes, envelope: Envelope) -> HandlingContext[M]:
        """Build a message and its context; what goes wrong is kept there as its error."""
        if envelope.rejection is not None:
            return self._rejected(raw_data, envelope)
        try:
            message = self.message_cls(raw_data)
            if message.raw_data is not raw_data:
                check_raw_data(self.message_cls, message)
            message.envelope = envelope
        except Exception as error:
            context = HandlingContext(cast("M", raw_message(raw_data, envelope)), self)
            context.fail(build_error(self.message_cls, error), "decoding")
            return context
        context = HandlingContext(message, self)
        if envelope.settler is not None:
            context._routine = False
        return context

    def unbuilt(self, raw_data: bytes, envelope: Envelope) -> HandlingContext[M]:
        """Return the context of a message that is built where it is handled."""
        context = HandlingContext(cast("M", raw_message(raw_data, envelope)), self)
        context._unbuilt = True
        return context

    def complete(self, context: HandlingContext[M]) -> None:
        """Build the message of a context that has none yet, as :meth:`begin` does."""
        if context._unbuilt:
            built = self.begin(context.message.raw_data, context.message.envelope)
            context.message, context.stage = built.message, built.stage
            context.error, context._unbuilt = built.error, False
            context._routine = built._routine

    def handler_of(self, context: HandlingContext[M]) -> Handler[M] | None:
        """Return the handler of a delivery; None where it failed, or fails in finding one."""
        if context.handler is None and context.error is None:
            try:
                context.handler = self.match(context.message)
            except Exception as error:
                context.fail(error, stage_of(error))
        return context.handler

    def _rejected(self, raw_data: bytes, envelope: Envelope) -> HandlingContext[M]:
        assert envelope.rejection is not None
        reason, stage = envelope.rejection
        message = raw_message(raw_data, envelope)
        context = HandlingContext(cast("M", message), self)
        context.fail(MessageRejected(message, reason), stage)
        return context


def raw_message(raw_data: bytes, envelope: Envelope) -> RawMessage:
    """Return the message of a delivery that could not be built, or is not to be."""
    message = RawMessage(raw_data)
    message.envelope = envelope
    return message


def check_raw_data(message_cls: Callable[[bytes], Any], message: Any) -> None:
    """Refuse a message that could not be kept as a dead letter.

    :raises InvalidMessageClass: its ``raw_data`` is not bytes.
    """
    given: object = message.raw_data
    if not isinstance(given, bytes):
        raise InvalidMessageClass(
            message_cls,
            f"what it makes has a {type(given).__name__} as raw_data; keep the bytes there,"
            " and what they mean in an attribute of its own",
        )


def build_error(message_cls: Callable[[bytes], Any], error: Exception) -> Exception:
    """Explain what a class lacks that makes messages without their bytes."""
    if not isinstance(error, AttributeError) or error.name not in ("raw_data", "envelope"):
        return error
    explained = InvalidMessageClass(
        message_cls,
        "it does not make a message with raw_data (call super().__init__(raw_data))",
    )
    explained.__cause__ = error
    return explained
