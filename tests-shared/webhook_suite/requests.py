"""Requests as the tests write them: as changes to the environment of a WSGI application."""

from __future__ import annotations

from typing import Any, NamedTuple

#: Says that the server knows where a body ends; all servers but those of WSGI do.
TERMINATED = "wsgi.input_terminated"


class Sent(NamedTuple):
    """A request as it is sent.

    :ivar path: what was sent as the path, each character a byte.
    :ivar mount: where the application is mounted, likewise.
    :ivar headers: names and values, each character a byte; with the length of the body, if that
        is declared.
    """

    method: str
    path: str
    mount: str
    query: str
    scheme: str
    protocol: str
    headers: list[tuple[str, str]]
    body: bytes


def sent(
    method: str, path: str, body: bytes, headers: dict[str, str] | None, inside: dict[str, Any]
) -> Sent:
    """Make a request from what a test asks of its client."""
    told: dict[str, str | None] = {"host": "127.0.0.1", "content-length": str(len(body))}
    told.update({name.lower(): value for name, value in (headers or {}).items()})
    if "CONTENT_LENGTH" in inside:
        told["content-length"] = inside["CONTENT_LENGTH"]
    for key, value in inside.items():
        if key.startswith("HTTP_"):
            told[key.removeprefix("HTTP_").lower().replace("_", "-")] = value
    return Sent(
        method=inside.get("REQUEST_METHOD", method),
        path=path,
        mount=inside.get("SCRIPT_NAME", ""),
        query=inside.get("QUERY_STRING", ""),
        scheme=inside.get("wsgi.url_scheme", "http"),
        protocol=inside.get("SERVER_PROTOCOL", "HTTP/1.1"),
        headers=[(name, value) for name, value in told.items() if value is not None],
        body=body,
    )


def as_text(sent: str) -> str:
    """Return the text that was sent as UTF-8."""
    return sent.encode("latin-1").decode("utf-8", "surrogateescape")
