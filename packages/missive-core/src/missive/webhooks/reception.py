"""The reception: how requests are judged, and how what became of them is answered."""

from __future__ import annotations

import logging
from typing import Generic

from ..error_notes import place_of
from ..errors import DeadLetterWriteFailed, MessageError
from ..handling import HandlingContext, Outcome
from ..ids import format_id
from ..letters.inbox import Receipt
from ..letters.store import DeadLetterStore
from ..message import M, Message
from . import answers
from .adapter import WebhookAdapter
from .answers import Answer
from .delivery import WebhookDelivery
from .inbox import Inbox
from .intake import Admitted
from .request import WebhookRequest

logger = logging.getLogger("missive.webhooks")


class Reception(Generic[M]):
    """Answers the requests of an adapter: what does not depend on the server that they come by.

    :param adapter: the adapter.

    :ivar has_answer: whether a function of the user's makes the answers.
    :ivar is_unusual: whether there is more to judge than the framing of a body.
    """

    def __init__(self, adapter: WebhookAdapter[M]) -> None:
        intake = adapter.intake
        self.adapter, self.intake = adapter, intake
        self.path, self.limit = adapter.path, intake.limit
        self.has_answer = intake.own_answer is not None
        self.is_unusual = intake.judges or intake.id_header is not None
        self._not_stored = answers.unavailable(adapter.retry_after)
        self._is_failing = False

    def answer_get(self, path: str, method: str) -> Answer | None:
        """Return the answer to a request off the path that takes messages; None asks for readiness.

        :param path: below where the application is mounted.
        """
        if path not in self.adapter.health_paths:
            return answers.NOT_FOUND
        if method not in ("GET", "HEAD"):
            return answers.GET_ONLY
        return answers.ALIVE if path == self.adapter.health_paths[0] else None

    def answer_handshake(self, request: WebhookRequest) -> Answer:
        """Answer another method than POST on the path that takes messages."""
        try:
            return self.intake.handshake(request) or answers.POST_ONLY
        except Exception as error:
            self.log_error("a handshake", self.path, error)
            return answers.ERROR

    def admit(
        self, delivery: WebhookDelivery, request: WebhookRequest, message_id: str | None
    ) -> Answer | None:
        """Judge a request and identify its message; return the answer that ends it, or None.

        :param message_id: the value of the ``id_header``.
        """
        intake = self.intake
        if message_id:
            refusal = intake.refuse_id(message_id)
            if refusal is not None:
                return refusal
            delivery.message_id = message_id
        admitted = intake.admit(request)
        if not isinstance(admitted, Admitted):
            return admitted
        if admitted.decoded:
            delivery.become(admitted.body, admitted.content_type)
        if intake.id_from is not None:
            delivery.message_id = intake.identify(delivery)
        return None

    def answer_outcome(self, context: HandlingContext[M]) -> Answer:
        """Answer a message that was handled and settled."""
        outcome = context.outcome
        assert outcome is not None
        if outcome in (Outcome.DEAD_LETTERED, Outcome.DEFERRED):
            self.adapter.set_ready()  # the DLQ can be written, if it could not before
        return self.intake.answer(outcome, context.message, context.delay)

    def fail(self, delivery: WebhookDelivery, error: BaseException) -> Answer:
        """Answer where a polling adapter would stop; the sender still has the message."""
        if isinstance(error, DeadLetterWriteFailed):  # which settlement has logged
            self.adapter.ready.clear()
        else:
            name = (
                format_id(error.message.message_id)
                if isinstance(error, MessageError)
                else delivery.name
            )
            self.log_error(name, delivery.source, error)
        return answers.ERROR

    # The inbox.

    def answer_stored(self, inbox: Inbox[M], message: Message, receipt: Receipt) -> Answer:
        """Answer a message that the inbox has."""
        inbox.note(message, receipt)
        self._is_failing = False
        self.adapter.set_ready()
        return self.intake.answer(Outcome.DEFERRED, message)

    def answer_not_stored(self, error: BaseException) -> Answer:
        """Answer a message that the inbox could not store."""
        if not self._is_failing:
            logger.error(
                "answered 503 on %s: messages cannot be stored (%s at %s); senders are to try again",
                self.path,
                type(error).__name__,
                place_of(error),
            )
        self._is_failing = True
        self.adapter.ready.clear()
        return self._not_stored

    # Readiness.

    def check_store(self) -> None:
        """Make sure that the DLQ can be written.

        :raises Exception: it cannot.
        """
        dlq = self.adapter.processor.dlq
        if isinstance(dlq, DeadLetterStore):
            dlq.check()

    def answer_not_ready(self, error: BaseException) -> Answer:
        """Answer a probe of a process that cannot handle messages now."""
        logger.warning("not ready: %s at %s", type(error).__name__, place_of(error))
        self.adapter.ready.clear()
        return answers.NOT_READY

    def log_error(self, what: str, source: str | None, error: BaseException) -> None:
        """Say that something was answered 500, and why."""
        logger.error(
            "answered 500 to %s on %s: %s at %s",
            what,
            source,
            type(error).__name__,
            place_of(error),
        )
        logger.debug("the error in full", exc_info=error)
