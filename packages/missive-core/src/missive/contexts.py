"""Contexts: what a processor, a handler and a hook see while messages are processed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Generic, cast

from .errors import (
    ConflictingDecision,
    DecisionTooLate,
    InvalidMessageClass,
    MessageRejected,
    SettlementFailed,
)
from .hooks import Nest, place_of
from .letters import DLQ, Stage
from .loggers import be_ready, logger_of
from .matching import Handler, stage_of
from .messages import Delivery, Envelope, EnvelopeFields, M, Message, RawMessage, RejectedDelivery
from .settlement import ACKED, NACKED, Outcome, Settled, Verdict, judge, settle
from .state import State

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .adapter import Adapter
    from .processor import Processor

logger = logger_of("missive.contexts")


class HandlingContext(Generic[M]):
    """One message while it is handled: handlers and hooks state their decision here.

    The transport is told once, after the handler and all hooks are through.

    :ivar message: the message.
    :ivar processing_ctx: the context of the whole run.
    :ivar error: what went wrong so far, for the hooks; None while nothing did.
    """

    # Made for every message, so: slots, and a State only for those who ask (benchmarks/dispatch).
    _state: State
    _stage: Stage  # of what failed before it came to a handler
    _started: float
    __slots__ = (
        "_decision",
        "_handler",
        "_stage",
        "_started",
        "_state",
        "error",
        "message",
        "processing_ctx",
    )

    def __init__(
        self,
        message: M,
        processing_ctx: ProcessingContext[M],
        handler: Handler[M] | None = None,
    ) -> None:
        self.message = message
        self.processing_ctx = processing_ctx
        self.error: Exception | None = None
        self._decision: Outcome | None = None
        self._handler = handler

    @property
    def state(self) -> State:
        """What the hooks and the handler of this one message share."""
        try:
            return self._state
        except AttributeError:
            self._state = State()
            return self._state

    @property
    def decision(self) -> Outcome | None:
        """The decision so far: ``Outcome.ACKED``, ``Outcome.NACKED`` or None."""
        return self._decision

    def ack(self) -> None:
        """Decide that the message is done with.

        :raises ConflictingDecision: it was nacked before.
        :raises DecisionTooLate: the handler and its hooks have returned.
        """
        if self._decision is None and self.message._handling is self:
            self._decision = ACKED  # the usual case, without another call
        else:
            self._decide(ACKED)

    def nack(self) -> None:
        """Decide that the message is to be delivered again, or its sender told of the failure.

        :raises ConflictingDecision: it was acked before.
        :raises DecisionTooLate: the handler and its hooks have returned.
        """
        self._decide(NACKED)

    def _decide(self, decision: Outcome) -> None:
        if self.message._handling is not self:
            raise DecisionTooLate(self.message)
        if self._decision is None:
            self._decision = decision
        elif self._decision is not decision:
            raise ConflictingDecision(self.message, self._decision.value, decision.value)

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, Exception):
            self.error = error

    def __repr__(self) -> str:
        return f"<HandlingContext of {self.message}>"


class ProcessingContext(Generic[M]):
    """One run of a processor with one adapter: where deliveries are handled and settled.

    ``process`` may be called from several threads at once. ``settle``, and so ``handle``,
    ``deliver`` and ``reject``, call the adapter in the thread that calls them.

    :ivar message_cls: makes a message of the bytes of a delivery.
    :ivar adapter: the adapter that settles.
    :ivar processor: the processor whose handlers and hooks run.
    """

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        adapter: Adapter[M],
        processor: Processor[M],
        *,
        dlq: DLQ | None = None,
    ) -> None:
        be_ready()
        self.state = State()
        self.message_cls = message_cls
        self.adapter = adapter
        self.processor = processor
        self._dlq = dlq
        self._match = processor.router.match
        self._hooks = processor.hooks.handling
        self._observers = processor.hooks.settled
        self._ack = adapter.ack

    @property
    def dlq(self) -> DLQ | None:
        """The DLQ in force: the one given for this run, else the processor's."""
        return self.processor.dlq if self._dlq is None else self._dlq

    def handle(self, message: M) -> Outcome:
        """Handle one message and settle it.

        :raises Exception: what left the message unsettled; see the settlement table.
        """
        context = self._run(message)
        if context._decision is not ACKED or context.error is not None or self._observers:
            return self.settle((self._judge(context),))[0]
        try:  # without a verdict and another call, as most messages go (benchmarks/dispatch.py)
            self._ack(message)
        except Exception as error:
            raise SettlementFailed(message, "ack") from error
        return ACKED

    def deliver(self, raw_data: bytes, **envelope: Unpack[EnvelopeFields]) -> Outcome:
        """Build a message from bytes and an envelope, handle it and settle it.

        :param raw_data: the bytes.
        :param envelope: ``message_id``, ``headers``, ``source``, ``delivery_count`` and ``native``,
            all optional, as :class:`Delivery` takes them.
        :raises Exception: what left the message unsettled; a message that could not be built and
            has no DLQ to go to raises what its class raised.
        """
        verdict = self.take(Delivery(raw_data, **envelope))
        return ACKED if verdict is None else self.settle((verdict,))[0]

    def reject(
        self, raw_data: bytes, *, reason: str, stage: Stage, **envelope: Unpack[EnvelopeFields]
    ) -> Outcome:
        """Dead-letter bytes without handling them: too many deliveries, a missing body.

        :param reason: why, as the dead letter is to say it.
        :param stage: where it failed.
        :raises MessageRejected: there is no DLQ; unsettled.
        """
        delivery = RejectedDelivery(raw_data, reason=reason, stage=stage, **envelope)
        return self.settle((self.process_delivery(delivery),))[0]

    def process(self, message: M) -> Verdict[M]:
        """Handle one message and say what is to be done with it; write and settle nothing.

        Safe to call from several threads at once.

        :raises BaseException: only what is no Exception: KeyboardInterrupt, SystemExit.
        """
        return self._judge(self._run(message))

    def process_delivery(self, delivery: Delivery) -> Verdict[M]:
        """Build the message of a delivery and handle it, as :meth:`process` does."""
        if delivery.rejection is not None:
            reason, stage = delivery.rejection
            refused = MessageRejected(_raw_message(delivery.raw_data, delivery), reason)
            return self.condemn(delivery, refused, cast("Stage", stage))
        try:
            message = self.build(delivery.raw_data, delivery)
        except Exception as error:
            return self.condemn(delivery, error, "decoding")
        return self.process(message)

    def take(self, delivery: Delivery) -> Verdict[M] | None:
        """Process a delivery and, where it was simply acked, ack it at once.

        For adapters that handle in the thread that settles.

        :returns: None where the message is settled already, else the verdict, to be settled.
        :raises SettlementFailed: the adapter did not take the ack.
        """
        if delivery.rejection is not None:
            return self.process_delivery(delivery)
        return self.take_bytes(delivery.raw_data, delivery)

    def take_bytes(self, raw_data: bytes, envelope: Envelope) -> Verdict[M] | None:
        """Take bytes whose envelope many messages share, as :meth:`take` does a delivery."""
        # Most messages pass through here, so build is written out: that takes a
        # tenth off a line of standard input (benchmarks/stdin.py).
        try:
            message = self.message_cls(raw_data)
            if message.raw_data is not raw_data:
                self._check_raw_data(message)
            message.envelope = envelope
        except Exception as error:
            failed = _raw_message(raw_data, envelope)
            return self._judge(self._failed(failed, self._build_error(error), "decoding"))
        context = self._run(message)
        if context._decision is not ACKED or context.error is not None or self._observers:
            return self._judge(context)
        try:
            self._ack(message)
        except Exception as error:
            raise SettlementFailed(message, "ack") from error
        return None

    def settle(self, verdicts: Sequence[Verdict[M]]) -> list[Outcome]:
        """Do what the verdicts say: write the letters of all, and only then ack and nack each.

        One that cannot be settled keeps no other from being settled.

        :raises DeadLetterWriteFailed: letters were not written; their messages were not acked.
        :raises SettlementFailed: the adapter did not take an ack or a nack.
        :raises Exception: what left a message unsettled where there is no DLQ. Of several errors
            the first is raised; the others are logged and noted on it.
        """
        outcomes, error = settle(verdicts, self.adapter, self.dlq)
        if self._observers:
            for verdict, outcome in zip(verdicts, outcomes, strict=True):
                self._tell_observers(verdict, outcome)
        if error is not None:
            raise error
        return cast("list[Outcome]", outcomes)

    @contextmanager
    def handling_context(self, message: M) -> Generator[HandlingContext[M]]:
        """Enter the handling context of a message with its hooks; settles nothing."""
        context = HandlingContext(message, self)
        with self._hooked(context):
            yield context

    def ack(self, message: M) -> None:
        """Decide, while the message is handled, as ``HandlingContext.ack`` does."""
        self._handling_of(message).ack()

    def nack(self, message: M) -> None:
        """Decide, while the message is handled, as ``HandlingContext.nack`` does."""
        self._handling_of(message).nack()

    def _handling_of(self, message: M) -> HandlingContext[M]:
        context: HandlingContext[M] | None = message._handling
        if context is None or context.processing_ctx is not self:
            raise DecisionTooLate(message)
        return context

    def build(self, raw_data: bytes, envelope: Envelope) -> M:
        """Build the message of some bytes.

        :raises Exception: what the message class raises.
        :raises InvalidMessageClass: what it makes has no ``raw_data``, so the bytes would be lost.
        """
        try:
            message = self.message_cls(raw_data)
            if message.raw_data is not raw_data:
                self._check_raw_data(message)
            message.envelope = envelope
        except Exception as error:
            explained = self._build_error(error)
            if explained is error:
                raise
            raise explained from error
        return message

    def _check_raw_data(self, message: M) -> None:
        """Refuse a message that could not be kept as a dead letter."""
        given: object = message.raw_data
        if not isinstance(given, bytes):
            raise InvalidMessageClass(
                self.message_cls,
                f"what it makes has a {type(given).__name__} as raw_data; keep the bytes there,"
                " and what they mean in an attribute of its own",
            )

    def _build_error(self, error: Exception) -> Exception:
        """Explain what a class lacks that makes messages without their bytes."""
        if not isinstance(error, AttributeError) or error.name not in ("raw_data", "envelope"):
            return error
        explained = InvalidMessageClass(
            self.message_cls,
            "what it makes is no message with raw_data (call super().__init__(raw_data))",
        )
        explained.__cause__ = error
        return explained

    def condemn(self, delivery: Delivery, error: Exception, stage: Stage) -> Verdict[M]:
        """Give the verdict on a delivery that failed before it came to a handler."""
        return self._judge(self._failed(_raw_message(delivery.raw_data, delivery), error, stage))

    def _failed(
        self, message: Message, error: Exception, stage: Stage, started: float | None = None
    ) -> HandlingContext[M]:
        """Make the context of a message that comes to no handler."""
        context = HandlingContext(cast("M", message), self)
        context.error = error
        context._stage = stage
        context._started = perf_counter() if started is None else started
        return context

    def _run(self, message: M) -> HandlingContext[M]:
        """Match and handle a message; what goes wrong is kept as a value, for :meth:`_judge`."""
        started = perf_counter() if self._observers else 0.0
        try:
            handler = self._match(message)
        except Exception as error:
            return self._failed(message, error, stage_of(error), started)
        context = HandlingContext(message, self, handler)
        if started:
            context._started = started
        function = handler.function
        if self._hooks.active:
            try:
                with self._hooked(context):
                    function(message, context)
            except Exception as error:
                context.error = error
            return context
        message._handling = context
        try:
            function(message, context)
        except Exception as error:
            context.error = error
        finally:
            message._handling = None
        return context

    @contextmanager
    def _hooked(self, context: HandlingContext[M]) -> Generator[None]:
        context.message._handling = context
        try:
            with Nest(self._hooks, (self, context), context._fail):
                yield
        finally:
            context.message._handling = None

    def _judge(self, context: HandlingContext[M]) -> Verdict[M]:
        handler = context._handler
        return judge(
            context.message,
            context._decision,
            context.error,
            context._stage if handler is None else "handling",
            handler.name if handler is not None else None,
            self.adapter,
            self.dlq,
            perf_counter() - context._started if self._observers else 0.0,
        )

    def _tell_observers(self, verdict: Verdict[M], outcome: Outcome | None) -> None:
        settled = Settled(verdict, outcome)
        for observer in self._observers:
            try:
                observer(self, settled)
            except Exception as error:
                logger.error(
                    "an on_settled hook raised %s at %s", type(error).__name__, place_of(error)
                )
                logger.debug("the on_settled hook's error in full", exc_info=error)


def _raw_message(raw_data: bytes, envelope: Envelope) -> RawMessage:
    message = RawMessage(raw_data)
    message.envelope = envelope
    return message
