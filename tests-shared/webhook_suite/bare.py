"""The least adapter there can be, without a server: for the tests of what all adapters share."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from missive import Headers, Outcome, ProcessingContext
from missive.webhooks import Answer, WebhookRequest, answers
from missive.webhooks.serving import (
    TO_END,
    Inbox,
    Reception,
    WebhookAdapter,
    WebhookDelivery,
    length_of,
)

from .fixtures import Answer as Response
from .fixtures import checked
from .requests import Sent, as_text, sent


class BareDelivery(WebhookDelivery):
    """A request as a delivery."""

    def become(self, body: bytes, content_type: str | None) -> None:
        headers = dict(Headers(self.headers or ()))
        self.raw_data = body
        for gone in ("Content-Encoding", "Transfer-Encoding"):
            headers.pop(gone, None)
        headers["Content-Length"] = str(len(body))
        if content_type is not None:
            headers["Content-Type"] = content_type
        self.headers = headers


class BareAdapter(WebhookAdapter[Any]):
    """Answers requests in the thread that asks."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.reception: Reception[Any] = Reception(self)
        self._ctx: ProcessingContext[Any] | None = None
        self.inbox: Inbox[Any] | None = None
        self.unread = 0
        self.refusing = False

    def stop(self) -> None:
        self.refusing = True

    def set_ready(self) -> None:
        self.ready.set()

    def open(self) -> None:
        if self.inbox_options is not None:
            self.inbox = Inbox(
                self.message_cls, self.processor, self.inbox_options, self.drain_timeout
            )
            self.inbox.open()
            return
        self._ctx = ProcessingContext(self.message_cls, self, self.processor)
        try:
            self._ctx.start()
        except BaseException as error:
            ctx, self._ctx = self._ctx, None
            ctx.finish(error)
            raise
        self.set_ready()

    def close(self) -> None:
        ctx, self._ctx = self._ctx, None
        inbox, self.inbox = self.inbox, None
        if ctx is not None:
            ctx.finish()
        if inbox is not None:
            inbox.close()

    def answer(self, request: Sent) -> Answer:
        """Return the answer to a request."""
        self.unread = len(request.body)
        path = as_text(request.path) or "/"
        if path == self.path:
            if self.refusing:
                return answers.DRAINING
            if request.method == "POST":
                return self._receive(request)
            return self.reception.answer_handshake(_request_of(request, b""))
        answer = self.reception.answer_get(path, request.method)
        if answer is not None:
            return answer
        try:
            if self.inbox_options is not None and self.inbox is None:
                self.open()
            self.reception.check_store()
        except Exception as error:
            return self.reception.answer_not_ready(error)
        return answers.ALIVE

    def _receive(self, request: Sent) -> Answer:
        reception, headers = self.reception, Headers(_pairs(request))
        refusal = reception.intake.refuse_type(
            headers.get("content-type", ""), headers.get("content-encoding", "")
        )
        if refusal is not None:
            return refusal
        body = self._read(request, headers)
        if isinstance(body, Answer):
            return body
        source = as_text(request.mount) + self.path
        delivery = BareDelivery(body, None, dict(headers), source)
        try:
            header = self.id_header
            refusal = reception.admit(
                delivery, _request_of(request, body), header and headers.get(header)
            )
            return self._take(delivery) if refusal is None else refusal
        except Exception as error:
            return reception.fail(delivery, error)

    def _read(self, request: Sent, headers: Headers) -> bytes | Answer:
        length = length_of(
            headers.get("content-length", ""),
            headers.get("transfer-encoding"),
            request.protocol,
            True,
            self.max_content_length,
        )
        if isinstance(length, Answer):
            return length
        self.unread = 0
        body = request.body if length == TO_END else request.body[:length]
        if len(body) > self.max_content_length:
            return answers.TOO_LARGE
        return body if length in (TO_END, len(body)) else answers.BAD_REQUEST

    def _take(self, delivery: BareDelivery) -> Answer:
        if self._ctx is None and self.inbox is None:
            self.open()
        if self.inbox is not None:
            message = self.inbox.message_of(delivery)
            try:
                receipt = self.inbox.put(message).result()
            except Exception as error:
                return self.reception.answer_not_stored(error)
            return self.reception.answer_stored(self.inbox, message, receipt)
        assert self._ctx is not None
        context = self._ctx.deliver(delivery)
        if context.outcome is Outcome.ACKED and not self.reception.has_answer:
            return answers.ACKED
        return self.reception.answer_outcome(context)


def _pairs(request: Sent) -> list[tuple[str, str]]:
    return [(name.title(), as_text(value)) for name, value in request.headers]


def _request_of(request: Sent, body: bytes) -> WebhookRequest:
    path = quote(as_text(request.mount + request.path), errors="surrogateescape")
    query = f"?{as_text(request.query)}" if request.query else ""
    host = dict(request.headers)["host"]
    url = f"{request.scheme}://{host}{path}{query}"
    return WebhookRequest(body, Headers(_pairs(request)), request.method, url)


class BareClient:
    """Sends requests to a bare adapter.

    :param app: the adapter.
    """

    def __init__(self, app: BareAdapter) -> None:
        self.app = app
        self.unread = 0

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        **inside: Any,
    ) -> Response:
        """Send a request and read the response whole."""
        answer = self.app.answer(sent(method, path, body, headers, inside))
        self.unread = self.app.unread
        content = b"" if method == "HEAD" else answer.body
        return checked(Response(answer.status, Headers(answer.headers), content), method)

    def post(
        self, body: bytes, path: str = "/", headers: dict[str, str] | None = None, **inside: Any
    ) -> Response:
        """POST a body."""
        return self.request("POST", path, body, headers, **inside)

    def get(self, path: str) -> Response:
        """GET a path."""
        return self.request("GET", path)
