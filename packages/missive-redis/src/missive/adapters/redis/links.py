"""A link: one open connection to Redis, read without ever blocking for long."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from redis import exceptions

from .errors import ServerError, raise_lasting
from .replies import UNFINISHED, Reader, make_reader

if TYPE_CHECKING:
    from redis.connection import AbstractConnection

#: A command: its name and its arguments.
Command = Sequence[str | bytes | int]

#: How much is read at once, in bytes.
CHUNK_SIZE = 65_536


class Link:
    """One open connection to Redis.

    redis-py opens the connection, secures it, logs in and packs commands. The replies are read
    here: redis-py's own reading cannot say without a system call whether one is at hand, and costs
    twice as much (benchmarks/redis_pubsub). Any error closes the link for good.

    :param make_connection: makes a connection that is not open yet.
    :param adapter: whom to name where Redis refuses.
    :raises RedisRefused: Redis does not let us in, and never will.
    :raises redis.exceptions.ConnectionError: there was no connection to be had now.
    """

    def __init__(self, make_connection: Callable[[], AbstractConnection], adapter: object) -> None:
        self._adapter = adapter
        # Any: redis-py annotates too little of it.
        self._connection: Any = None
        self._follows_moves: bool = getattr(make_connection, "follows_moves", False)
        self._buffer = bytearray(CHUNK_SIZE)
        try:
            self._connection = cast(Any, make_connection())
            self._connection.connect()
        except BaseException as error:  # of the user's own too: a provider of credentials
            if self._connection is not None:
                self._connection.disconnect()
            if isinstance(error, (exceptions.RedisError, OSError)):
                raise_lasting(error, adapter)
            raise
        # redis-py gives its socket no public name, though waiting for several things needs it.
        self.socket: socket.socket = self._connection._sock
        self._timeout = self.socket.gettimeout()
        self._tls = isinstance(self.socket, ssl.SSLSocket)
        self._reader: Reader = make_reader()
        self.is_open = True

    def send(self, *commands: Command) -> None:
        """Send commands in one write; each will have one reply.

        :raises redis.exceptions.RedisError: the connection is lost.
        """
        if not self.is_open:
            raise exceptions.ConnectionError("the connection was closed before")
        try:
            packed = self._connection.pack_commands(commands)
            self._connection.send_packed_command(packed, check_health=False)
        except BaseException:
            self.close()
            raise

    def read(self) -> list[Any]:
        """Return the replies that have come; call it when ``socket`` is readable.

        An error that Redis replied with is given as a :class:`ServerError`.

        :raises redis.exceptions.RedisError: the connection is lost, or was not Redis's.
        """
        if self._tls:  # a readable socket may hold half a record, which is no data yet
            self.socket.settimeout(0)
            try:
                return self._read()
            finally:
                if self.is_open:
                    self.socket.settimeout(self._timeout)
        return self._read()

    def _read(self) -> list[Any]:
        replies: list[Any] = []
        gets = self._reader.gets
        try:
            self._fill()
            while (reply := gets()) is not UNFINISHED:
                replies.append(reply)
        except exceptions.InvalidResponse as error:
            self.close()
            raise exceptions.ConnectionError("the answer is not in Redis's protocol") from error
        except exceptions.RedisError:
            self.close()
            raise
        return replies

    def _fill(self) -> None:
        """Move what has come to the reader."""
        buffer, read = self._buffer, self.socket.recv_into
        try:
            while True:
                count = read(buffer)
                if not count:
                    raise exceptions.ConnectionError("Redis closed the connection")
                self._reader.feed(buffer, 0, count)
                # What TLS has decrypted already would not make the socket readable again.
                if not self._tls or not self.socket.pending():  # type: ignore[attr-defined]
                    return
        except ssl.SSLWantReadError:
            return
        except TimeoutError as error:
            raise exceptions.TimeoutError("Redis did not answer in time") from error
        except OSError as error:
            raise exceptions.ConnectionError(
                f"reading from Redis failed: {type(error).__name__}"
            ) from error

    def call(self, *commands: Command) -> list[Any]:
        """Send commands and wait for their replies, each at most as long as the timeout.

        :raises redis.exceptions.RedisError: the connection is lost, or nothing came in time.
        """
        self.send(*commands)
        replies: list[Any] = []
        while len(replies) < len(commands):
            replies += self._read()
        return replies

    def receive(self, timeout: float | None = None) -> list[Any]:
        """Wait for a further reply.

        :param timeout: at most so many seconds; None: as long as any answer may take.
        :raises redis.exceptions.RedisError: the connection is lost, or nothing came in time.
        """
        if timeout is not None:
            self.socket.settimeout(timeout)
        replies = self._read()
        while not replies:
            replies = self._read()
        if timeout is not None:
            self.socket.settimeout(self._timeout)
        return replies

    def check(self, *commands: Command) -> list[Any]:
        """Send commands and give their replies, of which none may be an error.

        :raises RedisRefused: Redis replied with an error that lasts.
        :raises redis.exceptions.RedisError: it replied with one that does not, or not at all.
        """
        replies = self.call(*commands)
        for reply in replies:
            self.verify(reply)
        return replies

    def verify(self, reply: Any) -> None:
        """Raise what a reply means, if it is an error; the link is closed then.

        :raises RedisRefused: Redis replied with an error that lasts.
        :raises redis.exceptions.ConnectionError: it replied with one that does not.
        """
        if isinstance(reply, ServerError):
            self.close()
            raise_lasting(reply, self._adapter, follows_moves=self._follows_moves)

    def abort(self) -> None:
        """End whatever another thread waits for on this link: it finds the connection lost."""
        with suppress(OSError):  # it is closed already
            # Not by the method of a TLS socket, which would send a close message first.
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; the link is of no use any more."""
        self.is_open = False
        self._connection.disconnect()


class SpareLink:
    """A link that is used now and then, and opened when it is first needed.

    Servers and firewalls close what is idle for long; so where it turns out to be closed, it is
    opened again, and what was to be said is said once more. That must do no harm said twice.

    :param open_link: opens a link.
    """

    def __init__(self, open_link: Callable[[], Link]) -> None:
        self._open_link = open_link
        self._link: Link | None = None

    def call(self, *commands: Command) -> list[Any]:
        """Send commands and wait for their replies, each at most as long as the timeout.

        :raises RedisRefused: Redis does not let us in.
        :raises redis.exceptions.RedisError: there is no connection to be had, or no answer.
        """
        if self._link is not None and self._link.is_open:
            with suppress(exceptions.ConnectionError):
                return self._link.call(*commands)
        self._link = self._open_link()
        return self._link.call(*commands)

    def verify(self, reply: Any) -> None:
        """Raise what a reply means, if it is an error; see :meth:`Link.verify`."""
        assert self._link is not None
        self._link.verify(reply)

    def close(self) -> None:
        """Close the link, if it is open."""
        if self._link is not None:
            self._link.close()
