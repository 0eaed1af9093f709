"""What RabbitMQ answers when it will not serve, and which of that a new attempt may mend."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from typing import NoReturn

from missive.errors import TransportRefused
from pika import exceptions

#: Every error that pika raises for a connection, a channel or a lost stream.
PIKA_ERRORS = (exceptions.AMQPError, exceptions.ChannelError, OSError)

ACCESS_REFUSED, NOT_FOUND, RESOURCE_LOCKED, PRECONDITION_FAILED, NOT_ALLOWED = (
    403,
    404,
    405,
    406,
    530,
)

_REMEDIES = {
    ACCESS_REFUSED: "check user and password, and the user's permissions: to read the queue, and to"
    " configure it where declare=True creates it",
    NOT_FOUND: "create the queue, or pass declare=True",
    RESOURCE_LOCKED: "the queue is exclusive to another connection; read another",
    PRECONDITION_FAILED: "the queue exists with other properties; read it as it is",
    NOT_ALLOWED: "check the virtual host in the URL ('/' is %2F), and the user's access to it",
}
#: The broker's texts of a moment in which it cannot serve a queue or a user, whatever the code.
_TRANSIENT = re.compile(r"is down|inaccessible|stopped by supervisor|limit|timeout|timed out", re.I)
_CODE = re.compile(r"\((\d{3})\)")


class RabbitMQUnavailable(exceptions.AMQPConnectionError):  # type: ignore[misc]
    """The connection is lost, or RabbitMQ cannot serve now; later it can.

    :ivar safe_text: what RabbitMQ or the client said; it holds no content.
    """

    safe_text = ""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.safe_text = text


class RabbitMQRefused(TransportRefused):
    """RabbitMQ refused in a way that trying again does not mend; see ``__cause__``.

    :ivar code: the reply code of AMQP, such as 404; 0 where it is TLS or the protocol.
    """

    def __init__(self, adapter: object, code: int, said: str, remedy: str | None = None) -> None:
        self.code = code
        known = remedy or _REMEDIES.get(code, "check the URL and the names of the queues")
        # The base class knows the error's type alone; the broker says more, and no payload.
        super(TransportRefused, self).__init__(
            f"{type(adapter).__name__} was refused by RabbitMQ: {said}; {known}"
        )


def raise_lasting(error: Exception, adapter: object, *, waits_for_queues: bool) -> NoReturn:
    """Raise an error of pika as what it means.

    :param waits_for_queues: a queue that is missing or locked may appear again.
    :raises RabbitMQRefused: no new attempt mends it.
    :raises RabbitMQUnavailable: a new attempt may.
    """
    code, said = code_of(error), text_of(error)
    tls = _tls_problem(error)
    if tls is not None:
        remedy = "check the host name, and the certificate authority (cafile in the URL)"
        raise RabbitMQRefused(adapter, 0, tls, remedy) from error
    if isinstance(error, exceptions.ProtocolVersionMismatch):
        remedy = "check host and port: what listens there does not speak AMQP 0-9-1"
        raise RabbitMQRefused(adapter, 0, "another protocol", remedy) from error
    if code in _REMEDIES and not _TRANSIENT.search(said):
        of_queue = code in (NOT_FOUND, RESOURCE_LOCKED)
        of_ack = code == PRECONDITION_FAILED and "delivery tag" in said
        if not of_ack and not (of_queue and waits_for_queues):
            raise RabbitMQRefused(adapter, code, said) from error
    raise RabbitMQUnavailable(said) from error


def code_of(error: BaseException) -> int:
    """Return the reply code that the broker closed a connection or a channel with; else 0."""
    for link in _chain(error):
        if isinstance(
            link, (exceptions.ConnectionClosedByBroker, exceptions.ChannelClosedByBroker)
        ):
            return int(link.reply_code)
        # pika deduces these from the moment of a close, and keeps that as text. Without a code it
        # was a lost stream, as behind a proxy whose broker is away.
        guessed = (exceptions.ProbableAuthenticationError, exceptions.ProbableAccessDeniedError)
        if isinstance(link, guessed):
            found = _CODE.search(str(link))
            if found is not None:
                return int(found[1])
    return 0


def text_of(error: BaseException) -> str:
    """Return what the broker said, or else the kind of error; neither holds content."""
    for link in _chain(error):
        if isinstance(
            link, (exceptions.ConnectionClosedByBroker, exceptions.ChannelClosedByBroker)
        ):
            return str(link.reply_text)
        if isinstance(link, RabbitMQUnavailable):
            return link.safe_text
        found = _CODE.search(str(link))
        if found is not None and isinstance(link, exceptions.ProbableAuthenticationError):
            return "ACCESS_REFUSED - login was refused"
        if found is not None and isinstance(link, exceptions.ProbableAccessDeniedError):
            return str(link.args[0]).partition(") ")[2][1:-1] or "NOT_ALLOWED"
        if isinstance(link, OSError) and link.strerror:
            return f"{type(link).__name__}: {link.strerror}"
    return type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Walk through an error, its causes, and the errors that it was given as arguments.

    Not through its context, which is an earlier loss where a new attempt failed.
    """
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        link = waiting.pop(0)
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        waiting.append(link.__cause__)
        inner = [*link.args, *getattr(link, "exceptions", ()), getattr(link, "exception", None)]
        waiting += [part for part in inner if isinstance(part, BaseException)]


def _tls_problem(error: BaseException) -> str | None:
    """Return what is wrong with TLS where that is a matter of configuration."""
    for link in _chain(error):
        if isinstance(link, ssl.SSLCertVerificationError):
            return "the certificate is not valid for this client"
        if isinstance(link, ssl.SSLError) and link.reason == "WRONG_VERSION_NUMBER":
            return "what listens there does not speak TLS"
    return None
