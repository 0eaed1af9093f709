"""Every error that Missive raises: one tree under :class:`MissiveError`.

An error's text names the offender and the remedy, its attributes carry the data, and neither ever
holds a message's content. The text ends with the name of its entry in the documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .messages import Message


class MissiveError(RuntimeError):
    """Base of everything that Missive raises."""

    #: The reason that a dead letter gets; None means the text of the error.
    reason: str | None = None

    def __str__(self) -> str:
        text = super().__str__()
        own = type(self).__module__.partition(".")[0] == "missive"
        return f"{text} (docs: errors#{type(self).__name__})" if own else text

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by calling the class with the text, which is not what most of the classes take.
        return _make_again, (type(self), self.args), self.__dict__


def _make_again(cls: type[MissiveError], args: tuple[Any, ...]) -> MissiveError:
    """Make an error without its constructor, for pickle and copy, which then set its attributes."""
    return cls.__new__(cls, *args)


# Configuration: found while a program is built, before any message is read.


class ConfigurationError(MissiveError):
    """Something was configured in a way that cannot work."""


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


class UnknownScheme(ConfigurationError):
    """No installed distribution knows the scheme of a URL.

    :ivar scheme: the scheme.
    :ivar known: the schemes that are installed.
    """

    def __init__(self, scheme: str, kind: str, known: Iterable[str], remedy: str) -> None:
        self.scheme = scheme
        self.known = tuple(sorted(known))
        super().__init__(
            f"no {kind} for {scheme + ':' if scheme else 'a URL without a scheme'}"
            f" (installed: {', '.join(self.known) or 'none'}); {remedy}"
        )


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
    """A decision came for a message that is not being handled (any more)."""

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
            " of it was acked; mend the DLQ and start again, the transport still has what it can"
            " redeliver",
        )
        self.failure = failure


class SettlementFailed(MessageError):
    """An adapter's ``ack`` or ``nack`` raised; ``__cause__`` is what it raised."""

    def __init__(self, message: Message, call: str) -> None:
        super().__init__(message, f"the transport did not take the {call} of {message}")
        self.call = call


class HookError(MissiveError):
    """An around-hook did not yield exactly once.

    :ivar hook: the hook.
    """

    def __init__(self, hook: Callable[..., Any], problem: str) -> None:
        super().__init__(f"around-hook {describe(hook)} {problem}; it must yield exactly once")
        self.hook = hook


# Transports.


class TransportError(MissiveError):
    """A transport cannot be used."""


class TransportUnreachable(TransportError):
    """A transport could not be reached within ``connect_timeout``.

    :ivar seconds: how long was tried.
    """

    def __init__(self, adapter: object, seconds: float, last: BaseException) -> None:
        super().__init__(
            f"{type(adapter).__name__} could not reach its transport within {seconds:g} s"
            f" (last: {type(last).__name__}); check the address and that the server runs"
        )
        self.seconds = seconds


class TransportRefused(TransportError):
    """A transport refused in a way that trying again does not mend; see ``__cause__``."""

    def __init__(self, adapter: object, error: BaseException) -> None:
        super().__init__(
            f"{type(adapter).__name__} was refused by its transport: {type(error).__name__};"
            " check the credentials, the permissions and the names of what it reads"
        )


class DrainTimeout(TransportError):
    """Messages were still in hand at the drain deadline.

    :ivar message_ids: the printable ids of those messages.
    :ivar seconds: the deadline.
    """

    def __init__(self, message_ids: Iterable[str], seconds: float) -> None:
        self.message_ids = tuple(message_ids)
        self.seconds = seconds
        super().__init__(
            f"{len(self.message_ids)} message(s) still in hand {seconds:g} s after stop:"
            f" {', '.join(self.message_ids)}; raise drain_timeout or make the handlers quicker"
        )


# Dead letter stores.


class DeadLetterStoreError(MissiveError):
    """A dead letter store cannot be read or written."""


class DeadLetterStoreRefused(DeadLetterStoreError, ConfigurationError):
    """What was named cannot serve as a dead letter store, and was left as it is.

    :ivar place: the file or address that was named.
    """

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place} cannot serve as a dead letter store: {problem}")
        self.place = place


class DeadLetterStoreBusy(DeadLetterStoreError):
    """Others kept a dead letter store busy for as long as it may wait; nothing was written.

    :ivar place: the file or address of the store.
    :ivar seconds: how long it waited.
    """

    def __init__(self, place: str, seconds: float) -> None:
        super().__init__(
            f"{place} was kept busy by others for {seconds:g} s; find what holds it (a long"
            " transaction, a backup), or give the store a longer busy_timeout"
        )
        self.place = place
        self.seconds = seconds


class DeadLetterStoreFull(DeadLetterStoreError):
    """There is no room for another dead letter; nothing was written, and earlier ones are intact.

    :ivar place: the file or address of the store.
    """

    def __init__(self, place: str) -> None:
        super().__init__(
            f"{place} cannot grow: the disk or its quota is full; make room, then start again"
        )
        self.place = place


def describe(function: object) -> str:
    """Name a function or callable, with file and line where it has them."""
    name = getattr(function, "__qualname__", None) or f"an instance of {type(function).__name__}"
    code = getattr(function, "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return f"{name}{where}"
