"""Bodies: read whole and within a limit, or not at all."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .responses import (
    BAD_REQUEST,
    LENGTH_REQUIRED,
    TOO_LARGE,
    UNSUPPORTED_TRANSFER,
    Response,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, WSGIEnvironment

logger = logging.getLogger("missive.adapters.wsgi.bodies")

#: No length of so many digits is within any limit; and int() of very many is slow.
ABSURD_DIGITS = 20


def read_body(environ: WSGIEnvironment, limit: int) -> bytes | Response:
    """Read the body of a request.

    :param limit: the longest body to read, in bytes; a longer one is refused before it is read,
        or, where its length is not declared, after one byte too many.
    :returns: the whole body, or the response that refuses it.
    """
    declared: str = environ.get("CONTENT_LENGTH") or ""
    if "HTTP_TRANSFER_ENCODING" in environ:
        return _read_coded(environ, declared, limit)
    if not declared:
        return _read_undeclared(environ, limit)
    if not (declared.isascii() and declared.isdigit()):
        return BAD_REQUEST
    if len(declared) >= ABSURD_DIGITS or (length := int(declared)) > limit:
        return TOO_LARGE
    body = _read(environ["wsgi.input"], length)
    return body if body is not None and len(body) == length else BAD_REQUEST


def _read_coded(environ: WSGIEnvironment, declared: str, limit: int) -> bytes | Response:
    """Read a body that came in chunks, where the server decodes them and tells the end."""
    if environ.get("SERVER_PROTOCOL", "") in ("HTTP/1.0", "HTTP/0.9"):
        # RFC 9112, section 6.1: a transfer coding in HTTP/1.0 is faulty framing. Some servers leave
        # the chunks undecoded and pass an empty body on.
        return BAD_REQUEST
    if environ["HTTP_TRANSFER_ENCODING"].strip().lower() != "chunked":
        return UNSUPPORTED_TRANSFER
    if declared:
        # RFC 9112, section 6.3: a message with both is an attempt at smuggling another one past us.
        return BAD_REQUEST
    if not environ.get("wsgi.input_terminated"):
        return LENGTH_REQUIRED
    return _read_to_end(environ["wsgi.input"], limit)


def _read_undeclared(environ: WSGIEnvironment, limit: int) -> bytes | Response:
    if environ.get("wsgi.input_terminated"):
        return _read_to_end(environ["wsgi.input"], limit)
    # RFC 9112, section 6.3: neither header means no body. From HTTP/2 on a body needs neither.
    return b"" if environ.get("SERVER_PROTOCOL", "").startswith("HTTP/1") else LENGTH_REQUIRED


def _read_to_end(stream: InputStream, limit: int) -> bytes | Response:
    body = _read(stream, limit + 1)
    if body is None:
        return BAD_REQUEST
    return body if len(body) <= limit else TOO_LARGE


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
        logger.info("the sender did not get its body through: %s", type(error).__name__)
        return None
    return b"".join(pieces)
