"""Every error that Missive raises: one tree under :class:`MissiveError`.

An error's text names the offender and the remedy, its attributes carry the data, and neither ever
holds a message's content. The text ends with the name of its entry in the documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .error_base import ConfigurationError, MissiveError, describe
from .transport_errors import (
    DeadLetterStoreBusy,
    DeadLetterStoreError,
    DeadLetterStoreFull,
    DeadLetterStoreRefused,
    DrainTimeout,
    TransportError,
    TransportRefused,
    TransportUnreachable,
    UnknownScheme,
)

__all__ = [
    "BreakerOpen",
    "ConfigurationError",
    "ConflictingDecision",
    "DeadLetterStoreBusy",
    "DeadLetterStoreError",
    "DeadLetterStoreFull",
    "DeadLetterStoreRefused",
    "DeadLetterWriteFailed",
    "DecisionTooLate",
    "DecodingError",
    "DrainTimeout",
    "HandlerCancelled",
    "HookError",
    "InvalidHandler",
    "InvalidMessageClass",
    "MatcherConflict",
    "MessageError",
    "MessageRejected",
    "MissiveError",
    "MultipleMatchingHandlers",
    "NackUnsupported",
    "NoMatchingHandler",
    "NotSettled",
    "SettlementFailed",
    "TransportError",
    "TransportRefused",
    "TransportUnreachable",
    "UnknownScheme",
]

#: A ``missive.Message``, whose module is above this one; its repr shows no content.
Message = Any


# Configuration: found while a program is built, before any message is read.


class InvalidMessageClass(ConfigurationError, TypeError):
    """A message class cannot be called with the bytes of a message alone.

    :ivar message_cls: the class or callable that was given.
    """

    def __init__(self, message_cls: object, problem: str) -> None:
        name = getattr(message_cls, "__qualname__", None) or repr(type(message_cls).__name__)
        super().__init__(
            f"{name} cannot serve as message class: {problem}. Give a subclass of missive.Message"
            " whose __init__ takes raw_data alone, or any callable from bytes to a message, such"
            " as functools.partial(DictMessage, decoder=...)"
        )
        self.message_cls = message_cls


class InvalidHandler(ConfigurationError, TypeError):
    """A handler, a hook or a matcher is not of the kind that can be called here.

    :ivar function: what was given.
    """

    def __init__(self, function: object, problem: str) -> None:
        super().__init__(f"{describe(function)} {problem}")
        self.function = function


class MatcherConflict(ConfigurationError):
    """Two handlers would match by the same matcher, so that no message could choose between them.

    :ivar matcher: the matcher that was given a second time.
    :ivar existing: the handler function that has it.
    :ivar refused: the handler function that was refused.
    """

    def __init__(
        self, matcher: object, existing: Callable[..., Any], refused: Callable[..., Any], what: str
    ) -> None:
        super().__init__(
            f"{describe(refused)} cannot handle {what}: {describe(existing)} already does."
            " Give one of them another matcher, or merge the two handlers"
        )
        self.matcher = matcher
        self.existing = existing
        self.refused = refused


# Messages: what one delivery can meet.


class MessageError(MissiveError):
    """Something went wrong with one message.

    :ivar message: the message; its repr shows class, id and size, never content.
    """

    def __init__(self, message: Message, text: str) -> None:
        super().__init__(text)
        self.message = message


class DecodingError(MessageError, ValueError):
    """The bytes of a message are not what its class decodes.

    Its reason leaves out which message it was, so that dead letters of one kind count together.
    """

    def __init__(self, message: Message, problem: str) -> None:
        super().__init__(message, f"{message} is {problem}")
        self.reason = problem


class NoMatchingHandler(MessageError):
    """No handler's matcher matched."""

    reason = "no matching handlers"

    def __init__(self, message: Message) -> None:
        super().__init__(
            message,
            f"no handler matches {message}; add one with @processor.handle_for(...), catch the rest"
            " with missive.otherwise, or keep such messages with processor.set_dlq(...)",
        )


class MultipleMatchingHandlers(MessageError):
    """Two or more handlers' matchers matched.

    :ivar handlers: the names of the handlers that matched.
    """

    reason = "multiple matching handlers"

    def __init__(self, message: Message, handlers: Iterable[str]) -> None:
        self.handlers = tuple(handlers)
        super().__init__(
            message,
            f"{len(self.handlers)} handlers match {message}: {', '.join(self.handlers)};"
            " make their matchers exclude each other (processor.explain(message) shows which hit)",
        )


class NotSettled(MessageError):
    """A handler returned without a decision.

    :ivar handler: the handler's name.
    """

    reason = "handler did not settle the message"

    def __init__(self, message: Message, handler: str | None) -> None:
        super().__init__(
            message,
            f"{handler or 'the handler'} returned without settling {message};"
            " call ctx.ack() or ctx.nack() on every path through it",
        )
        self.handler = handler


class ConflictingDecision(MessageError):
    """A message that was decided one way was decided the other way too."""

    def __init__(self, message: Message, first: str, second: str) -> None:
        super().__init__(
            message,
            f"{message} was already decided as {first} and cannot also be {second};"
            " decide once (the same decision twice is harmless)",
        )
        self.first = first
        self.second = second


class DecisionTooLate(MessageError):
    """A decision came for a message that is not being handled."""

    def __init__(self, message: Message) -> None:
        super().__init__(
            message,
            f"{message} is not being handled, so it cannot be decided;"
            " call ack() and nack() from its handler or hooks, before they return",
        )


class NackUnsupported(MessageError):
    """A message was nacked, and its transport can neither redeliver it nor refuse it."""

    reason = "nacked; the transport cannot redeliver"

    def __init__(self, message: Message, adapter: object) -> None:
        super().__init__(
            message,
            f"{message} was nacked, but {type(adapter).__name__} cannot have it redelivered;"
            " keep nacked messages with processor.set_dlq(...), or ack",
        )


class MessageRejected(MessageError):
    """An adapter refused to have a message handled, and there is no DLQ to keep it.

    :ivar why: the adapter's reason, which is the reason of the dead letter too.
    """

    def __init__(self, message: Message, why: str) -> None:
        super().__init__(
            message,
            f"{message} was not handled: {why}; keep such messages with processor.set_dlq(...)",
        )
        self.why = self.reason = why


class DeadLetterWriteFailed(MessageError):
    """The DLQ could not be written, so the message was not acked.

    ``__cause__`` is what the DLQ raised; that chain ends in what the message failed by.

    :ivar failure: what the message failed by.
    """

    def __init__(self, message: Message, dlq: object, failure: BaseException, count: int) -> None:
        others = f" and {count - 1} more" if count > 1 else ""
        super().__init__(
            message,
            f"{type(dlq).__name__} could not keep {message}{others} as a dead letter, so nothing"
            " of it was acked; repair the DLQ and start again, the transport still has what it can"
            " redeliver",
        )
        self.failure = failure


class SettlementFailed(MessageError):
    """An adapter's ``ack`` or ``nack`` raised; ``__cause__`` is what it raised."""

    def __init__(self, message: Message, call: str) -> None:
        super().__init__(message, f"the transport did not take the {call} of {message}")
        self.call = call


class BreakerOpen(MessageError):
    """A message came while the breaker of its handler was open, and nothing could keep it."""

    def __init__(self, message: Message) -> None:
        super().__init__(
            message,
            f"{message} was not handled: its handler's breaker is open, and nothing can keep the"
            " message until it closes; keep such messages with processor.set_dlq(...)",
        )


class HandlerCancelled(MissiveError):
    """A handler raised ``asyncio.CancelledError`` although nobody cancelled it.

    :ivar message: the message; None where that is not known.
    """

    def __init__(self, message: Message | None, error: BaseException) -> None:
        super().__init__(
            f"the handler of {message or 'a message'} was cancelled from within; catch"
            " CancelledError where a task or a timeout of its own raises it"
        )
        self.message = message
        self.__cause__ = error


class HookError(MissiveError):
    """An around-hook did not yield exactly once.

    :ivar hook: the hook.
    """

    def __init__(self, hook: Callable[..., Any], problem: str) -> None:
        super().__init__(f"around-hook {describe(hook)} {problem}; it must yield exactly once")
        self.hook = hook


for _name in __all__:  # one home for all, in tracebacks and dead letters
    globals()[_name].__module__ = __name__
