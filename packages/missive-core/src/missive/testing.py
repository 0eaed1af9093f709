"""The test client: an adapter without a transport."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from .adapter import Adapter
from .capabilities import Capabilities
from .errors import ConfigurationError
from .messages import (
    NO_ENVELOPE,
    Envelope,
    EnvelopeFields,
    M,
    Message,
    RawMessage,
    check_message_cls,
)
from .settlement import ACKED, DEAD_LETTERED, Outcome

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .contexts import ProcessingContext
    from .processor import Processor

_FIRST_DELIVERY = Envelope(delivery_count=1)


class TestAdapter(Adapter[M]):
    """Sends messages to a processor as a transport would, and records how they were settled.

    It settles exactly as the adapters of real transports do, in the order of sending. Processing
    hooks run at ``with``, or at the first ``send``; and at ``close`` or the end of the ``with``.

    :param processor: the processor under test.
    :param message_cls: what bytes that are sent become; unless given, RawMessage, or without a
        ``with`` the class of the first message where that was sent as a message.
    :param capabilities: the capabilities to play, such as those of the adapter used in production.

    :ivar acked: the messages acked to the transport, dead-lettered ones included, in order.
    :ivar nacked: the messages given back to the transport, in order.
    :ivar dead_lettered: the messages written to the DLQ, in order.
    """

    __test__ = False  # not a test class, whatever its name says

    capabilities = Capabilities(
        delivery="at-least-once",
        nack="redeliver",
        ordering="total",
        stable_id=True,
        delivery_count=True,
        headers=True,
    )

    def __init__(
        self,
        processor: Processor[M],
        message_cls: Callable[[bytes], M] | None = None,
        capabilities: Capabilities | None = None,
    ) -> None:
        super().__init__(processor)
        if message_cls is not None:
            check_message_cls(message_cls)
        if capabilities is not None:
            self.capabilities = capabilities  # type: ignore[misc]
        self.message_cls = message_cls
        self.acked: list[M] = []
        self.nacked: list[M] = []
        self.dead_lettered: list[M] = []
        self._returned: list[M] = []
        self._manager: AbstractContextManager[ProcessingContext[M]] | None = None
        self._ctx: ProcessingContext[M] | None = None

    def ack(self, message: M) -> None:
        """Record an ack."""
        self.acked.append(message)

    def nack(self, message: M) -> None:
        """Record a nack; ``redeliver`` delivers the message again."""
        self.nacked.append(message)
        self._returned.append(message)

    def send(self, message: M | bytes, **envelope: Unpack[EnvelopeFields]) -> Outcome:
        """Deliver a message and give what was done with it.

        :param message: a message, or bytes to build one from.
        :param envelope: ``message_id``, ``headers``, ``source``, ``delivery_count``, ``native``.
        :raises ConfigurationError: it is neither a message nor bytes.
        :raises Exception: what ``run`` of a real adapter would end with.
        """
        if isinstance(message, bytes):
            return self._send_bytes(message, envelope)
        if not isinstance(cast("object", message), Message):
            raise ConfigurationError(
                f"a {type(message).__name__} cannot be sent; give a message, or bytes (text with"
                ' .encode("utf-8")) from which one is built'
            )
        if envelope:
            message.put_in(_envelope(envelope))
        elif message.envelope is NO_ENVELOPE:
            message.envelope = _FIRST_DELIVERY
        ctx = self._ctx or self._start(type(message))
        outcome = ctx.handle(message)
        if outcome is DEAD_LETTERED:
            self.dead_lettered.append(message)
        return outcome

    def _send_bytes(self, raw_data: bytes, envelope: EnvelopeFields) -> Outcome:
        ctx = self._ctx or self._start(RawMessage)
        verdict = ctx.take_bytes(raw_data, _envelope(envelope))
        if verdict is None:
            return ACKED
        (outcome,) = ctx.settle((verdict,))
        if outcome is DEAD_LETTERED:
            self.dead_lettered.append(verdict.message)
        return outcome

    def redeliver(self) -> list[Outcome]:
        """Deliver again what was nacked since the last call: same ids, counts raised by one."""
        returned, self._returned = self._returned, []
        outcomes: list[Outcome] = []
        try:
            for message in returned:
                outcomes.append(self._send_again(message))  # noqa: PERF401
        finally:  # what was not sent again for an error stays to be redelivered
            self._returned[:0] = returned[len(outcomes) + 1 :]
        return outcomes

    def _send_again(self, message: M) -> Outcome:
        old = message.envelope
        count = (old.delivery_count or 1) + 1
        message.put_in(
            Envelope(message.message_id, message.headers, old.source, count, old.make_native())
        )
        return self.send(message)

    def close(self) -> None:
        """Run the after-processing hooks; any number of times."""
        manager, self._manager, self._ctx = self._manager, None, None
        if manager is not None:
            manager.__exit__(None, None, None)

    def __enter__(self) -> TestAdapter[M]:
        if self._ctx is None:
            self._start(RawMessage)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        manager, self._manager, self._ctx = self._manager, None, None
        if manager is not None:
            manager.__exit__(kind, error, traceback)

    def _start(self, default_cls: Callable[[bytes], Any]) -> ProcessingContext[M]:
        manager = self.processor.context(self.message_cls or default_cls, self)
        self._ctx = manager.__enter__()
        self._manager = manager
        return self._ctx


def _envelope(given: EnvelopeFields) -> Envelope:
    given.setdefault("delivery_count", 1)
    return Envelope(**given)
