"""Connections: how an adapter gets to the Redis it was told of, by URL or client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from missive import ConfigurationError

from .cluster import ClusterNodes
from .urls import ENCODING, ServerURL, is_text, read_url

if TYPE_CHECKING:
    from redis import ConnectionPool, Redis
    from redis.connection import AbstractConnection

#: How long a connection may take to open, and an answer to come, in seconds, unless the URL or
#: the client say otherwise.
TIMEOUT = 5.0

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
    adapter: object, url: str, client: Redis | None, keys: tuple[bytes, ...] = ()
) -> Callable[[], AbstractConnection]:
    """Return what makes connections, from a URL or like those of a client.

    A connection is one of its own, never taken from the client's pool: it subscribes, blocks, and
    lives as long as the adapter runs. What the client knows of addresses (Sentinel), TLS and
    credentials holds for it.

    :param keys: what will be read; in a cluster, from the node that serves it.
    :raises ConfigurationError: the URL cannot be read, or the client is not of a kind that serves.
    """
    from redis.connection import Connection
    from redis.exceptions import RedisError

    name = type(adapter).__name__
    parts = read_url(url) if client is None else None
    pool = _pool_of_url(name, url, parts) if parts is not None else _pool_of_client(name, client)
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

    def make_connection(**place: Any) -> AbstractConnection:
        # By way of the pool, for which the connections of Sentinel hold a weak reference only.
        make: Callable[..., AbstractConnection] = pool.connection_class
        return make(**{**settings, **place})

    try:
        make_connection()
    except (TypeError, ValueError, RedisError) as error:
        raise ConfigurationError(
            f"{name} cannot use its URL or client: redis-py does not take one of its settings"
        ) from error
    if parts is not None and parts.kind == "cluster":
        return ClusterNodes(name, make_connection, parts.hosts, keys)
    return make_connection


def _pool_of_client(name: str, client: object) -> ConnectionPool:
    from redis import Redis

    if not isinstance(client, Redis):
        raise ConfigurationError(
            f"{name} cannot use a {type(client).__module__}.{type(client).__name__} as its client;"
            " give a redis.Redis, or a URL"
        )
    return client.connection_pool


def _pool_of_url(name: str, url: str, parts: ServerURL) -> ConnectionPool:
    if not all(is_text(value) for _, value in parts.query):
        raise ConfigurationError(f"{name} cannot use its URL: what its query says is not UTF-8")
    if parts.kind == "sentinel":
        return _pool_of_sentinels(name, parts)
    if parts.kind == "cluster":
        if parts.path not in ("", "0"):
            raise ConfigurationError(f"{name} cannot use its URL: a cluster has only database 0")
        url = parts.of_one()
    else:
        _check_database(name, parts.scheme, parts.path)
    return _read_pool(name, url)


def _read_pool(name: str, url: str) -> ConnectionPool:
    from redis import ConnectionPool

    try:
        pool: ConnectionPool = cast(Any, ConnectionPool).from_url(url)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"{name} cannot use its URL ({error}); give redis://host:port/db, rediss:// for"
            " TLS, or unix:///path"
        ) from error
    return pool


def _pool_of_sentinels(name: str, parts: ServerURL) -> ConnectionPool:
    """Return the pool of a client whose connections lead to the master that Sentinels name."""
    from redis.sentinel import Sentinel

    service, _, database = parts.path.partition("/")
    if not service:
        raise ConfigurationError(
            f"{name} cannot use its URL: give the name of the service behind the Sentinels, as in"
            f" {parts.scheme}+sentinel://host:port,host:port/service/0"
        )
    _check_database(name, parts.scheme, database)
    own = [pair for pair in parts.query if not pair[0].startswith("sentinel_")]
    settings = dict(_read_pool(name, parts._replace(query=own).of_one(database)).connection_kwargs)
    for key in ("host", "port"):
        settings.pop(key, None)
    for key in ("socket_timeout", "socket_connect_timeout"):
        settings.setdefault(key, TIMEOUT)
    if parts.scheme == "rediss":
        settings["ssl"] = True
    asking = {key: value for key, value in settings.items() if key.startswith(("ssl", "socket_"))}
    for key, value in parts.query:
        if key.startswith("sentinel_"):
            asking[key.removeprefix("sentinel_")] = value
    make: Any = Sentinel
    sentinel = make(parts.hosts, sentinel_kwargs=asking, **settings)
    pool: ConnectionPool = sentinel.master_for(service).connection_pool
    return pool


def _check_database(name: str, scheme: str, database: str) -> None:
    """Refuse what redis-py would take for no database at all."""
    if scheme in ("redis", "rediss") and database and not database.isdecimal():
        raise ConfigurationError(
            f"{name} cannot use its URL: the database behind its host must be a number; {ENCODING}"
        )


def _check_host(name: str, host: object) -> None:
    """Refuse a host that cannot be looked up, whatever the network."""
    if isinstance(host, str):
        try:
            host.encode("idna")
        except UnicodeError:
            raise ConfigurationError(
                f"{name} cannot use its URL: its host is not valid; each part of a name has 1 to 63"
                " characters"
            ) from None
