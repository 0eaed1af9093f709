"""Bodies: streamed, within a limit, whole or not at all."""

from __future__ import annotations

import logging

from missive.webhooks import Answer, answers
from missive.webhooks.serving import ABSURD_DIGITS, TO_END, length_of

from .delivery import RawHeaders
from .protocol import Event, Receive, Scope

logger = logging.getLogger("missive.adapters.asgi.bodies")


def length_to_read(scope: Scope, headers: RawHeaders, limit: int) -> int | Answer:
    """Return how many bytes of body to read, or the answer that refuses the request unread."""
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and b"transfer-encoding" not in headers and len(declared) < ABSURD_DIGITS:
        length = int(declared)  # the usual case (benchmarks/asgi.py)
        return length if length <= limit else answers.TOO_LARGE
    transfer = headers.get(b"transfer-encoding")
    return length_of(
        declared.decode("latin-1"),
        None if transfer is None else transfer.decode("latin-1"),
        f"HTTP/{scope.get('http_version', '1.1')}",
        # The server decodes chunks, and says where a body ends.
        True,
        limit,
    )


async def read_body(
    event: Event, receive: Receive, length: int, limit: int
) -> bytes | Answer | None:
    """Read the body of a request.

    :param event: the first that the server gave.
    :param length: how many bytes were declared, or TO_END.
    :param limit: the longest body to read, in bytes; of a longer one no more is read than was sent
        in one piece.
    :returns: the whole body, the answer that refuses it, or None where the sender went away.
    """
    if event["type"] != "http.request":
        _log_gone()
        return None
    body: bytes = event.get("body", b"")
    if event.get("more_body", False):
        pieces, size = [body], len(body)
        while event.get("more_body", False):
            if size > limit:
                return answers.TOO_LARGE
            event = await receive()
            if event["type"] != "http.request":
                _log_gone()
                return None
            pieces.append(event.get("body", b""))
            size += len(pieces[-1])
        body = b"".join(pieces)
    if len(body) > limit:
        return answers.TOO_LARGE
    return body if length in (TO_END, len(body)) else answers.BAD_REQUEST


def _log_gone() -> None:
    logger.info("the sender went away before its body was read")
