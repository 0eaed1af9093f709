"""Framing: how long a body is, judged by what the request declares."""

from __future__ import annotations

from .answers import BAD_REQUEST, LENGTH_REQUIRED, TOO_LARGE, UNSUPPORTED_TRANSFER, Answer

#: No length of so many digits is within any limit; and int() of very many is slow.
ABSURD_DIGITS = 20
#: The body is to be read to its end, and one byte past the limit at most.
TO_END = -1


def length_of(
    declared: str, transfer: str | None, protocol: str, terminated: bool, limit: int
) -> int | Answer:
    """Return how many bytes of body to read.

    :param declared: the value of ``Content-Length``, or nothing.
    :param transfer: the value of ``Transfer-Encoding``, or None without one.
    :param protocol: the protocol, such as ``HTTP/1.1``.
    :param terminated: whether the server decodes the transfer coding and knows the end of the body.
    :param limit: the longest body that is taken, in bytes.
    :returns: a number of bytes, :data:`TO_END`, or the answer that refuses the request.
    """
    if transfer is not None:
        return _judge_coding(declared, transfer, protocol, terminated)
    if not declared:
        if terminated:
            return TO_END
        # RFC 9112, section 6.3: neither header means no body. From HTTP/2 on a body needs neither.
        return 0 if protocol.startswith("HTTP/1") else LENGTH_REQUIRED
    if not (declared.isascii() and declared.isdigit()):
        return BAD_REQUEST
    if len(declared) >= ABSURD_DIGITS or (length := int(declared)) > limit:
        return TOO_LARGE
    return length


def _judge_coding(declared: str, transfer: str, protocol: str, terminated: bool) -> int | Answer:
    if protocol in ("HTTP/1.0", "HTTP/0.9"):
        # RFC 9112, section 6.1: a transfer coding in HTTP/1.0 is faulty framing. Some servers leave
        # the chunks undecoded and pass an empty body on.
        return BAD_REQUEST
    if transfer.strip().lower() != "chunked":
        return UNSUPPORTED_TRANSFER
    if declared:
        # RFC 9112, section 6.3: a message with both is an attempt at smuggling another one past us.
        return BAD_REQUEST
    return TO_END if terminated else LENGTH_REQUIRED
