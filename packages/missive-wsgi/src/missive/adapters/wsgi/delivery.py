"""The delivery that a request makes."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import quote

from missive import Headers
from missive.webhooks import WebhookRequest
from missive.webhooks.serving import WebhookDelivery
from werkzeug.datastructures import EnvironHeaders
from werkzeug.wrappers import Request
from werkzeug.wsgi import get_host

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from missive.polling import HeaderSource


class RequestDelivery(WebhookDelivery):
    """A request whose body was read whole; headers and werkzeug's ``Request`` come when asked for.

    :param raw_data: the body.
    :param environ: the WSGI environment.
    :param message_id: what the sender calls the message, if it says.
    :param source: the path.
    """

    __slots__ = ("_request", "environ")

    _request: Request
    message_id: bytes | str | None

    def __init__(
        self,
        raw_data: bytes,
        environ: WSGIEnvironment,
        message_id: str | None,
        source: str,
    ) -> None:
        # Written out, not super().__init__(): this runs for every request (benchmarks/wsgi.py).
        self.raw_data = raw_data
        self.environ = environ
        self.message_id = message_id
        self.source = source
        self.headers: HeaderSource | None = None
        self.delivery_count = None
        self.native = None

    def become(self, body: bytes, content_type: str | None) -> None:
        """Change the delivery into what it would be had its body been sent decoded.

        :param body: the decoded body.
        :param content_type: what it is; None for what was sent.
        """
        self.raw_data = body
        self.environ = environ = dict(self.environ)
        environ.pop("HTTP_CONTENT_ENCODING", None)
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        environ["CONTENT_LENGTH"] = str(len(body))
        if content_type is not None:
            environ["CONTENT_TYPE"] = content_type

    def read_headers(self) -> HeaderSource:
        """Return the headers of the request."""
        return _headers_of(self.environ)

    def make_native(self) -> Request:
        """Return werkzeug's ``Request``, the same whenever it is asked for; its body can be read."""
        try:
            return self._request
        except AttributeError:
            # The server's own stream was read already.
            environ = dict(self.environ)
            environ.pop("HTTP_TRANSFER_ENCODING", None)
            environ["CONTENT_LENGTH"] = str(len(self.raw_data))
            environ["wsgi.input"] = BytesIO(self.raw_data)
            self._request = Request(environ)
            return self._request


class EnvironRequest(WebhookRequest):
    """What a verifier sees of a request; its headers and URL are made when asked for.

    :param body: the body.
    :param environ: the WSGI environment.
    """

    def __init__(self, body: bytes, environ: WSGIEnvironment) -> None:
        self.body = body
        self.method = environ["REQUEST_METHOD"]
        self._environ = environ
        self._made: Headers | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; names without regard to case."""
        if self._made is None:
            self._made = Headers(_headers_of(self._environ))
        return self._made

    @property
    def url(self) -> str:
        """The URL, by PEP 3333; middleware such as werkzeug's ``ProxyFix`` makes it the sender's."""
        environ = self._environ
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        query = environ.get("QUERY_STRING")
        return (
            f"{environ['wsgi.url_scheme']}://{get_host(environ)}"
            f"{quote(path or '/', safe=_PATH, encoding='latin-1')}"
            f"{'?' + decode(query) if query else ''}"
        )


#: The characters that need no escape in the path of a URL, RFC 3986, section 3.3.
_PATH = "/:@!$&'()*+,;=~"


def _headers_of(environ: WSGIEnvironment) -> list[tuple[str, str]]:
    return [(name, decode(value)) for name, value in EnvironHeaders(environ)]


def decode(value: str) -> str:
    """Read text of a WSGI environment as UTF-8, with invalid bytes escaped.

    PEP 3333 has servers pass bytes on as latin-1. What middleware put there may be any text.
    """
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value


def encode(text: str) -> str:
    """Write text as the environment of a request would have it: what :func:`decode` reads."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")
