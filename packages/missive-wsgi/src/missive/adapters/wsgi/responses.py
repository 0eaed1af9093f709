"""Responses: all that the adapter ever answers, made once and sent many times."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from werkzeug.http import HTTP_STATUS_CODES

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

#: How long a sender is asked to wait while this process drains, in seconds: about as long as a
#: load balancer takes to look elsewhere.
DRAIN_RETRY_AFTER = 5


class Response:
    """A JSON response that says nothing of the request it answers, so that anyone may have it.

    :param status: the status code.
    :param content: what the body says, as JSON.
    :param headers: headers beside type and length.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, content: Any, *headers: tuple[str, str]) -> None:
        body = json.dumps(content).encode()
        self.status = f"{status} {HTTP_STATUS_CODES.get(status, 'Unknown')}"
        self.headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            *headers,
        ]
        self.body = (body,)

    def send(self, start_response: StartResponse) -> Iterable[bytes]:
        """Begin the response; give what a WSGI application gives back."""
        # A copy, since PEP 3333 lets a server change the list that it is given.
        start_response(self.status, self.headers.copy())
        return self.body

    def send_head(self, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a HEAD request: the same headers, and no body."""
        start_response(self.status, self.headers.copy())
        return ()


def nacked(status: int, retry_after: int | None) -> Response:
    """Make the response for a nack.

    :param retry_after: after how many seconds the sender may try again; None does not say.
    """
    patience = () if retry_after is None else (("Retry-After", str(retry_after)),)
    return Response(status, {"result": "nack"}, *patience)


# What became of a message.
ACKED = Response(200, {"result": "ack"})
DEAD_LETTERED = Response(200, {"result": "dlq"})
ERROR = Response(500, {"result": "error"})

# What no handler sees.
BAD_REQUEST = Response(400, {"error": "bad request"})
#: RFC 9110, section 15.5.2: a 401 names a scheme. No registered one means a signed body.
UNSIGNED = Response(401, {"error": "unauthorized"}, ("WWW-Authenticate", "Signature"))
NOT_FOUND = Response(404, {"error": "not found"})
POST_ONLY = Response(405, {"error": "method not allowed"}, ("Allow", "POST"))
GET_ONLY = Response(405, {"error": "method not allowed"}, ("Allow", "GET, HEAD"))
LENGTH_REQUIRED = Response(411, {"error": "length required"})
TOO_LARGE = Response(413, {"error": "content too large"})
UNSUPPORTED_TYPE = Response(415, {"error": "unsupported media type"})
#: RFC 9110, section 12.5.3: a 415 for a content coding says which ones would do.
UNSUPPORTED_CODING = Response(
    415, {"error": "unsupported content encoding"}, ("Accept-Encoding", "identity")
)
#: RFC 9112, section 6.1: the answer to a transfer coding that is not understood.
UNSUPPORTED_TRANSFER = Response(501, {"error": "unsupported transfer encoding"})
DRAINING = Response(503, {"error": "shutting down"}, ("Retry-After", str(DRAIN_RETRY_AFTER)))

# Probes.
FRESH = ("Cache-Control", "no-store")
ALIVE = Response(200, {"status": "ok"}, FRESH)
NOT_READY = Response(503, {"status": "not ready"}, FRESH)
