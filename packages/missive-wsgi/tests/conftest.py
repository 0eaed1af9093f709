"""What the tests of the WSGI adapter share: a processor, and a client that speaks WSGI."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any, NamedTuple
from wsgiref.headers import Headers
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from missive import DeadLetterStoreError, MemoryDLQ, Processor, RawMessage


class Answer(NamedTuple):
    """A response."""

    status: int
    headers: Headers
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Sends requests to a WSGI application, and has wsgiref.validate judge both sides.

    :param app: the application.
    :param stream: makes the stream of a body.
    """

    def __init__(self, app, stream=BytesIO):
        self.app = app
        self.stream = stream
        self.unread = 0

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        **inside: Any,
    ) -> Answer:
        """Send a request and read the response whole.

        :param headers: headers beside those that a body asks for.
        :param inside: changes to the environment that the validator would not let pass, such as a
            length that is no number; made between it and the application. None takes a value out.
        """
        stream = self.stream(body)
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "QUERY_STRING": "",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": stream,
        }
        for name, value in (headers or {}).items():
            key = name.upper().replace("-", "_")
            prefix = "" if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_"
            environ[prefix + key] = value
        setup_testing_defaults(environ)
        began: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status, response_headers, exc_info=None):
            began.append((status, response_headers))
            return lambda data: None

        def changed(environ, start_response):
            environ.update(inside)
            for key in [key for key, value in inside.items() if value is None]:
                del environ[key]
            return self.app(environ, start_response)

        iterable = validator(changed)(environ, start_response)
        try:
            content = b"".join(iterable)
        finally:
            iterable.close()
        self.unread = len(body) - stream.tell() if hasattr(stream, "tell") else 0
        ((status, response_headers),) = began
        answer = Answer(int(status.split()[0]), Headers(response_headers), content)
        if answer.status == 204:  # which has neither body nor length, by RFC 9110
            assert (answer.headers["Content-Length"], content) == (None, b"")
        elif method != "HEAD":
            assert answer.headers["Content-Length"] == str(len(content))
        return answer

    def post(self, body: bytes, path: str = "/", headers=None, **inside: Any) -> Answer:
        """POST a body."""
        return self.request("POST", path, body, headers, **inside)

    def get(self, path: str) -> Answer:
        """GET a path."""
        return self.request("GET", path)


@pytest.fixture
def client_of():
    """The class of clients, since test files cannot import one another."""
    return Client


@pytest.fixture
def processor() -> Processor[RawMessage]:
    """A processor whose messages say themselves what becomes of them."""
    processor: Processor[RawMessage] = Processor()

    @processor.handle_for(lambda message: message.raw_data.startswith(b"ack"))
    def ack(message, ctx):
        ctx.ack()

    @processor.handle_for(lambda message: message.raw_data.startswith(b"nack"))
    def nack(message, ctx):
        ctx.nack()

    @processor.handle_for(lambda message: message.raw_data.startswith(b"raise"))
    def fail(message, ctx):
        raise RuntimeError(f"the content is {message.raw_data!r}")

    @processor.handle_for(lambda message: message.raw_data.startswith(b"forget"))
    def forget(message, ctx):
        pass

    return processor


class FullStore(MemoryDLQ):
    """A store that cannot be written while its disk is full."""

    full = True

    def check(self):
        if self.full:
            raise DeadLetterStoreError("no space left")

    def put_many(self, letters):
        self.check()
        super().put_many(letters)


@pytest.fixture
def full_store():
    """A store whose disk is full, until ``full`` is set to False."""
    return FullStore()
