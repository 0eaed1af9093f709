"""Requests: what verifiers and challenges see of one."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from ..headers import Headers


class WebhookRequest:
    """A request whose body was read whole.

    :param body: the body as it was sent: compressed, if it was.
    :param headers: the headers; names without regard to case. The values of a header that is sent
        several times are joined by commas.
    :param method: the method, in capitals.
    :param url: the URL as the sender saw it, with its query.
    """

    def __init__(
        self,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
        url: str = "",
    ) -> None:
        self.body = body
        self.method = method
        self._url = url
        self._headers = headers if isinstance(headers, Headers) else Headers(headers or ())

    @property
    def url(self) -> str:
        """The URL as the sender saw it, with its query."""
        return self._url

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; names without regard to case."""
        return self._headers

    def query(self, name: str) -> str | None:
        """Return the value of a parameter of the query, or None unless it is there just once."""
        values = parse_qs(urlsplit(self.url).query, keep_blank_values=True).get(name, ())
        return values[0] if len(values) == 1 else None

    @property
    def media_type(self) -> str:
        """The media type of the body, in small letters and without parameters."""
        return media_type_of(self.headers.get("Content-Type", ""))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method}, {len(self.body)} bytes>"


def media_type_of(content_type: str) -> str:
    """Return the media type of a ``Content-Type``, as media types are compared."""
    return content_type.partition(";")[0].strip().lower()
