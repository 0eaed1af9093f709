"""Bodies: read whole and within a limit, or not at all."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from missive.webhooks import Answer, answers
from missive.webhooks.serving import ABSURD_DIGITS, TO_END, length_of

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, WSGIEnvironment

logger = logging.getLogger("missive.adapters.wsgi.bodies")


def read_body(environ: WSGIEnvironment, limit: int) -> bytes | Answer:
    """Read the body of a request.

    :param limit: the longest body to read, in bytes; a longer one is refused before it is read,
        or, where its length is not declared, after one byte too many.
    :returns: the whole body, or the answer that refuses it.
    """
    declared: str = environ.get("CONTENT_LENGTH") or ""
    if (
        "HTTP_TRANSFER_ENCODING" in environ
        or not (declared.isascii() and declared.isdigit())
        or len(declared) >= ABSURD_DIGITS
        or (length := int(declared)) > limit
    ):
        return _read_unusual(environ, declared, limit)
    # The usual case, without another call (benchmarks/wsgi.py).
    body = _read(environ["wsgi.input"], length)
    return body if body is not None and len(body) == length else answers.BAD_REQUEST


def _read_unusual(environ: WSGIEnvironment, declared: str, limit: int) -> bytes | Answer:
    """Read a body whose length is not declared, or refuse it."""
    length = length_of(
        declared,
        environ.get("HTTP_TRANSFER_ENCODING"),
        environ.get("SERVER_PROTOCOL", ""),
        bool(environ.get("wsgi.input_terminated")),
        limit,
    )
    if isinstance(length, Answer):
        return length
    if length != TO_END:
        return b""  # in HTTP/1 neither header means no body
    body = _read(environ["wsgi.input"], limit + 1)
    if body is None:
        return answers.BAD_REQUEST
    return body if len(body) <= limit else answers.TOO_LARGE


def _read(stream: InputStream, size: int) -> bytes | None:
    """Read so many bytes, or up to the end of the stream; None where reading fails.

    Servers raise errors of many kinds when the sender goes away or sends no proper chunks. None of
    them is a fault of the application, and after any of them the body is not whole.
    """
    if not size:
        return b""
    try:
        body = stream.read(size)
        if len(body) == size or not body:
            return body
        pieces, missing = [body], size - len(body)
        while missing and (piece := stream.read(missing)):
            pieces.append(piece)
            missing -= len(piece)
    except Exception as error:
        logger.info("the sender's body did not arrive whole: %s", type(error).__name__)
        return None
    return b"".join(pieces)
