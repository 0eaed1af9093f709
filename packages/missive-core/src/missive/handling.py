"""Handling: the one object that a delivery is from its bytes to its outcome."""

from __future__ import annotations

import enum
from collections.abc import Callable, Generator, Hashable, Sequence
from contextlib import contextmanager
from typing import Any, Generic

from .delivery import Envelope, Stage
from .errors import ConfigurationError, ConflictingDecision, DecisionTooLate
from .hooks import Passage
from .letters.letter import DeadLetter
from .matching import Handler
from .message import M
from .retry import LONGEST_DELAY, check_number
from .state import State


class Outcome(enum.Enum):
    """What was done with a delivery."""

    ACKED = "acked"
    NACKED = "nacked"
    DEAD_LETTERED = "dead-lettered"
    DEFERRED = "deferred"

    def __repr__(self) -> str:
        return f"Outcome.{self.name}"


ACKED = Outcome.ACKED
NACKED = Outcome.NACKED
DEAD_LETTERED = Outcome.DEAD_LETTERED
DEFERRED = Outcome.DEFERRED


def all_acked(batch: Sequence[HandlingContext[Any]]) -> bool:
    """Return whether every message of a batch is acked, as most are."""
    return [context.outcome for context in batch].count(ACKED) == len(batch)


class HandlingContext(Generic[M]):
    """One delivery: handlers and hooks state their decision here, settlement its outcome.

    The transport is told once, after the handler and all its hooks have finished.

    :ivar message: the message; a RawMessage while it is not built, or could not be.
    :ivar processing_ctx: the :class:`ProcessingContext` of the whole run.
    :ivar handler: the handler it went to; None where none was chosen.
    :ivar error: what it failed by; None so far.
    :ivar stage: where it failed, where it did.
    :ivar letter: the dead or deferred letter that is written before the transport is told.
    :ivar outcome: what is to be done until it is settled, then what was done; None where it is
        neither acked nor nacked: it stays unsettled.
    :ivar delay: after how many seconds it is handled again, where it is; None: at once.
    :ivar held: whether this process keeps it, unsettled, to handle it again after ``delay``.
    :ivar in_place: whether later messages of its ordering key, or else its source, wait behind it.
    :ivar next_attempt: which attempt the next one is, where there is one.
    :ivar paused: whether its breaker gave it back, so that this was not an attempt.
    :ivar seconds: how long handling took; 0.0 where no hook asks (``on_settled``,
        ``around_delivery``).
    """

    # Made for every message. What most messages read is set on the instance, since CPython reads
    # that three times as fast; the rest has its defaults on the class (benchmarks/dispatch.py).
    handler: Handler[M] | None = None
    stage: Stage = "handling"
    letter: DeadLetter | None = None
    delay: float | None = None
    held: bool = False
    in_place: bool = False
    next_attempt: int = 0
    paused: bool = False
    seconds: float = 0.0
    _state: State | None = None
    _started: float = 0.0
    #: When it came, on the monotonic clock; kept where it is not handled in the receiving thread.
    _received: float = 0.0
    #: Closes what is open around the delivery, once it is settled.
    _close: Callable[[], object] | None = None
    _passage: Passage | None = None
    #: Its place in the receive loop: the lane that it takes, and its number among the deliveries.
    _lane: Hashable = None
    _number: int | None = None
    _unbuilt: bool = False

    def __init__(self, message: M, processing_ctx: Any) -> None:
        self.message = message
        self.processing_ctx = processing_ctx
        self.error: Exception | None = None
        self.outcome: Outcome | None = None
        self._decision: Outcome | None = None
        #: Whether its ack may go straight to the adapter.
        self._routine = True

    @property
    def delivery(self) -> Envelope:
        """What the transport handed over: a ``Delivery``, or the envelope of bare bytes."""
        return self.message.envelope

    @property
    def attempt(self) -> int:
        """Which attempt at handling the message this is, from 1."""
        envelope = self.message.envelope
        if envelope.attempt is not None:
            return envelope.attempt
        if self.processing_ctx.adapter.capabilities.delayed_nack:
            return max(envelope.delivery_count or 1, 1)
        return 1

    @property
    def state(self) -> State:
        """What the hooks and the handler of this one message share."""
        if self._state is None:
            self._state = State()
        return self._state

    @property
    def decision(self) -> Outcome | None:
        """The decision so far: ``Outcome.ACKED``, ``Outcome.NACKED`` or None."""
        return self._decision

    def ack(self) -> None:
        """Decide that the message is done.

        :raises ConflictingDecision: it was nacked before.
        :raises DecisionTooLate: the handler and its hooks have returned.
        """
        if self._decision is None and self.message._handling is self:
            self._decision = ACKED  # the usual case, without another call
        else:
            self._decide(ACKED)

    def nack(self, delay: float | None = None) -> None:
        """Decide that the message is to be delivered again, or its sender told of the failure.

        :param delay: after how many seconds; None leaves that to the transport.
        :raises ConflictingDecision: it was acked before.
        :raises DecisionTooLate: the handler and its hooks have returned.
        :raises ConfigurationError: the delay is negative, infinite, or longer than the transport
            can wait.
        """
        if delay is not None:
            check_number("ctx.nack()", "delay", delay, 0.0, LONGEST_DELAY)
            self._check_longest(delay)
        self._decide(NACKED)
        if delay is not None:
            self.delay = delay

    def _check_longest(self, delay: float) -> None:
        adapter = self.processing_ctx.adapter
        longest = adapter.capabilities.max_delay
        if longest is not None and delay > longest and adapter.capabilities.delayed_nack:
            raise ConfigurationError(
                f"{type(adapter).__name__} cannot wait {delay:g} s before it delivers a message"
                f" again, but {longest:g} s at most"
            )

    def _decide(self, decision: Outcome) -> None:
        if self.message._handling is not self:
            raise DecisionTooLate(self.message)
        if self._decision is None:
            self._decision = decision
        elif self._decision is not decision:
            raise ConflictingDecision(self.message, self._decision.value, decision.value)

    @contextmanager
    def open(self) -> Generator[None]:
        """Let decisions be made while the handler and its hooks run."""
        self.message._handling = self
        try:
            yield
        finally:
            self.message._handling = None

    def fail(self, error: BaseException, stage: Stage = "handling") -> None:
        """Note what the delivery failed by, for the hooks and for settlement."""
        if isinstance(error, Exception):
            self.error = error
            self.stage = stage

    def __repr__(self) -> str:
        what = "undecided" if self._decision is None else self._decision.value
        if self.outcome is not None:
            what = self.outcome.value
        elif self.error is not None:
            what = f"unsettled, {type(self.error).__name__}"
        return f"<HandlingContext {what}: {self.message}>"
