"""The reception: what becomes of a request, from the server's call to the answer."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Generic

from missive import (
    DeadLetterStore,
    DeadLetterWriteFailed,
    HandlingContext,
    M,
    MessageError,
    Outcome,
    format_id,
)
from missive.polling import place_of
from missive.webhooks import answers
from missive.webhooks.answers import Answer
from missive.webhooks.intake import Intake

from .bodies import read_body
from .delivery import EnvironRequest, RequestDelivery, decode, encode
from .process import ServerProcess

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from .adapter import WSGIAdapter

logger = logging.getLogger("missive.adapters.wsgi")

ACKED = Outcome.ACKED


class Reception(Generic[M]):
    """Answers the requests of an adapter.

    :param adapter: the adapter.
    :param intake: judges the requests.
    """

    def __init__(self, adapter: WSGIAdapter[M], intake: Intake[M]) -> None:
        self._adapter = adapter
        self._intake = intake
        self._path = adapter.path
        self._path_info = encode(adapter.path)
        self._get_paths = {encode(each): each for each in adapter.health_paths}
        header = intake.id_header
        self._id_key = header and "HTTP_" + header.upper().replace("-", "_")
        self._limit = intake.limit
        self._answers = intake.own_answer is not None
        # Whether there is more to judge than the framing of a body.
        self._unusual = intake.judges or self._id_key is not None

    def answer(self, environ: WSGIEnvironment, process: ServerProcess[M]) -> Answer:
        """Return the answer to a request."""
        if (environ.get("PATH_INFO") or "/") == self._path_info:
            if environ["REQUEST_METHOD"] == "POST":
                return answers.DRAINING if process.refusing else self.receive(environ, process)
            return self._answer_handshake(environ, process)
        path = self._get_paths.get(environ.get("PATH_INFO") or "/")
        if path is None:
            return answers.NOT_FOUND
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return answers.GET_ONLY
        if path == self._adapter.health_paths[0]:
            return answers.ALIVE
        return answers.ALIVE if self._is_ready(process) else answers.NOT_READY

    def _answer_handshake(self, environ: WSGIEnvironment, process: ServerProcess[M]) -> Answer:
        """Answer another method than POST on the path that takes messages."""
        if process.refusing:
            return answers.DRAINING
        try:
            return self._intake.handshake(EnvironRequest(b"", environ)) or answers.POST_ONLY
        except Exception as error:
            _log_error("a handshake", self._path, error)
            return answers.ERROR

    def _is_ready(self, process: ServerProcess[M]) -> bool:
        adapter = self._adapter
        if process.refusing:
            return False
        try:
            if process.broken:  # perhaps what the before-hooks need is there again
                adapter.open_process(process)
            dlq = adapter.processor.dlq
            if isinstance(dlq, DeadLetterStore):
                dlq.check()
        except BaseException as error:
            if _ends_server(error):
                raise
            logger.warning("not ready: %s at %s", type(error).__name__, place_of(error))
            adapter.ready.clear()
            return False
        if process.ctx is not None:
            adapter.set_ready(process)
        return True

    def receive(self, environ: WSGIEnvironment, process: ServerProcess[M]) -> Answer:
        """Take a message; this and what it calls runs for every one (benchmarks/wsgi.py)."""
        unusual = self._unusual or "HTTP_CONTENT_ENCODING" in environ
        if unusual:
            refusal = self._intake.refuse_type(
                environ.get("CONTENT_TYPE", ""), environ.get("HTTP_CONTENT_ENCODING", "")
            )
            if refusal is not None:
                return refusal
        body = read_body(environ, self._limit)
        if isinstance(body, Answer):
            return body
        mount = environ.get("SCRIPT_NAME")
        delivery = RequestDelivery(
            body, environ, None, decode(mount) + self._path if mount else self._path
        )
        process.in_hand.add(delivery)
        try:
            # Checked again, now that the thread that drains sees this delivery.
            if process.refusing:
                return answers.DRAINING
            if unusual:
                refusal = self._admit(delivery)
                if refusal is not None:
                    return refusal
            # The outcome belongs to this request: it is settled here, in the request's own thread.
            context = process.take(delivery)
            if context is None:
                return answers.DRAINING
            if context.outcome is ACKED and not self._answers:
                return answers.ACKED
            return self._answer_outcome(context)
        except BaseException as error:
            if _ends_server(error):
                raise
            return self._fail(delivery, error)
        finally:
            process.in_hand.discard(delivery)
            if process.refusing:
                process.note_done()

    def _admit(self, delivery: RequestDelivery) -> Answer | None:
        """Judge a request and identify its message; return the answer that ends it, or None."""
        intake = self._intake
        message_id = self._id_key and delivery.environ.get(self._id_key)
        if message_id:
            refusal = intake.refuse_id(message_id)
            if refusal is not None:
                return refusal
            delivery.message_id = decode(message_id)
        admitted = intake.admit(EnvironRequest(delivery.raw_data, delivery.environ))
        if isinstance(admitted, Answer):
            return admitted
        if admitted.decoded:
            delivery.become(admitted.body, admitted.content_type)
        if intake.id_from is not None:
            delivery.message_id = intake.identify(delivery)
        return None

    def _answer_outcome(self, context: HandlingContext[M]) -> Answer:
        outcome = context.outcome
        assert outcome is not None
        if outcome in (Outcome.DEAD_LETTERED, Outcome.DEFERRED):
            # The DLQ can be written, if it could not before.
            self._adapter.set_ready(self._adapter.process)
        return self._intake.answer(outcome, context.message, context.delay)

    def _fail(self, delivery: RequestDelivery, error: BaseException) -> Answer:
        """Answer where a polling adapter would stop; the sender still has the message."""
        if isinstance(error, DeadLetterWriteFailed):  # which settlement has logged
            self._adapter.ready.clear()
        else:
            name = (
                format_id(error.message.message_id)
                if isinstance(error, MessageError)
                else delivery.name
            )
            _log_error(name, delivery.source, error)
        return answers.ERROR


def _log_error(what: str, source: str | None, error: BaseException) -> None:
    logger.error(
        "answered 500 to %s on %s: %s at %s", what, source, type(error).__name__, place_of(error)
    )
    logger.debug("the error in full", exc_info=error)


def _ends_server(error: BaseException) -> bool:
    """Return whether an error is an exit that the server hears of.

    In the main thread it may be a signal's, and the server ends by it. In any other it would end
    that thread alone, some servers would lose a thread, and the sender would wait for ever.
    """
    return (
        not isinstance(error, Exception) and threading.current_thread() is threading.main_thread()
    )
