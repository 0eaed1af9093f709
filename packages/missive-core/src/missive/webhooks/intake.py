"""The intake: how a request is judged, and how its message is answered.

Nothing here knows of a server. An adapter reads a body, and asks in this order:
:meth:`Intake.refuse_type` before the body is read, :meth:`Intake.refuse_id`, :meth:`Intake.admit`
with the whole request, :meth:`Intake.identify` with the delivery that it made; then it has the
message processed, and sends :meth:`Intake.answer`. Other methods than POST go to
:meth:`Intake.handshake`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Generic, NamedTuple, cast

from ..delivery import Delivery
from ..error_notes import place_of
from ..handling import Outcome
from ..ids import format_id
from ..message import M, Message
from . import answers, options
from .answers import Answer, AnswerLike, as_answer
from .challenges import Challenge
from .codings import gunzip, is_gzip
from .request import WebhookRequest, media_type_of
from .senders import Sender

logger = logging.getLogger("missive.webhooks")


class Admitted(NamedTuple):
    """What a request asks to have handled.

    :ivar body: the decoded body.
    :ivar content_type: its content type, where that is another than was sent.
    :ivar decoded: whether the body is another than was sent.
    """

    body: bytes
    content_type: str | None = None
    decoded: bool = False


class Intake(Generic[M]):
    """Judges requests and answers them, by the options of an adapter.

    :param message_cls: makes a message of the bytes of a body.
    :param path: what logs call the place that requests are sent to.
    :param limit: the longest body that is taken, compressed or not, in bytes.
    :param sender: options that stand in for those that are None.
    :param verify: see ``WSGIAdapter``, as for all that follow.
    :raises ConfigurationError: the options cannot work.

    :ivar judges: whether there is more to judge than framing, coding and ``id_header``.
    """

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        *,
        path: str,
        limit: int,
        sender: Sender | None = None,
        verify: Any = None,
        id_header: str | None = None,
        id_from: Callable[[M], object] | None = None,
        content_types: Iterable[str] | None = None,
        challenge: Challenge | Iterable[Challenge] | None = None,
        answer: Callable[[Outcome, M], AnswerLike | None] | None = None,
        nack_status: int = 500,
        retry_after: int | None = None,
    ) -> None:
        sender = options.check_sender(sender)
        if id_header is None and id_from is None:
            id_header, id_from = sender.id_header, sender.id_from
        verify = sender.verify if verify is None else verify
        options.check_id(id_header, id_from)
        self.path = path
        self.limit = limit
        self.id_header = id_header
        self.id_from = id_from
        self.content_types = options.check_types(
            sender.content_types if content_types is None else content_types
        )
        self.own_answer = options.check_answer(sender.answer if answer is None else answer)
        self._message_cls = message_cls
        self._why_not = options.check_verify(verify)
        self._decode = sender.decode
        self._challenges = (
            *options.check_challenges(sender.challenge if challenge is None else challenge),
            *options.check_challenges(getattr(verify, "challenge", None)),
        )
        self._nacked = answers.nacked(options.check_status(nack_status), retry_after)
        self.judges = bool(
            self._why_not
            or self._challenges
            or self._decode
            or self.id_from
            or self.content_types is not None
        )

    def refuse_type(self, content_type: str, coding: str) -> Answer | None:
        """Return the answer that refuses a request by its headers, or None.

        :param content_type: the value of ``Content-Type``, or nothing.
        :param coding: the value of ``Content-Encoding``, or nothing.
        """
        compressed = is_gzip(coding)
        if isinstance(compressed, Answer):
            return compressed
        if self.content_types is not None and media_type_of(content_type) not in self.content_types:
            return answers.UNSUPPORTED_TYPE
        return None

    def refuse_id(self, message_id: str) -> Answer | None:
        """Return the answer that refuses an id that was sent more than once, or None.

        Servers join the values of a header that is sent several times by commas. Of two ids nobody
        can say which the sender means.

        :param message_id: the value of the ``id_header``.
        """
        if "," not in message_id:
            return None
        logger.warning(
            "refused a request on %s: the header %s was sent more than once, or holds a comma",
            self.path,
            self.id_header,
        )
        return answers.BAD_REQUEST

    def admit(self, request: WebhookRequest) -> Answer | Admitted:
        """Verify a POST, decode its body, and answer it where it is a handshake.

        :returns: what to handle, or the answer that ends the request.
        :raises Exception: what a challenge raised.
        """
        if self._why_not is not None:
            why_not = self._why_not(request)  # over what was sent
            if why_not is not None:
                logger.warning("refused a request on %s: %s", self.path, why_not)
                return answers.UNSIGNED
        admitted = self._decode_body(request)
        if isinstance(admitted, Answer) or not self._challenges:
            return admitted
        request.body = admitted.body
        return self.handshake(request) or admitted

    def _decode_body(self, request: WebhookRequest) -> Answer | Admitted:
        sent = request.body
        if is_gzip(request.headers.get("Content-Encoding", "")) is True:
            plain = gunzip(sent, self.limit)
            if isinstance(plain, Answer):
                return plain
            request.body = plain
        if self._decode is None:
            return Admitted(request.body, None, request.body is not sent)
        decoded = self._decode(request)
        if decoded is None:
            return answers.BAD_REQUEST
        body, content_type = decoded
        return Admitted(body, content_type or None, body is not sent)

    def handshake(self, request: WebhookRequest) -> Answer | None:
        """Return the answer to a handshake, or None for any other request.

        :raises Exception: what a challenge raised, or that its answer cannot be sent.
        """
        for challenge in self._challenges:
            given = challenge(request)
            if given is not None:
                return as_answer(given)
        return None

    def identify(self, delivery: Delivery) -> bytes | str | None:
        """Return the id that ``id_from`` reads from a message, or None where it cannot.

        A message without an id is handled all the same; it is another each time it is sent.

        :param delivery: its envelope is that of the message.
        """
        assert self.id_from is not None
        try:
            message = self._message_cls(delivery.raw_data)
            message.put_in(delivery)
            given = self.id_from(message)
        except Exception as error:
            logger.warning(
                "no id for a message on %s: id_from raised %s at %s",
                self.path,
                type(error).__name__,
                place_of(error),
            )
            return None
        if given is None or isinstance(given, str | bytes):
            return given
        if isinstance(given, int) and not isinstance(given, bool):
            return str(given)
        logger.warning(
            "no id for a message on %s: id_from returned a %s", self.path, type(given).__name__
        )
        return None

    def answer(
        self, outcome: Outcome, message: Message | None = None, delay: float | None = None
    ) -> Answer:
        """Return the answer to a message, by its outcome.

        :param outcome: what became of it.
        :param message: the message; needed where there is an ``own_answer``.
        :param delay: after how many seconds it is to be tried again, where that was said.
        """
        usual = self._usual_answer(outcome, delay)
        if self.own_answer is None:
            return usual
        # Whatever goes wrong here, the outcome stands: an error would have the sender send again.
        try:
            given = self.own_answer(outcome, cast("M", message))
        except Exception as error:
            self._log_answer(message, f"raised {type(error).__name__} at {place_of(error)}")
            logger.debug("the error in full", exc_info=error)
            return usual
        if given is None:
            return usual
        try:
            answer = as_answer(given)
        except ValueError as error:
            self._log_answer(message, f"returned what cannot be sent: {error}")
            return usual
        if outcome is Outcome.NACKED and answer.status < 400:
            self._log_answer(message, "returned a status below 400 for a nack")
            return usual
        return answer

    def _log_answer(self, message: Message | None, what: str) -> None:
        logger.error(
            "%s on %s gets the usual answer, since the function given as answer %s",
            "a message" if message is None else format_id(message.message_id),
            self.path,
            what,
        )

    def _usual_answer(self, outcome: Outcome, delay: float | None) -> Answer:
        if outcome is Outcome.NACKED:
            return self._nacked if delay is None else answers.later(delay)
        if outcome is Outcome.DEFERRED:
            return answers.DEFERRED
        return answers.ACKED if outcome is Outcome.ACKED else answers.DEAD_LETTERED
