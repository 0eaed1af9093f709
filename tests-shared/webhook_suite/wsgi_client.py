"""A client that speaks WSGI, and has wsgiref.validate judge both sides."""

from __future__ import annotations

from io import BytesIO
from typing import Any
from wsgiref.headers import Headers
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from .fixtures import Answer, checked


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
        return checked(answer, method)

    def post(self, body: bytes, path: str = "/", headers=None, **inside: Any) -> Answer:
        """POST a body."""
        return self.request("POST", path, body, headers, **inside)

    def get(self, path: str) -> Answer:
        """GET a path."""
        return self.request("GET", path)
