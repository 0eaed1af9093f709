"""The delivery that a request makes."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from missive import Delivery, format_id
from werkzeug.datastructures import EnvironHeaders
from werkzeug.wrappers import Request

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from missive.messages import HeaderSource


class RequestDelivery(Delivery):
    """A request whose body was read whole; headers and werkzeug's ``Request`` come when asked for.

    :param raw_data: the body.
    :param environ: the WSGI environment.
    :param message_id: what the sender calls the message, if it says.
    :param source: the path.
    """

    __slots__ = ("_request", "environ")

    _request: Request
    message_id: str | None

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

    @property
    def name(self) -> str:
        """What logs call the delivery: its id in the printable form, if the sender gave one."""
        if not self.message_id:
            return "a message without an id"
        return format_id(self.message_id.encode("utf-8", "surrogateescape"))

    def read_headers(self) -> HeaderSource:
        """Give the headers of the request."""
        if self.headers is not None:
            return self.headers
        return [(name, decode(value)) for name, value in EnvironHeaders(self.environ)]

    def make_native(self) -> Request:
        """Give werkzeug's ``Request``, the same whenever it is asked for; its body can be read."""
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


def decode(value: str) -> str:
    """Read text of a WSGI environment as UTF-8, with bytes that are none of it escaped.

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
