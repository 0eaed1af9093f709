"""Content codings: compressed bodies, decoded within a limit."""

from __future__ import annotations

import zlib
from gzip import GzipFile
from io import BytesIO

from .answers import BAD_REQUEST, TOO_LARGE, UNSUPPORTED_CODING, Answer


def is_gzip(coding: str) -> bool | Answer:
    """Return whether a body is compressed, by its ``Content-Encoding``.

    :returns: a bool, or the answer that refuses any other coding.
    """
    name = coding.strip().lower()
    if name in ("", "identity"):
        return False
    # RFC 9110, section 8.4.1.3: x-gzip is another name of gzip.
    return True if name in ("gzip", "x-gzip") else UNSUPPORTED_CODING


def gunzip(body: bytes, limit: int) -> bytes | Answer:
    """Decompress a body, and no more of it than the limit.

    :param body: gzip, in one member or several, and nothing else.
    :param limit: the longest decompressed body that is taken, in bytes.
    :returns: the decompressed body, or the answer that refuses it.
    """
    if not body:  # which GzipFile takes for no members at all
        return BAD_REQUEST
    try:
        # A byte past the limit at most, so that a bomb is not decompressed.
        plain = GzipFile(fileobj=BytesIO(body)).read(limit + 1)
    except (OSError, EOFError, zlib.error):  # not gzip, cut short, damaged
        return BAD_REQUEST
    return plain if len(plain) <= limit else TOO_LARGE
