"""The delivery that a request makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

from missive import Headers
from missive.webhooks import WebhookRequest
from missive.webhooks.serving import WebhookDelivery

from .protocol import Scope

if TYPE_CHECKING:
    from missive.polling import HeaderSource

#: The headers of a request by their names in small letters; the values of one that was sent
#: several times are joined by commas, as other servers do.
RawHeaders = dict[bytes, bytes]


def headers_of(scope: Scope) -> RawHeaders:
    """Return the headers of a request."""
    pairs: list[tuple[bytes, bytes]] = scope["headers"]
    headers = dict(pairs)
    if len(headers) != len(pairs):
        headers = {}
        for name, value in pairs:
            headers[name] = headers[name] + b"," + value if name in headers else value
    return headers


class ScopeDelivery(WebhookDelivery):
    """A request whose body was read whole; its native object is the scope.

    :param raw_data: the body.
    :param scope: the scope of the request.
    :param headers: its headers.
    :param source: the path.
    """

    message_id: bytes | str | None

    def __init__(self, raw_data: bytes, scope: Scope, headers: RawHeaders, source: str) -> None:
        # Written out, not super().__init__(): this runs for every request (benchmarks/asgi.py).
        self.raw_data = raw_data
        self.message_id = None
        self.headers: HeaderSource | None = None
        self.source = source
        self.delivery_count = None
        self.native = scope
        self.rejection = self.settler = None
        self._raw_headers = headers

    def become(self, body: bytes, content_type: str | None) -> None:
        """Change the delivery into what it would be had its body been sent decoded.

        :param body: the decoded body.
        :param content_type: what it is; None for what was sent.
        """
        self.raw_data = body
        self._raw_headers = headers = dict(self._raw_headers)
        headers.pop(b"content-encoding", None)
        headers.pop(b"transfer-encoding", None)
        headers[b"content-length"] = b"%d" % len(body)
        if content_type is not None:
            headers[b"content-type"] = content_type.encode("utf-8", "surrogateescape")

    def read_headers(self) -> HeaderSource:
        """Return the headers of the request."""
        return _as_text(self._raw_headers)


class ScopeRequest(WebhookRequest):
    """What a verifier sees of a request; its headers and URL are made when asked for.

    :param body: the body.
    :param scope: the scope of the request.
    """

    def __init__(self, body: bytes, scope: Scope) -> None:
        self.body = body
        self.method = scope["method"]
        self._scope = scope
        self._made: Headers | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; names without regard to case."""
        if self._made is None:
            self._made = Headers(_as_text(headers_of(self._scope)))
        return self._made

    @property
    def url(self) -> str:
        """The URL; the server's options for proxies make it the sender's."""
        scope = self._scope
        scheme, host = scope.get("scheme", "http"), self.headers.get("host", "")
        if not host and scope.get("server"):
            name, port = scope["server"]
            host = name if port is None else f"{name}:{port}"
        host = host.removesuffix(":443" if scheme == "https" else ":80")
        query = scope.get("query_string", b"").decode("utf-8", "surrogateescape")
        path = quote(full_path(scope) or "/", safe=_PATH, errors="surrogateescape")
        return f"{scheme}://{host}{path}{'?' + query if query else ''}"


#: The characters that need no escape in the path of a URL, RFC 3986, section 3.3.
_PATH = "/:@!$&'()*+,;=~"


def full_path(scope: Scope) -> str:
    """Return the path of a request, with what the application is mounted on."""
    path, mount = scope["path"], scope.get("root_path", "")
    return path if _is_below(path, mount) else f"{mount}{path}"


def path_below(scope: Scope) -> str:
    """Return the path of a request below where the application is mounted."""
    path, mount = scope["path"], scope.get("root_path", "")
    # Since version 2.2 of the protocol's HTTP part the path holds the mount; some servers differ.
    return (path[len(mount) :] if _is_below(path, mount) else path) or "/"


def _is_below(path: str, mount: str) -> bool:
    return path.startswith(mount) and path[len(mount) :][:1] in ("", "/")


def _as_text(headers: RawHeaders) -> list[tuple[str, str]]:
    return [
        (name.decode("latin-1").title(), value.decode("utf-8", "surrogateescape"))
        for name, value in headers.items()
    ]
