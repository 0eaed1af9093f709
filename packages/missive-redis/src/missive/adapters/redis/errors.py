"""What Redis answers when it will not serve, and which of that a new attempt may mend."""

from __future__ import annotations

import logging
import ssl
from typing import NoReturn

from missive.errors import TransportRefused

from redis import exceptions

logger = logging.getLogger("missive.adapters.redis.errors")

#: Answers that go away by themselves, and what they mean.
TRANSIENT_CODES = {
    "BUSY": "a script keeps it busy",
    "CLUSTERDOWN": "slots of its cluster are served by no node",
    "LOADING": "it is loading its data",
    "MASTERDOWN": "it is a replica that has lost its master",
    "MISCONF": "it cannot save its data to disk, so it takes no writes",
    "NOREPLICAS": "it has fewer replicas than min-replicas-to-write asks for",
    "OOM": "its memory is full (maxmemory, and a policy that evicts nothing)",
    "READONLY": "it is a replica, as after a failover; reading in a group is a write",
    "TRYAGAIN": "a slot of its cluster is being moved",
}

_REMEDIES = {
    "NOPERM": "grant the user what the adapter needs (ACL SETUSER; the README lists it)",
    "NOAUTH": "give the password in the URL, or a client that has it",
    "WRONGPASS": "give the user and the password that the server knows",
    "MOVED": "give the URL of the cluster node that serves the stream, or redis+cluster://…",
    "ASK": "wait until the slot has moved, then give the URL of the node that serves the stream",
    "CROSSSLOT": "run one adapter for each stream, or give the streams one hash tag",
    "PROTOCOL": "check host and port: what listens there does not speak Redis's protocol",
    "WRONGTYPE": "give the names of streams; this key holds something else",
}


class ServerError(exceptions.ResponseError):
    """An error that Redis answered with.

    :ivar code: its first word, such as ``NOPERM``.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)  # pyright: ignore[reportUnknownMemberType]
        self.code = text.partition(" ")[0]


class RedisUnavailable(exceptions.ConnectionError):
    """Redis answers, and says that it cannot serve now; later it can.

    :ivar code: the first word of what it said, such as ``LOADING``.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)  # pyright: ignore[reportUnknownMemberType]
        self.code = text.partition(" ")[0]

    @property
    def safe_text(self) -> str:
        """What the log says: the code and its meaning, since Redis's own words may name keys."""
        meaning = TRANSIENT_CODES.get(self.code)
        return self.code if meaning is None else f"{self.code}: {meaning}"


class Outage:
    """Logs why Redis cannot serve: one line for each reason until it serves again."""

    def __init__(self) -> None:
        self._code: str | None = None

    def note(self, error: Exception) -> None:
        """Log what Redis said, if it said something that was not logged."""
        if isinstance(error, RedisUnavailable) and error.code != self._code:
            self._code = error.code
            meaning = TRANSIENT_CODES.get(error.code, "it is asked again")
            logger.warning("Redis cannot serve now: %s: %s", error.code, meaning)

    def end(self) -> None:
        """Note that Redis serves again."""
        self._code = None


class RedisRefused(TransportRefused):
    """Redis refused in a way that trying again does not mend; see ``__cause__``.

    :ivar code: the first word of what it said, such as ``NOPERM``, or the name of the error.
    """

    def __init__(self, adapter: object, code: str, said: str) -> None:
        self.code = code
        remedy = _REMEDIES.get(code, "check the URL, the server's version and the names given")
        # The base class knows the error's type alone; the server says more, and no payload.
        super(TransportRefused, self).__init__(
            f"{type(adapter).__name__} was refused by Redis: {said}; {remedy}"
        )


def raise_lasting(error: Exception, adapter: object, *, follows_moves: bool = False) -> NoReturn:
    """Raise an error of a connection as what it means.

    :param follows_moves: the next connection leads to the node of a cluster that serves by then.
    :raises RedisRefused: no new attempt mends it.
    :raises redis.exceptions.ConnectionError: a new attempt may.
    """
    if isinstance(error, ServerError):
        if error.code in TRANSIENT_CODES or (follows_moves and error.code in ("MOVED", "ASK")):
            raise RedisUnavailable(str(error)) from error
        raise RedisRefused(adapter, error.code, str(error)) from error
    code = _code_of(error)
    if code is not None:
        text = str(error)
        said = text if text.startswith(code) else f"{code} {text}"
        raise RedisRefused(adapter, code, said) from error
    if isinstance(error, (exceptions.ConnectionError, exceptions.TimeoutError)):
        raise error
    raise exceptions.ConnectionError(str(error)) from error


def _code_of(error: Exception) -> str | None:
    """Return the code of an error of redis-py's own log-in that lasts, or None for one that does not."""
    if isinstance(error, exceptions.AuthenticationError):
        return "NOAUTH" if "required" in str(error) else "WRONGPASS"
    if isinstance(error, exceptions.NoPermissionError):
        return "NOPERM"
    if isinstance(error, (exceptions.ReadOnlyError, exceptions.ClusterDownError)):
        return None
    if isinstance(error, (exceptions.OutOfMemoryError, exceptions.TryAgainError)):
        return None
    if isinstance(error, exceptions.ResponseError):
        code = str(error).partition(" ")[0]
        return None if code in TRANSIENT_CODES else "ERR"
    if isinstance(error, exceptions.InvalidResponse):
        return "PROTOCOL"
    return _code_of_tls(error)


def _code_of_tls(error: Exception) -> str | None:
    """Return the code of a TLS error that is a matter of configuration."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return "CERTIFICATE_VERIFY_FAILED"
        if isinstance(seen, ssl.SSLError) and seen.reason == "WRONG_VERSION_NUMBER":
            return seen.reason
        seen = seen.__cause__ or seen.__context__
    return None
