"""The processor: handlers, hooks and a DLQ, independent of any transport."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, cast

from .contexts import ProcessingContext
from .errors import ConfigurationError
from .hooks import (
    AroundHandlingHook,
    AroundProcessingHook,
    HandlingHook,
    Nest,
    ProcessingHook,
    ProcessorHooks,
    SettledHook,
    check_function,
)
from .letters import DLQ
from .matching import Explanation, Handler, HandlerFunction, KeyedMatcher, Matcher, Router
from .messages import M
from .testing import TestAdapter

if TYPE_CHECKING:
    from .adapter import Adapter
    from .capabilities import Capabilities


class Processor(Generic[M]):
    """What is done with messages of a class: handlers, hooks, and where dead letters go.

    An adapter runs it. One processor may be run by several adapters at once.
    """

    def __init__(self) -> None:
        self.hooks: ProcessorHooks[M] = ProcessorHooks()
        self.router: Router[M] = Router()
        self.dlq: DLQ | None = None

    @property
    def handlers(self) -> tuple[Handler[M], ...]:
        """The registered handlers, in order of registration."""
        return tuple(self.router.handlers)

    def handle_for(self, matcher: Matcher[M]) -> Callable[[HandlerFunction[M]], HandlerFunction[M]]:
        """Register the decorated function as the handler of the messages that a matcher matches.

        :param matcher: any callable from message to bool, a keyed matcher of ``route_on``, or
            ``missive.otherwise``.
        :raises InvalidHandler: the matcher or the handler is not callable, or is async.
        :raises MatcherConflict: another handler has an equal matcher or shares a key value.
        """
        check_function(matcher, "a matcher", ("message",))
        given: object = matcher
        if isinstance(given, KeyedMatcher):
            check_function(
                cast("KeyedMatcher[M]", given).family.key, "a key function", ("message",)
            )

        def register(function: HandlerFunction[M]) -> HandlerFunction[M]:
            check_function(function, "a handler", ("message", "ctx"))
            self.router.add(function, matcher)
            return function

        return register

    def before_processing(self, hook: ProcessingHook[M]) -> ProcessingHook[M]:
        """Register a hook that runs at start-up; gets the processing context."""
        return self.hooks.processing.add("before", hook)

    def after_processing(self, hook: ProcessingHook[M]) -> ProcessingHook[M]:
        """Register a hook that runs at shutdown, whatever happened; last registered, first run."""
        return self.hooks.processing.add("after", hook)

    def around_processing(self, hook: AroundProcessingHook[M]) -> AroundProcessingHook[M]:
        """Register a generator function that yields once, while messages are processed."""
        return self.hooks.processing.add("around", hook)

    def before_handling(self, hook: HandlingHook[M]) -> HandlingHook[M]:
        """Register a hook that runs before each handler; gets processing and handling context."""
        return self.hooks.handling.add("before", hook)

    def after_handling(self, hook: HandlingHook[M]) -> HandlingHook[M]:
        """Register a hook that runs after each handler, whatever happened; last one first."""
        return self.hooks.handling.add("after", hook)

    def around_handling(self, hook: AroundHandlingHook[M]) -> AroundHandlingHook[M]:
        """Register a generator function that yields once, while the handler runs.

        What the handler raises is raised at the ``yield``; the hook may see it, not swallow it.
        """
        return self.hooks.handling.add("around", hook)

    def on_settled(self, hook: SettledHook[M]) -> SettledHook[M]:
        """Register a hook that is told how every delivery ended; what it raises is only logged."""
        check_function(hook, "a hook", ("processing_ctx", "settled"))
        self.hooks.settled.append(hook)
        return hook

    def set_dlq(self, dlq: DLQ | None) -> None:
        """Keep messages that cannot be processed in a DLQ: a store, a dict; None for none.

        :raises ConfigurationError: it cannot be written to as a mapping.
        """
        given: object = dlq
        if isinstance(given, type):
            raise ConfigurationError(
                f"the class {given.__name__} cannot be a DLQ; give an instance of it"
            )
        if given is not None and not (hasattr(given, "__setitem__") and hasattr(given, "keys")):
            raise ConfigurationError(
                f"a {type(given).__name__} cannot be a DLQ; give a mutable mapping from message id"
                " to (message, reason), such as missive.MemoryDLQ() or a dict"
            )
        self.dlq = dlq

    def explain(self, message: M) -> Explanation[M]:
        """Say which matchers hit or raise for a message, calling no handler."""
        return self.router.explain(message)

    @contextmanager
    def context(
        self,
        message_cls: Callable[[bytes], M],
        adapter: Adapter[M],
        *,
        dlq: DLQ | None = None,
    ) -> Generator[ProcessingContext[M]]:
        """Enter a run of this processor, with its processing hooks.

        :param message_cls: makes a message of the bytes of a delivery.
        :param adapter: the adapter that settles.
        :param dlq: stands in for the processor's own DLQ during this run.
        """
        processing_ctx = ProcessingContext(message_cls, adapter, self, dlq=dlq)
        with Nest(self.hooks.processing, (processing_ctx,)):
            yield processing_ctx

    def test_client(
        self,
        message_cls: Callable[[bytes], M] | None = None,
        *,
        capabilities: Capabilities | None = None,
    ) -> TestAdapter[M]:
        """Give an adapter without a transport, to test handlers with; plainly or in a ``with``.

        :param message_cls: what bytes that are sent become; RawMessage unless given.
        :param capabilities: what the transport that it plays can do.
        """
        return TestAdapter(self, message_cls, capabilities)
