"""The test client: an adapter without a transport."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from ..adapter import Adapter, Runs
from ..capabilities import Capabilities
from ..delivery import Delivery, Envelope, EnvelopeFields
from ..errors import ConfigurationError
from ..handling import ACKED, DEAD_LETTERED, DEFERRED, NACKED, HandlingContext, Outcome
from ..letters.claim import Claim, ClaimedDelivery
from ..letters.deferred import Deferred
from ..letters.letter import DeadLetter
from ..letters.store import DeadLetterStore
from ..message import NO_ENVELOPE, M, Message, RawMessage, check_message_cls
from ..run import ProcessingContext

if TYPE_CHECKING:
    from typing_extensions import Unpack

_FIRST_DELIVERY = Envelope(delivery_count=1)


class TestAdapter(Adapter[M]):
    """Sends messages to a processor as a transport would, and records how they were settled.

    It settles exactly as the adapters of real transports do, in the order of sending. Processing
    hooks run at ``with``, or at the first ``send``; and at ``close`` or the end of the ``with``.
    Inside an event loop use ``async with``, ``asend``, ``aredeliver`` and ``aadvance``.

    Retries wait for :meth:`advance`, on a clock of the client's own: no test waits.

    :param processor: the processor under test.
    :param message_cls: what bytes that are sent become; unless given, RawMessage, or without a
        ``with`` the class of the first message where that was sent as a message.
    :param capabilities: the capabilities to play, such as those of the adapter used in production.

    :ivar acked: the messages acked to the transport, dead-lettered ones included, in order.
    :ivar nacked: the messages returned to the transport, in order.
    :ivar dead_lettered: the messages written to the DLQ, in order.
    """

    __test__ = False  # not a test class, whatever its name says

    capabilities = Capabilities(
        delivery="at-least-once",
        nack="redeliver",
        crash_redelivery=True,
        ordering="total",
        stable_id=True,
        delivery_count=True,
        headers=True,
    )

    def __init__(
        self,
        processor: Runs[M],
        message_cls: Callable[[bytes], M] | None = None,
        capabilities: Capabilities | None = None,
    ) -> None:
        super().__init__(processor)
        if message_cls is not None:
            check_message_cls(message_cls)
        if capabilities is not None:
            self.capabilities = capabilities
        self.message_cls = message_cls
        self.acked: list[M] = []
        self.nacked: list[M] = []
        self.dead_lettered: list[M] = []
        self._returned: list[HandlingContext[M]] = []
        self._now = 0.0
        self._waiting: list[tuple[float, int, HandlingContext[M]]] = []
        self._numbers = count()
        self._ctx: ProcessingContext[M] | None = None

    def ack(self, message: M) -> None:
        """Record an ack."""
        self.acked.append(message)

    def nack(self, message: M) -> None:
        """Record a nack; ``redeliver`` delivers the message again."""
        self.nacked.append(message)

    @property
    def deferred(self) -> list[M]:
        """The messages that wait for another attempt, the next one first."""
        return [context.message for _, _, context in sorted(self._waiting, key=lambda row: row[:2])]

    def send(self, message: M | bytes, **envelope: Unpack[EnvelopeFields]) -> Outcome:
        """Deliver a message and return what was done with it.

        :param message: a message, or bytes to build one from.
        :param envelope: ``message_id``, ``headers``, ``source``, ``delivery_count``, ``native``.
        :raises ConfigurationError: it is neither a message nor bytes.
        :raises Exception: what ``run`` of a real adapter would end with.
        """
        context = self._context_of(message, envelope)
        ctx = context.processing_ctx  # not by _deliver, another call (benchmarks/dispatch.py)
        ctx.run(context)
        ctx.settle_one(context)
        return ACKED if context.outcome is ACKED else self._record(context)

    async def asend(self, message: M | bytes, **envelope: Unpack[EnvelopeFields]) -> Outcome:
        """Do what :meth:`send` does, on the running event loop."""
        if self._ctx is None:
            await self._new_ctx(
                RawMessage if isinstance(message, bytes) else type(message)
            ).astart()
        return await self._adeliver(self._context_of(message, envelope))

    def redeliver(self) -> list[Outcome]:
        """Deliver what was nacked since the last call: same ids, delivery counts raised by one."""
        return [self._deliver(context) for context in self._nacked()]

    async def aredeliver(self) -> list[Outcome]:
        """Do what :meth:`redeliver` does, on the running event loop."""
        return [await self._adeliver(context) for context in self._nacked()]

    def advance(self, seconds: float) -> list[Outcome]:
        """Let time pass for retries, and deliver what became due, in the order of time.

        :param seconds: how long; no time passes on the machine's clock.
        """
        return [self._deliver(context) for context in self._due(seconds)]

    async def aadvance(self, seconds: float) -> list[Outcome]:
        """Do what :meth:`advance` does, on the running event loop."""
        return [await self._adeliver(context) for context in self._due(seconds)]

    def _nacked(self) -> Iterator[HandlingContext[M]]:
        """Return what was nacked until now; each once those before it were delivered."""
        self._waiting = [row for row in self._waiting if row[2] not in self._returned]
        heapq.heapify(self._waiting)
        for _ in range(len(self._returned)):  # what is nacked again has to wait
            yield self._again(self._returned.pop(0))

    def _due(self, seconds: float) -> Iterator[HandlingContext[M]]:
        """Return what is due within some seconds; each once those before it were delivered."""
        end = self._now + seconds
        while self._waiting and self._waiting[0][0] <= end:
            self._now, _, context = heapq.heappop(self._waiting)
            if not context.held and context.outcome is DEFERRED:
                yield from self._of_store(context)
                continue
            if not context.held:
                self._returned.remove(context)
            yield self._again(context)
        self._now = end

    def _of_store(self, waiting: HandlingContext[M]) -> Iterator[HandlingContext[M]]:
        """Return the next attempt at a message that its store has kept until now."""
        ctx = waiting.processing_ctx
        store = ctx.dlq
        assert isinstance(store, DeadLetterStore)
        assert waiting.letter is not None
        claimed = _claim_same(store, waiting.letter)
        if claimed is not None:  # else it was given up, removed or replayed
            claim, letter = claimed
            delivery = ClaimedDelivery(letter, claim, Deferred(store))
            yield ctx.begin(delivery.raw_data, delivery)

    def _again(self, context: HandlingContext[M]) -> HandlingContext[M]:
        """Return the next delivery of a message."""
        message, old = context.message, context.delivery
        delivery = Delivery(
            message.raw_data,
            message.message_id,
            message.headers,
            old.source,
            (old.delivery_count or 1) + 1,
            old.make_native(),
        )
        if context.held:
            delivery.attempt = context.next_attempt
            delivery.delivery_count = old.delivery_count
        message.put_in(delivery)
        return self._context_of(message, {})

    def _deliver(self, context: HandlingContext[M]) -> Outcome:
        ctx = context.processing_ctx
        ctx.run(context)
        ctx.settle_one(context)
        return self._record(context)

    async def _adeliver(self, context: HandlingContext[M]) -> Outcome:
        await context.processing_ctx.arun(context)
        await context.processing_ctx.asettle(context)
        return self._record(context)

    def _context_of(self, message: M | bytes, envelope: EnvelopeFields) -> HandlingContext[M]:
        if isinstance(message, bytes):
            ctx = self._ctx or self._start(RawMessage)
            return ctx.begin(message, _envelope(envelope))
        if not isinstance(cast("object", message), Message):
            raise ConfigurationError(
                f"a {type(message).__name__} cannot be sent; give a message, or bytes (text with"
                ' .encode("utf-8")) from which one is built'
            )
        if envelope:
            message.put_in(_envelope(envelope))
        elif message.envelope is NO_ENVELOPE:
            message.envelope = _FIRST_DELIVERY
        return HandlingContext(message, self._ctx or self._start(type(message)))

    def _record(self, context: HandlingContext[M]) -> Outcome:
        outcome = context.outcome
        if outcome is ACKED:
            if context.delivery.settler is not None:  # else it was acked here
                self.acked.append(context.message)
            return ACKED
        if outcome is DEAD_LETTERED:
            self.dead_lettered.append(context.message)
        if outcome is NACKED:
            self._returned.append(context)
        if outcome in (DEFERRED, NACKED) and context.delay is not None:
            due = self._now + context.delay
            heapq.heappush(self._waiting, (due, next(self._numbers), context))
        return cast("Outcome", outcome)  # settlement raises where there is none

    # The run.

    def close(self) -> None:
        """Run the after-processing hooks; any number of times."""
        self.__exit__(None, None, None)

    def __enter__(self) -> TestAdapter[M]:
        if self._ctx is None:
            self._start(RawMessage)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        ctx, self._ctx = self._ctx, None
        if ctx is not None:
            ctx.finish(error)

    async def __aenter__(self) -> TestAdapter[M]:
        if self._ctx is None:
            await self._new_ctx(RawMessage).astart()
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        ctx, self._ctx = self._ctx, None
        if ctx is not None:
            await ctx.afinish(error)

    def _start(self, default_cls: Callable[[bytes], Any]) -> ProcessingContext[M]:
        ctx = self._new_ctx(default_cls)
        try:
            ctx.start()
        except BaseException as error:
            self._ctx = None
            ctx.finish(error)
            raise
        return ctx

    def _new_ctx(self, default_cls: Callable[[bytes], Any]) -> ProcessingContext[M]:
        self._ctx = ProcessingContext(
            self.message_cls or default_cls,
            self,
            self.processor,
            holds=True,
            clock=lambda: self._now,
        )
        return self._ctx


def _envelope(given: EnvelopeFields) -> Envelope:
    given.setdefault("delivery_count", 1)
    return Envelope(**given)


def _claim_same(store: DeadLetterStore, letter: DeadLetter) -> tuple[Claim, DeadLetter] | None:
    """Claim a deferred letter, by its id or by one beside it; None where it is gone."""
    number, letter_id = 0, letter.id
    # Another message that had the id may be gone by now, and this letter still beside it.
    while (claimed := store.claim(letter_id)) is not None or number == 0:
        if claimed is not None:
            if claimed[1].is_same_message(letter):
                return claimed if claimed[1].state == "deferred" else None
            store.release(claimed[0])
        number += 1
        letter_id = letter.beside_id(number)
    return None
