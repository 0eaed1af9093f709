"""URLs: how the adapter reads where its broker is."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from missive import ConfigurationError
from missive.polling import read_options
from pika import ConnectionParameters, PlainCredentials, SSLOptions

#: Schemes, with the port that each has and whether it is TLS; ``pyamqp`` is kombu's own.
SCHEMES = {
    "amqp": (5672, False),
    "rabbitmq": (5672, False),
    "pyamqp": (5672, False),
    "amqps": (5671, True),
}
#: What in the query of a URL is for the connection.
CONNECTION_OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "heartbeat": int,
    "cafile": str,
    "certfile": str,
    "keyfile": str,
    "connection_timeout": float,
}
#: How often each side shows that it lives, in seconds; twice that without a sign is a lost connection.
HEARTBEAT = 30
CONNECTION_TIMEOUT = 10.0


def read_parameters(url: object) -> ConnectionParameters:
    """Read ``amqp://user:password@host:port/vhost?heartbeat=30`` into pika's parameters.

    The virtual host ``/`` may be written as kombu and Celery do, ``amqp://host//``.

    What cannot be read may be part of a password, so no error shows it.

    :raises ConfigurationError: it cannot be read, or is no URL.
    """
    if not isinstance(url, str):
        raise ConfigurationError(
            "url_or_conn must be a URL such as amqp://user:password@host:5672/vhost, not a"
            f" {type(url).__name__}; a connection of kombu's is refused: give the URL it"
            " was made from (connection.as_uri(include_password=True))"
        )
    try:
        parts = urlsplit(url)
        port, tls = SCHEMES[parts.scheme]
        user = unquote(parts.username or "guest", errors="strict")
        password = unquote(parts.password if parts.password is not None else "guest")
        host, port = parts.hostname or "localhost", parts.port or port
        vhost = unquote(parts.path[1:], errors="strict") or "/"
        if parts.fragment or ("/" in parts.path[1:] and parts.path != "//"):
            raise ValueError("these begin in the middle of a name")
    except (KeyError, ValueError):
        raise ConfigurationError(
            "the URL of the broker cannot be read: give amqp://user:password@host:5672/vhost, or"
            " amqps:// for TLS, and percent-encode what is not a plain letter in a password or virtual"
            " host ('/' is %2F)"
        ) from None
    given = read_options(url, CONNECTION_OPTIONS)
    heartbeat = given.get("heartbeat", HEARTBEAT)
    timeout = given.get("connection_timeout", CONNECTION_TIMEOUT)
    if heartbeat < 0 or not timeout > 0:
        raise ConfigurationError("heartbeat and connection_timeout must be seconds, more than 0")
    return ConnectionParameters(
        host=host,
        port=port,
        virtual_host=vhost,
        credentials=PlainCredentials(user, password),
        heartbeat=heartbeat,
        socket_timeout=timeout,
        stack_timeout=timeout,
        ssl_options=SSLOptions(_context(given), host) if tls else None,
        client_properties={"connection_name": "missive"},
    )


def _context(given: Mapping[str, Any]) -> ssl.SSLContext:
    """Return the settings of TLS: the server's certificate and name are always verified."""
    try:
        context = ssl.create_default_context(cafile=given.get("cafile"))
        if "certfile" in given:
            context.load_cert_chain(given["certfile"], given.get("keyfile"))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"a certificate file of the URL cannot be read: {type(error).__name__}"
        ) from error
    return context


def split_url(url: str, readers: Mapping[str, Callable[[str], Any]]) -> tuple[str, dict[str, Any]]:
    """Split a URL of the adapter into the one of its broker and the adapter's options.

    :param readers: for each option, what turns its text into the value.
    :raises ConfigurationError: an option cannot be read.
    """
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    theirs = urlencode([pair for pair in pairs if pair[0] in CONNECTION_OPTIONS])
    ours = urlencode([pair for pair in pairs if pair[0] not in CONNECTION_OPTIONS])
    broker = urlunsplit((parts.scheme, parts.netloc, parts.path, theirs, parts.fragment))
    return broker, read_options(urlunsplit((parts.scheme, "", "", ours, "")), readers)
