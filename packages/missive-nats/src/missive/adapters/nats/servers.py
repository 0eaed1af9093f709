"""Servers: where NATS is, as whom to connect, and how a URL says so."""

from __future__ import annotations

import asyncio
import random
import re
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from missive import ConfigurationError
from missive.polling import read_options

from nats.aio.client import Client
from nats.errors import NoServersError, SecureConnWantedError

from .errors import NATS_ERRORS

#: What in the query of a URL is for the connection.
CONNECTION_OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "cafile": str,
    "certfile": str,
    "credentials": str,
    "heartbeat": float,
    "inbox_prefix": str,
    "keyfile": str,
    "nkey": str,
}
PORT = 4222
#: How long a server may take to accept a connection, in seconds.
CONNECT_TIMEOUT = 5
#: How long the farewell to a server that was refused may take, in seconds.
CLOSE_TIMEOUT = 1.0
#: Other clients write several URLs into one text, each whole.
_BETWEEN_URLS = re.compile(r",(?=(?:nats|tls)://)")
_REMEDY = (
    "the address of NATS cannot be read: give nats://user:password@host:4222, or tls:// for TLS,"
    " several hosts with commas between them, and percent-encode what is not a plain letter in a"
    " password"
)


@dataclass(frozen=True)
class Servers:
    """Where NATS is, and as whom to connect.

    :ivar urls: the servers of one cluster, without credentials.
    :ivar encrypted: whether only TLS will do.
    :ivar user: with ``password``; or a token where that is None.
    :ivar heartbeat: how often server and client show that they live, in seconds.
    """

    urls: tuple[str, ...]
    encrypted: bool
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    credentials: str | None = None
    nkey: str | None = None
    tls: ssl.SSLContext | None = None
    inbox_prefix: str = "_INBOX"
    heartbeat: float = 5.0

    async def connect(
        self,
        on_error: Callable[[Exception], Awaitable[None]],
        on_close: Callable[[], Awaitable[None]],
    ) -> Client:
        """Return a connection to one of the servers; nats-py does not connect again by itself.

        :raises Exception: what nats-py raises, or what the last server failed by.
        """
        client: Client = Client()
        last: list[Exception] = []

        async def note(error: Exception) -> None:
            last.append(error)
            await on_error(error)

        def guarded(secret: str) -> Callable[[], str]:
            def told() -> str:
                self._check_encryption(client)
                return secret

            return told

        given: dict[str, Any] = {}
        if self.user is not None and self.password is not None:
            given = {"user": guarded(self.user), "password": guarded(self.password)}
        elif self.user is not None:
            given = {"token": guarded(self.user)}
        try:
            await client.connect(
                servers=random.sample(self.urls, len(self.urls)),
                error_cb=note,
                closed_cb=on_close,
                name="missive",
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=CONNECT_TIMEOUT,
                ping_interval=self.heartbeat,  # type: ignore[arg-type]
                tls=self.tls or ssl.create_default_context(),
                user_credentials=self.credentials,
                nkeys_seed=self.nkey,
                inbox_prefix=self.inbox_prefix,
                **given,
            )
            self._check_encryption(client)
        except BaseException as error:
            with suppress(*NATS_ERRORS):  # which waits for ever after a failed handshake of TLS
                await asyncio.wait_for(client.close(), CLOSE_TIMEOUT)
            if isinstance(error, NoServersError) and last:
                raise last[-1] from None
            raise
        return client

    def _check_encryption(self, client: Client) -> None:
        """Refuse a server that speaks no TLS where that was asked for.

        nats-py encrypts only where the server asks for it; called before a secret is sent.
        """
        if self.encrypted and not client._server_info.get("tls_required"):
            raise SecureConnWantedError


def read_servers(
    servers: object,
    *,
    credentials: object = None,
    nkey: object = None,
    tls: object = None,
    inbox_prefix: object = "_INBOX",
    heartbeat: object = 5.0,
) -> Servers:
    """Read addresses such as ``nats://user:password@one:4222,two:4222``, and who connects.

    What cannot be read may be part of a password, so no error shows it.

    :param servers: a URL, or several of one cluster.
    :raises ConfigurationError: they cannot be read, or cannot work.
    """
    whole = _BETWEEN_URLS.split(servers) if isinstance(servers, str) else _iterable(servers)
    texts: list[object] = list(whole)
    found = [_read(text) for text in texts]
    if not found or len({address[:3] for address in found}) > 1:
        raise ConfigurationError(
            "give at least one URL of NATS, and the same scheme and user in each of them"
        )
    encrypted, user, password, _ = found[0]
    for name, path in (("credentials", credentials), ("nkey", nkey)):
        if path is not None and not Path(str(path)).is_file():
            raise ConfigurationError(f"{name} names a file that does not exist: {path}")
        if path is not None and find_spec("nkeys") is None:
            raise ConfigurationError(f"{name} needs nkeys: pip install 'missive-nats[nkeys]'")
    if tls is not None and not isinstance(tls, ssl.SSLContext):
        raise ConfigurationError(f"tls must be an ssl.SSLContext, not a {type(tls).__name__}")
    if not isinstance(inbox_prefix, str) or not inbox_prefix or set(inbox_prefix) & set(" *>\r\n"):
        raise ConfigurationError(f"inbox_prefix must be a plain subject, not {inbox_prefix!r}")
    number = isinstance(heartbeat, (int, float)) and not isinstance(heartbeat, bool)
    if not number or not 0.1 <= heartbeat <= 300:  # type: ignore[operator]
        raise ConfigurationError(f"heartbeat must be 0.1 to 300 s, not {heartbeat!r}")
    scheme = "tls" if encrypted else "nats"
    hosts = dict.fromkeys(host for *_, named in found for host in named)
    return Servers(
        urls=tuple(f"{scheme}://{host}" for host in hosts),
        encrypted=encrypted,
        user=user,
        password=password,
        credentials=None if credentials is None else str(credentials),
        nkey=None if nkey is None else str(nkey),
        tls=tls,
        inbox_prefix=inbox_prefix,
        heartbeat=float(heartbeat),  # type: ignore[arg-type]
    )


def _iterable(servers: Any) -> Iterable[object]:
    if not isinstance(servers, Iterable):
        raise ConfigurationError(_REMEDY)
    return servers  # pyright: ignore[reportUnknownVariableType]


def _read(text: object) -> tuple[bool, str | None, str | None, tuple[str, ...]]:
    """Return whether it is TLS, user, password, and the hosts with their ports."""
    try:
        parts = urlsplit(str(text))
        if parts.scheme not in ("nats", "tls") or parts.path not in ("", "/") or parts.query:
            raise ValueError(parts.scheme)
        identity, _, hosts = parts.netloc.rpartition("@")
        named = tuple(_read_host(host) for host in (hosts or "localhost").split(","))
        user, colon, password = identity.partition(":")
    except ValueError:
        raise ConfigurationError(_REMEDY) from None
    return (
        parts.scheme == "tls",
        unquote(user) if identity else None,
        unquote(password) if colon else None,
        named,
    )


def _read_host(text: str) -> str:
    parts = urlsplit(f"//{text}")
    name = parts.hostname
    if not name or "@" in text:
        raise ValueError(text)
    return f"[{name}]:{parts.port or PORT}" if ":" in name else f"{name}:{parts.port or PORT}"


def split_url(url: str, readers: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """Return the keyword arguments that a URL of an adapter stands for, ``servers`` among them.

    :param readers: for each option of the adapter, what turns its text into the value.
    :raises ConfigurationError: an option cannot be read.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.partition("+")[0]
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    query = urlencode(pairs)
    given = read_options(
        urlunsplit((parts.scheme, "", "", query, "")), {**CONNECTION_OPTIONS, **readers}
    )
    files: dict[str, str] = {
        name: given.pop(name) for name in ("cafile", "certfile", "keyfile") if name in given
    }
    if files:
        given["tls"] = _context(files)
    return {"servers": urlunsplit((scheme, parts.netloc, parts.path, "", "")), **given}


def _context(files: Mapping[str, str]) -> ssl.SSLContext:
    """Return the settings of TLS: the server's certificate and name are always verified."""
    try:
        context = ssl.create_default_context(cafile=files.get("cafile"))
        if "certfile" in files:
            context.load_cert_chain(files["certfile"], files.get("keyfile"))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"a certificate file of the URL cannot be read: {type(error).__name__}"
        ) from error
    return context
