"""Clusters: which node serves what an adapter reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from missive import ConfigurationError

from redis import exceptions

if TYPE_CHECKING:
    from redis.connection import AbstractConnection


class ClusterNodes:
    """Makes connections to the node of a cluster that serves some keys; call it.

    The nodes that are known are asked in turn, the one that served last first. One that does not
    serve the keys names the one that does. Without keys, as for Pub/Sub, any node serves.

    :param adapter: the name of the adapter.
    :param make_connection: makes a connection that is not open yet, to a ``host`` and ``port``.
    :param hosts: the nodes to ask.
    :param keys: what will be read.
    :raises ConfigurationError: no single node can be relied on to serve these keys.
    """

    #: That the node changes is no error that lasts.
    follows_moves = True

    def __init__(
        self,
        adapter: str,
        make_connection: Callable[..., AbstractConnection],
        hosts: tuple[tuple[str, int], ...],
        keys: tuple[bytes, ...],
    ) -> None:
        from redis.crc import key_slot

        if len({key_slot(key) for key in keys}) > 1:
            raise ConfigurationError(
                f"{adapter} cannot read streams of several slots of a cluster; give them one hash"
                " tag, such as {shop}orders and {shop}returns, or run one adapter for each"
            )
        self._make_connection = make_connection
        self._hosts = hosts
        self._key = keys[0] if keys else None
        self._last: tuple[str, int] | None = None

    def __call__(self) -> AbstractConnection:
        """Return an open connection to the node.

        :raises redis.exceptions.RedisError: no node could be asked, or none lets us in.
        """
        places = dict.fromkeys((*([self._last] if self._last else ()), *self._hosts))
        error: Exception = exceptions.ConnectionError("no node of the cluster was asked")
        for place in places:
            try:
                return self._connect(place)
            except exceptions.AuthenticationError:
                raise
            except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as failure:
                error = failure
        raise error

    def _connect(self, place: tuple[str, int]) -> AbstractConnection:
        moves = 0
        while True:
            host, port = place
            connection: Any = self._make_connection(host=host, port=port)
            try:
                connection.connect()
                moved = self._ask(connection, host)
            except BaseException:
                connection.disconnect()
                raise
            if moved is None:
                self._last = place
                return cast("AbstractConnection", connection)
            connection.disconnect()
            moves += 1
            if moves > len(self._hosts) + 1:
                raise exceptions.ConnectionError("the nodes of the cluster redirect in a circle")
            place = moved

    def _ask(self, connection: Any, host: str) -> tuple[str, int] | None:
        """Ask a node for the keys: return where it sends us, or None where it serves them."""
        if self._key is None:
            return None
        connection.send_command("XLEN", self._key)
        try:
            connection.read_response()
        except exceptions.MovedError as error:
            moved: Any = error  # redis-py annotates too little of it
            return str(moved.host or host), int(moved.port)
        except exceptions.ResponseError as refusal:
            # What else it is, as a key that is no stream, shows when it is used.
            if isinstance(refusal, exceptions.ClusterDownError):
                raise exceptions.ConnectionError("the cluster is down") from refusal
        return None
