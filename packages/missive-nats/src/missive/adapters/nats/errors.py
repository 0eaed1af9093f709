"""What NATS answers when it will not serve, and which of that a new attempt may mend."""

from __future__ import annotations

import asyncio
import ssl
from typing import NoReturn

from missive.errors import TransportRefused

from nats import errors

#: Error codes of JetStream's API.
CONSUMER_NOT_FOUND, STREAM_NOT_FOUND = 10014, 10059
NOT_ENABLED_FOR_ACCOUNT, NOT_ENABLED = 10039, 10076
#: Those that say what is missing, which may be made later.
_MISSING = (CONSUMER_NOT_FOUND, STREAM_NOT_FOUND, NOT_ENABLED_FOR_ACCOUNT, NOT_ENABLED)
_REMEDIES = {
    CONSUMER_NOT_FOUND: "create the consumer, or pass create=True",
    STREAM_NOT_FOUND: "create the stream, or check its name",
    NOT_ENABLED_FOR_ACCOUNT: "enable JetStream for the account, or connect as another",
    NOT_ENABLED: "start the server with JetStream enabled (nats-server -js)",
}
#: What the server says, in lower case, where no new attempt mends it, with the remedy.
_LASTING = {
    "authorization": "check user and password, token or credentials file",
    "permissions violation": "grant the user what docs/transports/nats lists",
    "secure connection not available": "the server offers no TLS; set that up, or use nats://",
    "secure connection required": "use tls://",
}


class NATSUnavailable(Exception):
    """The connection is lost, or NATS cannot serve now; later it can.

    :ivar safe_text: what NATS or the client said; it holds no content.
    """

    safe_text = ""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.safe_text = text


class NATSRefused(TransportRefused):
    """NATS refused in a way that trying again does not mend; see ``__cause__``.

    :ivar code: the error code of JetStream's API, such as 10059; 0 where it is something else.
    """

    def __init__(self, adapter: object, said: str, remedy: str, code: int = 0) -> None:
        self.code = code
        # The base class knows the error's type alone; the server says more, and no payload.
        super(TransportRefused, self).__init__(
            f"{type(adapter).__name__} was refused by NATS: {said}; {remedy}"
        )


class ServerSaid(errors.Error):
    """The server sent an error, or a status that is one.

    :ivar text: what it said.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return self.text


class APIRefused(ServerSaid):
    """JetStream's API answered with an error.

    :ivar status: like HTTP's, such as 404.
    :ivar code: its own number for the error, such as 10059.
    """

    def __init__(self, status: int, code: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code


#: Every error that a connection may raise.
NATS_ERRORS = (errors.Error, asyncio.TimeoutError, TimeoutError, OSError, ValueError)


def raise_lasting(error: BaseException, adapter: object, *, waits: bool) -> NoReturn:
    """Raise an error of nats-py as what it means.

    :param waits: a stream or consumer that is missing may be made later.
    :raises NATSRefused: no new attempt mends it.
    :raises NATSUnavailable: a new attempt may.
    """
    said = text_of(error)
    if isinstance(error, APIRefused):
        missing = error.code in _MISSING
        lasts = not waits if missing else error.status < 500
        if lasts:
            remedy = _REMEDIES.get(error.code, "check the names and settings it was given")
            raise NATSRefused(adapter, said, remedy, error.code) from error
    elif isinstance(error, ssl.SSLCertVerificationError):
        remedy = "check the host name, and the certificate authority (cafile)"
        raise NATSRefused(adapter, "its certificate is not valid here", remedy) from error
    elif isinstance(error, ssl.SSLError) and "CERTIFICATE" in (error.reason or ""):
        remedy = "check the client certificate (certfile, keyfile)"
        raise NATSRefused(adapter, "the client certificate is not accepted", remedy) from error
    else:
        for text, remedy in _LASTING.items():
            if text in said.lower():
                raise NATSRefused(adapter, said, remedy) from error
    raise NATSUnavailable(said) from error


def text_of(error: BaseException) -> str:
    """Return what the server said, or else the kind of error; neither holds content."""
    if isinstance(error, errors.Error):
        return str(error).removeprefix("nats: ").strip().strip("'") or type(error).__name__
    if isinstance(error, NATSUnavailable):
        return error.safe_text
    return type(error).__name__
