"""Connections: how an adapter is told which Redis to speak to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from missive import ConfigurationError

if TYPE_CHECKING:
    from redis import Redis
    from redis.connection import AbstractConnection

#: How long a connection may take to open, and an answer to come, in seconds, unless the URL or
#: the client say otherwise.
TIMEOUT = 5.0

#: What in the query of a URL is for redis-py, which documents it at ``redis.from_url``.
CONNECTION_OPTIONS = frozenset(
    {
        "client_name",
        "db",
        "password",
        "socket_connect_timeout",
        "socket_timeout",
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_keyfile",
        "ssl_password",
        "username",
    }
)

_ENCODING = "percent-encode what is no plain letter in a password ('/' is %2F)"

#: Settings that decide how redis-py answers, waits and tries again: here all that is Missive's.
_OWN_SETTINGS: Mapping[str, Any] = {
    "protocol": 2,  # redis-py 8 logs each push of RESP3, and hiredis parses RESP2 quicker
    "decode_responses": False,
    "retry": None,
    "retry_on_error": [],
    "retry_on_timeout": False,
    "health_check_interval": 0,
}


def connection_maker(
    adapter: object, url: str, client: Redis | None
) -> Callable[[], AbstractConnection]:
    """Give what makes connections, none of them open yet, from a URL or like those of a client.

    A connection is one of its own, never taken from the client's pool: it subscribes, blocks, and
    lives as long as the adapter runs. What the client knows of addresses (Sentinel), TLS and
    credentials holds for it.

    :raises ConfigurationError: the URL cannot be read, or the client is not of a kind that serves.
    """
    from redis import ConnectionPool, Redis
    from redis.connection import Connection
    from redis.exceptions import RedisError

    name = type(adapter).__name__
    if client is None:
        _check_database(name, read_url(url))
        try:
            pool: ConnectionPool = cast(Any, ConnectionPool).from_url(url)
        except (ValueError, TypeError) as error:
            raise ConfigurationError(
                f"{name} cannot use its URL ({error}); give redis://host:port/db, rediss:// for"
                " TLS, or unix:///path"
            ) from error
    elif isinstance(client, Redis):
        pool = client.connection_pool
    else:
        raise ConfigurationError(
            f"{name} cannot use a {type(client).__module__}.{type(client).__name__} as its client;"
            " give a redis.Redis, or a URL"
        )
    settings = {
        key: value
        for key, value in pool.connection_kwargs.items()
        # Of RESP3 alone, and bound to the client's own pool.
        if not key.startswith(("maint_", "oss_cluster_", "orig_"))
    }
    settings.update(_OWN_SETTINGS)
    _check_host(name, settings.get("host"))
    for key in ("socket_timeout", "socket_connect_timeout"):
        if settings.get(key) is None:
            settings[key] = TIMEOUT
    if isinstance(pool.connection_class, type) and issubclass(pool.connection_class, Connection):
        # A peer that vanished is noticed even while nothing is asked of it.
        settings["socket_keepalive"] = True

    def make_connection() -> AbstractConnection:
        # By way of the pool, for which the connections of Sentinel hold a weak reference only.
        make: Callable[..., AbstractConnection] = pool.connection_class
        return make(**settings)

    try:
        make_connection()
    except (TypeError, ValueError, RedisError) as error:
        raise ConfigurationError(
            f"{name} cannot use its URL or client: redis-py does not take one of its settings"
        ) from error
    return make_connection


def read_url(url: str) -> SplitResult:
    """Read the parts of a URL.

    What cannot be read may be part of a password, so no error shows it.

    :raises ConfigurationError: it cannot be read.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
        names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
        if parts.fragment or any("@" in name for name in names):
            raise ValueError("they begin in the middle of a password")
    except (ValueError, TypeError, AttributeError):
        raise ConfigurationError(
            "the URL of the Redis server cannot be read: give redis://user:password@host:port/db,"
            f" and {_ENCODING}"
        ) from None
    return parts


def _check_database(name: str, parts: SplitResult) -> None:
    """Refuse what redis-py would take for no database at all."""
    database = parts.path.strip("/")
    if parts.scheme in ("redis", "rediss") and database and not database.isdecimal():
        raise ConfigurationError(
            f"{name} cannot use its URL: the database behind its host must be a number; {_ENCODING}"
        )


def _check_host(name: str, host: object) -> None:
    """Refuse a host that cannot be looked up, whatever the network."""
    if isinstance(host, str):
        try:
            host.encode("idna")
        except UnicodeError:
            raise ConfigurationError(
                f"{name} cannot use its URL: its host is none; each part of a name has 1 to 63"
                " characters"
            ) from None


def split_url(url: str) -> tuple[str, str]:
    """Split a URL of an adapter into the one for redis-py and the one with the adapter's options.

    :raises ConfigurationError: it cannot be read.
    """
    parts = read_url(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    scheme = parts.scheme.partition("+")[0]
    ours = [pair for pair in pairs if pair[0] not in CONNECTION_OPTIONS]
    theirs = [pair for pair in pairs if pair[0] in CONNECTION_OPTIONS]
    return (
        urlunsplit((scheme, parts.netloc, parts.path, urlencode(theirs), "")),
        urlunsplit((parts.scheme, "", "", urlencode(ours), "")),
    )


def read_names(text: str) -> list[str]:
    """Read names with commas between them.

    :raises ValueError: there is none.
    """
    names = [name for name in text.split(",") if name]
    if not names:
        raise ValueError("give names with commas between them")
    return names
