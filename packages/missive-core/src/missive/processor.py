"""The processor: handlers, hooks and a DLQ, independent of any transport."""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Sequence,
)
from contextlib import contextmanager
from typing import Any, Generic, TypeVar, cast

from .adapter import Adapter
from .batch import BatchContext
from .breaker import Breaker
from .callables import check_function
from .capabilities import Capabilities
from .errors import ConfigurationError
from .handling import HandlingContext
from .hooks import ProcessorHooks
from .keys import KeyedMatcher
from .letters.store import DLQ
from .matching import Batch, Explanation, Handler, Matcher, Router
from .message import M
from .retry import Retry
from .run import ProcessingContext
from .testing.client import TestAdapter

_Nothing = None | Coroutine[Any, Any, None]
HandlerFunction = Callable[[M, HandlingContext[M]], _Nothing]
BatchHandlerFunction = Callable[[Sequence[M], BatchContext[M]], _Nothing]
ProcessingHook = Callable[[ProcessingContext[M]], _Nothing]
HandlingHook = Callable[[ProcessingContext[M], HandlingContext[M]], _Nothing]
_Yields = Iterator[None] | AsyncIterator[None]
AroundProcessingHook = Callable[[ProcessingContext[M]], _Yields]
AroundHandlingHook = Callable[[ProcessingContext[M], HandlingContext[M]], _Yields]

F = TypeVar("F", bound=Callable[..., Any])


class Processor(Generic[M]):
    """What is done with messages of a class: handlers, hooks, and where dead letters go.

    An adapter runs it. One processor may be run by several adapters at once. Handlers and hooks
    may be plain functions or ``async def``, side by side.

    :param retry: the policy of handlers that have none of their own; None: no retries.
    """

    def __init__(self, *, retry: Retry | None = None) -> None:
        _check_kind(retry, Retry, "retry")
        self.hooks = ProcessorHooks()
        self.router: Router[M] = Router()
        self.dlq: DLQ | None = None
        self.retry = retry

    @property
    def handlers(self) -> tuple[Handler[M], ...]:
        """The registered handlers, in order of registration."""
        return tuple(self.router.handlers)

    def handle_for(
        self, matcher: Matcher[M], *, retry: Retry | None = None, breaker: Breaker | None = None
    ) -> Callable[[HandlerFunction[M]], HandlerFunction[M]]:
        """Register the decorated function as the handler of the messages that a matcher matches.

        :param matcher: any callable from message to bool, a keyed matcher of ``route_on``, or
            ``missive.otherwise``.
        :param retry: how often, and when, a message that failed is handled again.
        :param breaker: stops the handler while its dependency is down.
        :raises InvalidHandler: the matcher or the handler cannot be called so.
        :raises MatcherConflict: another handler has an equal matcher or shares a key value.
        """
        return self._registers("a handler", ("message", "ctx"), matcher, retry, breaker)

    def handle_batch_for(
        self,
        matcher: Matcher[M],
        size: int = 100,
        wait: float = 0.5,
        *,
        split_on_error: bool = False,
        retry: Retry | None = None,
        breaker: Breaker | None = None,
    ) -> Callable[[BatchHandlerFunction[M]], BatchHandlerFunction[M]]:
        """Register the decorated function as a handler that takes several messages together.

        It is called with the messages and a :class:`BatchContext`, and decides about each.

        :param size: how many messages at most.
        :param wait: how long the first message waits for the others, in seconds.
        :param split_on_error: after an exception, handle the undecided ones one by one.
        :raises InvalidHandler: the matcher or the handler cannot be called so.
        :raises MatcherConflict: another handler has an equal matcher or shares a key value.
        :raises ConfigurationError: ``size`` or ``wait`` makes no sense.
        """
        batch = Batch(size, wait, split_on_error)
        takes = ("messages", "ctx")
        return self._registers("a batch handler", takes, matcher, retry, breaker, batch)

    def _registers(
        self,
        role: str,
        takes: tuple[str, ...],
        matcher: Matcher[M],
        retry: Retry | None,
        breaker: Breaker | None,
        batch: Batch | None = None,
    ) -> Callable[[F], F]:
        def register(function: F) -> F:
            check_function(function, role, takes)
            self.router.add(Handler(function, matcher, retry, breaker, batch))
            return function

        _check_matcher(matcher)
        _check_kind(retry, Retry, "retry")
        _check_kind(breaker, Breaker, "breaker")
        return register

    def before_processing(self, hook: ProcessingHook[M]) -> ProcessingHook[M]:
        """Register a hook that runs at start-up; gets the processing context."""
        return self.hooks.processing.add("before", hook)

    def after_processing(self, hook: ProcessingHook[M]) -> ProcessingHook[M]:
        """Register a hook that runs at shutdown, whatever happened; the last one runs first."""
        return self.hooks.processing.add("after", hook)

    def around_processing(self, hook: AroundProcessingHook[M]) -> AroundProcessingHook[M]:
        """Register a generator function that yields once, while messages are processed."""
        return self.hooks.processing.add("around", hook)

    def around_delivery(self, hook: AroundHandlingHook[M]) -> AroundHandlingHook[M]:
        """Register a generator function that yields once, from before matching to the outcome.

        It runs for every delivery, even if no handler matches or the message cannot be decoded. After
        the ``yield``, the ``outcome`` is known. An error after the ``yield`` is only logged.
        """
        return self.hooks.delivery.add("around", hook)

    def before_handling(self, hook: HandlingHook[M]) -> HandlingHook[M]:
        """Register a hook that runs before each handler; gets processing and handling context."""
        return self.hooks.handling.add("before", hook)

    def after_handling(self, hook: HandlingHook[M]) -> HandlingHook[M]:
        """Register a hook that runs after each handler, whatever happened; last one first."""
        return self.hooks.handling.add("after", hook)

    def around_handling(self, hook: AroundHandlingHook[M]) -> AroundHandlingHook[M]:
        """Register a generator function that yields once, while the handler runs.

        An exception of the handler is raised at the ``yield``; the hook cannot suppress it.
        """
        return self.hooks.handling.add("around", hook)

    def on_settled(self, hook: HandlingHook[M]) -> HandlingHook[M]:
        """Register a hook that runs after every delivery; its errors are only logged."""
        check_function(hook, "a hook", ("processing_ctx", "handling_ctx"))
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
        """Return which matchers hit or raise for a message, calling no handler."""
        return self.router.explain(message)

    @contextmanager
    def context(
        self,
        message_cls: Callable[[bytes], M],
        adapter: Adapter[M],
        *,
        dlq: DLQ | None = None,
        holds: bool = False,
    ) -> Generator[ProcessingContext[M]]:
        """Enter a run of this processor, with its processing hooks.

        :param message_cls: makes a message from the bytes of a delivery.
        :param adapter: the adapter that settles.
        :param dlq: stands in for the processor's own DLQ during this run.
        :param holds: whether the adapter keeps messages unsettled until a retry is due.
        """
        processing_ctx = ProcessingContext(message_cls, adapter, self, dlq=dlq, holds=holds)
        with processing_ctx.entered():
            yield processing_ctx

    def test_client(
        self,
        message_cls: Callable[[bytes], M] | None = None,
        *,
        capabilities: Capabilities | None = None,
    ) -> TestAdapter[M]:
        """Return an adapter without a transport, to test handlers with; plainly or in a ``with``.

        :param message_cls: the class for bytes that are sent; RawMessage by default.
        :param capabilities: the capabilities of the transport to imitate.
        """
        return TestAdapter(self, message_cls, capabilities)


def _check_matcher(matcher: Any) -> None:
    check_function(matcher, "a matcher", ("message",), plain=True)
    if isinstance(matcher, KeyedMatcher):
        family = cast("KeyedMatcher[Any]", matcher).family
        check_function(family.key, "a key function", ("message",), plain=True)


def _check_kind(given: object, kind: type, name: str) -> None:
    if given is not None and not isinstance(given, kind):
        raise ConfigurationError(
            f"{name}= takes a missive.{kind.__name__}, such as {kind.__name__}(...), not a"
            f" {type(given).__name__}"
        )
