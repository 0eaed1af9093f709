"""Answers: all that an adapter ever answers by itself, and those that users make."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from math import ceil
from typing import Any, cast

from ..handling import Outcome

#: How long a sender is asked to wait while this process drains or its store is away, in seconds:
#: about as long as a load balancer takes to look elsewhere.
DRAIN_RETRY_AFTER = 5

#: The characters of a header's name, RFC 9110, section 5.1.
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
#: The characters of a header's value that every server can send.
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
#: Headers that the server and the length of the body decide.
_NOT_OURS = {"content-length", "transfer-encoding", "connection"}


class Answer:
    """A response, made once and sent as often as need be.

    :param status: the status code.
    :param headers: the headers beside the length, which a 204 does not have.
    :param body: the body.

    :ivar line: status code and phrase, as in a status line.
    :ivar raw_headers: the headers as bytes, with names in small letters, as ASGI has them.
    """

    __slots__ = ("body", "headers", "line", "parts", "raw_headers", "status")

    def __init__(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.line = f"{status} {_phrase(status)}"
        self.headers = list(headers)
        if status not in (204, 304):
            self.headers.insert(1, ("Content-Length", str(len(body))))
        self.raw_headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in self.headers
        ]
        self.body = body
        self.parts = (body,)

    @classmethod
    def json(cls, status: int, content: Any, *headers: tuple[str, str]) -> Answer:
        """Make an answer of JSON."""
        return cls(
            status, [("Content-Type", "application/json"), *headers], json.dumps(content).encode()
        )

    @classmethod
    def text(cls, status: int, text: str, *headers: tuple[str, str]) -> Answer:
        """Make an answer of plain text, which no browser takes for anything else."""
        kind = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        return cls(status, [*kind, *headers], text.encode("utf-8", "surrogateescape"))

    def __repr__(self) -> str:
        return f"<Answer {self.line}, {len(self.body)} bytes>"


#: What functions of users answer by: an Answer, or status, headers and body.
AnswerLike = Answer | tuple[int, Mapping[str, str] | Iterable[tuple[str, str]] | None, bytes | str]


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def as_answer(given: object) -> Answer:
    """Make an answer of what a user's function returned.

    :param given: an Answer, or status, headers and body.
    :raises ValueError: it is neither; the text says why, and shows no content.
    """
    if isinstance(given, Answer):
        return given
    if not _is_tuple(given, 3):
        raise ValueError(f"a {type(given).__name__} is not (status, headers, body)")
    status, headers, body = cast("tuple[Any, Any, Any]", given)
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        raise ValueError("the status is not a number from 200 to 599")
    if isinstance(body, str):
        body = body.encode()
    if not isinstance(body, bytes):
        raise ValueError(f"the body is neither bytes nor text, but a {type(body).__name__}")
    bodiless = status in (204, 304)
    if bodiless and body:
        raise ValueError(f"a {status} has no body")
    pairs = [pair for pair in _pairs(headers) if pair[0].lower() not in _NOT_OURS]
    names = {name.lower() for name, _ in pairs}
    if bodiless:
        pairs = [pair for pair in pairs if pair[0].lower() != "content-type"]
    elif "content-type" not in names:
        pairs.insert(0, ("Content-Type", "text/plain; charset=utf-8"))
    return Answer(int(status), pairs, body)


def _pairs(headers: Any) -> list[tuple[str, str]]:
    """Check headers that a user's function returned.

    :raises ValueError: they cannot be sent.
    """
    given: Iterable[Any] = (
        cast("Mapping[Any, Any]", headers).items()
        if isinstance(headers, Mapping)
        else headers or ()
    )
    pairs: list[tuple[str, str]] = []
    for pair in given:
        if not (_is_tuple(pair, 2) and all(isinstance(part, str) for part in pair)):
            raise ValueError("a header is not a pair of texts")
        name, value = cast("tuple[str, str]", pair)
        if not TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError("a header has characters that cannot be sent")
        pairs.append((name, value.strip()))
    return pairs


def _is_tuple(given: object, length: int) -> bool:
    return isinstance(given, tuple) and len(cast("tuple[Any, ...]", given)) == length


def nacked(status: int, retry_after: int | None) -> Answer:
    """Make the answer to a nack.

    :param retry_after: after how many seconds the sender may try again; None does not say.
    """
    patience = () if retry_after is None else (("Retry-After", str(retry_after)),)
    return Answer.json(status, {"result": "nack"}, *patience)


def later(delay: float) -> Answer:
    """Make the answer to a message that its sender is to send again after a delay.

    :param delay: in seconds; what a sender is told is rounded up to whole ones.
    """
    return Answer.json(503, {"result": "nack"}, ("Retry-After", str(ceil(delay))))


def unavailable(retry_after: int | None) -> Answer:
    """Make the answer to a message that cannot be stored now.

    :param retry_after: after how many seconds its sender may try again.
    """
    seconds = DRAIN_RETRY_AFTER if retry_after is None else retry_after
    return Answer.json(503, {"error": "unavailable"}, ("Retry-After", str(seconds)))


def taken(
    status: int = 204,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    body: bytes | str = b"",
) -> Callable[[Outcome, object], Answer | None]:
    """Make an ``answer`` option: one fixed answer to each message that was taken.

    A message that was acked or dead-lettered is answered so; anything else as usual.

    :param status: the status, from 200 to 599.
    :param headers: the headers.
    :param body: the body; text is sent as UTF-8.
    :raises ValueError: it cannot be sent.
    """
    fixed = as_answer((status, headers, body))

    def answer(outcome: Outcome, message: object) -> Answer | None:
        return None if outcome is Outcome.NACKED else fixed

    return answer


# What became of a message.
ACKED = Answer.json(200, {"result": "ack"})
DEAD_LETTERED = Answer.json(200, {"result": "dlq"})
#: RFC 9110, section 15.3.3: accepted, and not processed yet.
DEFERRED = Answer.json(202, {"result": "deferred"})
ERROR = Answer.json(500, {"result": "error"})

# What no handler sees.
BAD_REQUEST = Answer.json(400, {"error": "bad request"})
#: RFC 9110, section 15.5.2: a 401 names a scheme. No registered one means a signed body.
UNSIGNED = Answer.json(401, {"error": "unauthorized"}, ("WWW-Authenticate", "Signature"))
FORBIDDEN = Answer.json(403, {"error": "forbidden"})
NOT_FOUND = Answer.json(404, {"error": "not found"})
POST_ONLY = Answer.json(405, {"error": "method not allowed"}, ("Allow", "POST"))
GET_ONLY = Answer.json(405, {"error": "method not allowed"}, ("Allow", "GET, HEAD"))
LENGTH_REQUIRED = Answer.json(411, {"error": "length required"})
TOO_LARGE = Answer.json(413, {"error": "content too large"})
UNSUPPORTED_TYPE = Answer.json(415, {"error": "unsupported media type"})
#: RFC 9110, section 12.5.3: a 415 for a content coding says which ones would do.
UNSUPPORTED_CODING = Answer.json(
    415, {"error": "unsupported content encoding"}, ("Accept-Encoding", "gzip, identity")
)
#: RFC 9112, section 6.1: the answer to a transfer coding that is not understood.
UNSUPPORTED_TRANSFER = Answer.json(501, {"error": "unsupported transfer encoding"})
DRAINING = Answer.json(503, {"error": "shutting down"}, ("Retry-After", str(DRAIN_RETRY_AFTER)))

# Probes.
FRESH = ("Cache-Control", "no-store")
ALIVE = Answer.json(200, {"status": "ok"}, FRESH)
NOT_READY = Answer.json(503, {"status": "not ready"}, FRESH)
