"""Run: one run of a processor with one adapter, where deliveries become outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from functools import partial
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, cast

from . import settlement
from .around import batch_steps, closing_steps, delivery_steps
from .batch import check_batches
from .breaker import Breakers
from .building import Builder
from .callers_loop import OnCallersLoop
from .delivery import Delivery
from .error_notes import log_hook_error
from .errors import SettlementFailed
from .handling import ACKED, HandlingContext, Outcome, all_acked
from .letters.store import DLQ
from .lifecycle import Lifecycle, set_variables
from .matching import stage_of
from .message import M
from .original import OriginalCalls
from .state import State
from .steps import Steps, awaited, run_plainly
from .waiting import Declared, Settles, check_retries

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


class ProcessingContext(OriginalCalls[M], OnCallersLoop[M], Lifecycle, Builder[M]):
    """One run of a processor with one adapter: where deliveries are handled and settled.

    ``process`` may be called from several threads at once. ``settle`` and ``handle`` call the
    adapter in the thread that calls them.

    :param message_cls: makes a message from the bytes of a delivery.
    :param adapter: the adapter that settles.
    :param processor: the processor whose handlers and hooks run.
    :param dlq: stands in for the processor's own DLQ during this run.
    :param holds: whether the caller keeps messages unsettled until a retry is due.
    :param clock: returns the time in seconds, monotonic; for breakers.
    :param loop_factory: makes the event loop of async handlers and hooks, such as uvloop's.
    :raises ConfigurationError: a retry policy asks for what this run cannot do.
    """

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        adapter: Settles,
        processor: Declared[M],
        *,
        dlq: DLQ | None = None,
        holds: bool = False,
        clock: Callable[[], float] = monotonic,
        loop_factory: Callable[[], AbstractEventLoop] | None = None,
    ) -> None:
        self.state = State()
        self.message_cls = message_cls
        self.adapter = adapter
        self.processor = processor
        self.holds = holds
        self._dlq = dlq
        self.match = processor.router.match
        self.hooks = processor.hooks
        self._observers = processor.hooks.settled
        handlers = processor.router.handlers
        self.breakers = Breakers(handlers, clock)
        self._generation: int | None = None
        #: Entered while this thread waits for a store, and the transport has to be kept alive.
        self.elsewhere: AbstractContextManager[None] = nullcontext()
        super().__init__(processor.hooks.processing, loop_factory)
        self._look_at_hooks()
        simple = getattr(getattr(type(adapter), "settle", None), "tells_one_by_one", False)
        #: Whether the adapter takes acks one by one, and is not to be told by ``settle`` alone.
        self.acks_singly = simple
        self._ack: Callable[[M], None] | None = cast("Any", adapter).ack if simple else None
        check_batches(handlers, adapter)
        check_retries(handlers, processor.retry, adapter, self.dlq, holds=holds)

    def _look_at_hooks(self) -> None:
        """Find the quickest way that runs all hooks there are; more may come until the start."""
        hooks, handlers = self.hooks, self.processor.router.handlers
        self.is_async = hooks.is_async or self.processor.router.is_async
        in_steps = hooks.handling.active or any(handler.in_steps for handler in handlers)
        self._plain = not (hooks.delivery.active or in_steps or self.is_async)
        #: Whether a hook may ask how long a message took.
        self.timed = bool(hooks.settled) or hooks.delivery.active
        #: Whether an async handler stands alone: nothing is called around it.
        self.bare = not (self.timed or in_steps)

    @property
    def dlq(self) -> DLQ | None:
        """The DLQ in force: the one given for this run, else the processor's."""
        return self.processor.dlq if self._dlq is None else self._dlq

    # One delivery, from bytes to outcome.

    def handle(self, message: M) -> Outcome:
        """Handle one message and settle it; return what was done.

        :raises Exception: what left the message unsettled; see the settlement table.
        """
        context = HandlingContext(message, self)
        self.run(context)
        self.settle_one(context)
        return cast("Outcome", context.outcome)  # settlement raises where there is none

    def process(self, delivery: Delivery) -> HandlingContext[M]:
        """Build the message of a delivery and handle it; write nothing and settle nothing.

        :raises BaseException: only what is not an Exception: KeyboardInterrupt, SystemExit.
        """
        context = self.begin(delivery.raw_data, delivery)
        self.run(context)
        return context

    def deliver(self, delivery: Delivery) -> HandlingContext[M]:
        """Process a delivery and settle it.

        :raises Exception: what left the message unsettled; see the settlement table.
        """
        if not self.variables:
            return self._deliver(delivery)
        (variables := copy_context()).run(set_variables, self.variables)
        return variables.run(self._deliver, delivery)

    def _deliver(self, delivery: Delivery) -> HandlingContext[M]:
        context = self.begin(delivery.raw_data, delivery)
        self.run(context)
        self.settle_one(context)
        return context

    def run(self, context: HandlingContext[M]) -> None:
        """Match and handle a message and plan its outcome; what goes wrong is kept as a value."""
        if not self._plain or context.error is not None:
            self._run_in_steps((context,))
            return
        timed = self.timed
        started = perf_counter() if timed else 0.0
        # The same as delivery_steps, where there is only the handler (benchmarks/dispatch.py).
        message = context.message
        try:
            handler = context.handler = self.match(message)
        except Exception as error:
            context.fail(error, stage_of(error))
            context._started = started
            self.decide(context)
            return
        message._handling = context
        try:
            result = handler.function(message, context)
            if result is not None:
                run_plainly(awaited(result), self.wait)
        except Exception as error:
            context.error = error
        finally:
            message._handling = None
        if context._decision is ACKED and context.error is None:
            context.outcome = ACKED  # as most messages end, without another call
            if timed:
                context.seconds = perf_counter() - started
        else:
            context._started = started
            self.decide(context)

    def run_job(self, contexts: Sequence[HandlingContext[M]]) -> None:
        """Do what :meth:`run` does for one message, or for those of a batch handler together."""
        if len(contexts) == 1:
            self.complete(contexts[0])
            self.run(contexts[0])
        else:
            self._run_in_steps(contexts)

    def _run_in_steps(self, contexts: Sequence[HandlingContext[M]]) -> None:
        """Handle a delivery or a batch on the loop where that is needed, else in this thread."""
        if self.is_async and not self.is_plain(contexts):
            self.loop.handle(self, contexts)
            return
        alone = len(contexts) == 1
        steps = delivery_steps(self, contexts[0]) if alone else batch_steps(self, contexts)
        if not self.hooks.delivery.active:
            run_plainly(steps, self.wait)
            return
        variables = copy_context()
        variables.run(run_plainly, steps, self.wait)
        for context in contexts:
            close = partial(run_plainly, closing_steps(context), self.wait)
            context._close = partial(variables.run, close)
            context._routine = False

    def is_plain(self, contexts: Sequence[HandlingContext[M]]) -> bool:
        """Return whether it goes to a plain handler within plain hooks, so needs no event loop."""
        if self.hooks.is_async:
            return False
        self.complete(contexts[0])
        handler = self.handler_of(contexts[0])
        return handler is None or not handler.is_async

    def decide(self, context: HandlingContext[M]) -> None:
        """Plan the outcome of a delivery that was handled, or could not be."""
        if self.timed:
            context.seconds = perf_counter() - context._started
        handler = context.handler
        retry = self.processor.retry if handler is None else handler.retry or self.processor.retry
        adapter = self.adapter_of(context)
        settlement.decide(context, adapter, self.dlq, retry, self.breakers, holds=self.holds)

    def adapter_of(self, context: HandlingContext[M]) -> Settles:
        """Return what settles a delivery: the adapter, unless the delivery names another."""
        settler: Settles | None = context.message.envelope.settler
        return self.adapter if settler is None else settler

    def settle_one(self, context: HandlingContext[M]) -> None:
        """Settle one delivery, as :meth:`settle` does a batch."""
        if context.outcome is not ACKED or self._ack is None or not context._routine:
            self.settle((context,))
            return
        try:  # as most messages end
            self._ack(context.message)
        except Exception as error:
            context.outcome = None
            self._observe(context)
            raise SettlementFailed(context.message, "ack") from error
        if self._observers:
            self._observe(context)

    def settle(self, batch: Sequence[HandlingContext[M]]) -> list[Outcome | None]:
        """Do what is planned: write the letters of all, and only then tell the adapter.

        One that cannot be settled keeps no other from it, and its outcome is None.

        :raises DeadLetterWriteFailed: letters were not written; their messages were not acked.
        :raises SettlementFailed: the adapter did not take an ack or a nack.
        :raises Exception: what left a message unsettled where there is no DLQ. Of several errors
            the first is raised; the others are logged and noted on it.
        """
        plain = self._generation is None and not self._observers
        if plain and all_acked(batch) and False not in [each._routine for each in batch]:
            failure = settlement.tell(batch, self.adapter)  # as most messages end
            if failure is not None:
                raise failure
            return [ACKED] * len(batch)
        error = self._settle(batch)
        for context in batch:
            close, context._close = context._close, None
            if close is not None:
                close()
            if self._observers:
                self._observe(context)
        if error is not None:
            raise error
        return [context.outcome for context in batch]

    def _settle(self, batch: Sequence[HandlingContext[M]]) -> Exception | None:
        return settlement.settle(batch, self.adapter, self.dlq, self._sends, self.elsewhere)

    def _sends(self, context: HandlingContext[M]) -> bool:
        generation, envelope = self._generation, context.message.envelope
        # What a store delivered knows no connection.
        return (
            generation is None or envelope.settler is not None or envelope.generation >= generation
        )

    def lose_connections_before(self, generation: int) -> None:
        """Send no settlement of deliveries of older connections; see ``Delivery.generation``."""
        self._generation, self._ack = generation, None

    def _observe(self, context: HandlingContext[M]) -> None:
        for observer in self._observers:
            try:
                if (result := observer(self, context)) is not None:
                    run_plainly(awaited(result), self.wait)
            except Exception as error:
                log_hook_error("on_settled", error)

    def _observing_steps(self, context: HandlingContext[M]) -> Steps[None]:
        for observer in self._observers:
            try:
                yield from awaited(observer(self, context))
            except Exception as error:
                log_hook_error("on_settled", error)
