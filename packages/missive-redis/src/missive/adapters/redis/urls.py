"""URLs: how an adapter of Redis reads its own, which may name several hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from missive import ConfigurationError
from missive.polling import read_options

#: What in the query of a URL is for redis-py, which documents it at ``redis.from_url``.
CONNECTION_OPTIONS = frozenset(
    {
        "client_name",
        "db",
        "password",
        "sentinel_password",
        "sentinel_username",
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

ENCODING = "percent-encode what is not a plain letter in a password ('/' is %2F)"

#: The port of a host that is given without one, by what follows the ``+`` of the scheme.
_PORTS = {"sentinel": 26379, "cluster": 6379}


class ServerURL(NamedTuple):
    """A URL of one server, of Sentinels or of a cluster, in parts.

    :ivar scheme: ``redis``, ``rediss`` (TLS), ``unix``, or what else was given.
    :ivar kind: ``sentinel``, ``cluster``, or empty for one server.
    :ivar hosts: the Sentinels, or the nodes of the cluster that are asked first.
    :ivar user: what stands before the ``@``, as it is.
    :ivar path: what stands behind the hosts, without slashes at its ends.
    :ivar query: the pairs of the query.
    """

    scheme: str
    kind: str
    hosts: tuple[tuple[str, int], ...]
    user: str
    path: str
    query: list[tuple[str, str]]

    def of_one(self, database: str = "") -> str:
        """Return a URL of the first host, for redis-py to read user, password and settings of."""
        host, port = self.hosts[0]
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        user = f"{self.user}@" if self.user else ""
        return urlunsplit((self.scheme, user + place, database, urlencode(self.query), ""))


def read_url(url: str) -> ServerURL:
    """Read the parts of a URL.

    What cannot be read may be part of a password, so no error shows it.

    :raises ConfigurationError: it cannot be read.
    """
    try:
        parts = urlsplit(url)
        scheme, *words = parts.scheme.split("+")  # another word is the adapter's, such as streams
        kind = next((word for word in words if word in _PORTS), "")
        query = parse_qsl(parts.query, keep_blank_values=True, errors="surrogateescape")
        if parts.fragment or any("@" in name for name, _ in query):
            raise ValueError("they begin in the middle of a password")
        for text in (parts.netloc, parts.path):
            unquote(text, errors="strict").encode()
        user, _, hosts = parts.netloc.rpartition("@")
        if kind:
            places = tuple(_host(host, _PORTS[kind]) for host in hosts.split(","))
        else:
            _ = parts.port
            places = ()
    except (ValueError, TypeError, AttributeError):
        raise ConfigurationError(
            "the URL of the Redis server cannot be read: give redis://user:password@host:port/db,"
            " redis+sentinel://host:port,host:port/service/db or"
            f" redis+cluster://host:port,host:port, and {ENCODING}"
        ) from None
    return ServerURL(scheme, kind, places, user, parts.path.strip("/"), query)


def _host(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit("//" + text)
    if not parts.hostname:
        raise ValueError("a host lacks its name")
    return parts.hostname, parts.port or port


def read_adapter_url(
    url: str, readers: Mapping[str, Callable[[str], Any]]
) -> tuple[str, dict[str, Any]]:
    """Split a URL of an adapter into the one of its server and the adapter's options.

    :param readers: for each option, what turns its text into the value.
    :raises ConfigurationError: it cannot be read.
    """
    read, parts = read_url(url), urlsplit(url)
    query = read.query
    theirs = [pair for pair in query if pair[0] in CONNECTION_OPTIONS]
    if not all(map(is_text, (value for _, value in theirs))):
        raise ConfigurationError("a setting of the connection in the URL is not UTF-8")
    scheme = f"{read.scheme}+{read.kind}" if read.kind else read.scheme
    server = urlunsplit((scheme, parts.netloc, parts.path, urlencode(theirs), ""))
    ours = [pair for pair in query if pair[0] not in CONNECTION_OPTIONS]
    return server, _read_own(parts.scheme, ours, readers)


def _read_own(
    scheme: str, pairs: Iterable[tuple[str, str]], readers: Mapping[str, Callable[[str], Any]]
) -> dict[str, Any]:
    """Read the adapter's options, of which names may hold bytes that are not UTF-8."""
    exact: dict[str, Any] = {}
    plain: list[tuple[str, str]] = []
    for name, text in pairs:
        if not is_text(text) and readers.get(name) in (str, read_names):
            exact[name] = readers[name](text)
            text = "taken as it is"
        plain.append((name, text))
    query = urlencode(plain, errors="replace")
    return {**read_options(urlunsplit((scheme, "", "", query, "")), readers), **exact}


def is_text(text: str) -> bool:
    """Return whether text is what UTF-8 can say, so that it holds no byte as a surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_names(text: str) -> list[str]:
    """Read names with commas between them.

    :raises ValueError: there is none.
    """
    names = [name for name in text.split(",") if name]
    if not names:
        raise ValueError("give names with commas between them")
    return names
