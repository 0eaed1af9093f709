"""Pub/Sub: what is published while the adapter listens, at most once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, timezone
from time import monotonic
from typing import TYPE_CHECKING, Any

from missive import Capabilities, ConfigurationError, Delivery, M
from missive.errors import NackUnsupported
from missive.polling import PollingAdapter, check_names

from redis import exceptions

from .connections import connection_maker
from .errors import Outage, RedisUnavailable
from .links import Command, Link
from .names import can_be_name, decode, encode
from .urls import read_adapter_url, read_names

if TYPE_CHECKING:
    from missive import Processor
    from missive.polling import PollingOptions
    from typing_extensions import Unpack

    from redis import Redis

logger = logging.getLogger("missive.adapters.redis.pubsub")

#: How many names of channels are kept decoded. A pattern may match any number.
NAMES_KEPT = 10_000
#: How often, in seconds, a busy connection is looked at to see whether all was read from it.
CAUGHT_UP_INTERVAL = 1.0


class PubSubDelivery(Delivery):
    """One published message.

    A class of its own for speed: what Pub/Sub has nothing to say of is not set for each message.
    """

    __slots__ = ("reply",)

    message_id = None
    headers = None
    delivery_count = None

    def __init__(self, raw_data: bytes, source: str, reply: list[bytes]) -> None:
        self.raw_data = raw_data
        self.source = source
        self.reply = reply

    def make_native(self) -> dict[str, Any]:
        """Return the message as redis-py's ``get_message`` does."""
        kind, *pattern, channel, data = self.reply
        return {
            "type": kind.decode(),
            "pattern": pattern[0] if pattern else None,
            "channel": channel,
            "data": data,
        }


class RedisPubSubAdapter(PollingAdapter[M]):
    """Takes what is published to channels of Redis while it runs.

    Redis keeps no messages for a subscriber that is disconnected or too slow: they are lost, and
    the adapter logs the length of each such gap. A nacked message goes to the DLQ; without a DLQ, a
    nack ends ``run``. For messages that must not be lost, use :class:`RedisStreamsAdapter`.

    ``message.source`` is the channel, and ``message.native`` what redis-py's ``get_message`` gives.
    A message whose channel is subscribed to both by name and by pattern comes once for each.

    :param channels: the channels to listen to.
    :param patterns: glob-style patterns of channels to listen to. With neither, all channels are.
    :param url: the server, as ``redis.from_url`` takes it.
    :param client: a ``redis.Redis`` whose settings are used instead of the URL, for connections of
        the adapter's own.
    :param health_check_interval: seconds of silence after which the server is sent a PING. After as
        many seconds without an answer, the connection counts as lost.
    :param options: what every :class:`~missive.polling.PollingAdapter` takes.
    :raises ConfigurationError: an argument cannot work; no connection was made.
    """

    messaging_system = "redis"
    capabilities = Capabilities(
        delivery="at-most-once",
        nack="drop-refused",
        ordering="total",
        # Below client-output-buffer-limit, whose default for Pub/Sub is 32 MB: beyond it the server
        # closes the connection of who subscribes.
        max_bytes=31 * 1024 * 1024,
        reconnects=True,
    )
    connection_errors = (exceptions.ConnectionError, exceptions.TimeoutError)

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        processor: Processor[M],
        channels: Iterable[str] | str = (),
        *,
        patterns: Iterable[str] | str = (),
        url: str = "redis://localhost:6379",
        client: Redis | None = None,
        health_check_interval: float = 3.0,
        **options: Unpack[PollingOptions],
    ) -> None:
        super().__init__(message_cls, processor, **options)
        self.channels = check_names(self, "channels", channels, can_be_name)
        self.patterns = check_names(self, "patterns", patterns, can_be_name)
        if not self.channels and not self.patterns:
            self.patterns = ("*",)
        if not health_check_interval > 0:
            raise ConfigurationError(
                f"health_check_interval of {type(self).__name__} must be more than 0 s"
            )
        self.health_check_interval = health_check_interval
        self._make_connection = connection_maker(self, url, client)
        self._outage = Outage()
        self._link: Link | None = None
        self._early: list[Delivery] = []  # what came before all subscriptions were confirmed
        self._names: dict[bytes, str] = {}
        self._ping_sent: float | None = None
        self._heard = self._caught_up = 0.0
        self._gap_since: float | None = None

    @classmethod
    def from_url(
        cls,
        url: str,
        message_cls: Callable[[bytes], Any],
        processor: Processor[Any],
        **options: Any,
    ) -> RedisPubSubAdapter[Any]:
        """Build the adapter from ``redis://host:port/0?channels=a,b&patterns=c.*``.

        ``rediss://`` is TLS. The other keyword arguments may stand in the query too, and those of
        redis-py's connections (``ssl_ca_certs``, ``client_name``…).
        """
        readers = {
            **cls.url_options,
            "channels": read_names,
            "patterns": read_names,
            "health_check_interval": float,
        }
        server, own = read_adapter_url(url, readers)
        given: dict[str, Any] = {"url": server, **own, **options}
        return cls(message_cls, processor, **given)

    def open(self) -> None:
        """Connect and subscribe; return when the server has confirmed every subscription."""
        if not self.reconnecting:
            self._gap_since = None  # that of a run before this one
        try:
            self._subscribe()
        except RedisUnavailable as error:
            self._outage.note(error)
            raise
        self._outage.end()
        self._note_gap()
        self._ping_sent = None
        self._heard = self._caught_up = monotonic()

    def _subscribe(self) -> None:
        link = self._link = Link(self._make_connection, self)
        commands: list[Command] = []
        if self.channels:
            commands.append(("SUBSCRIBE", *map(encode, self.channels)))
        if self.patterns:
            commands.append(("PSUBSCRIBE", *map(encode, self.patterns)))
        lacking = len(self.channels) + len(self.patterns)
        replies = link.call(*commands)
        while True:
            for reply in replies:
                link.verify(reply)
                if reply[0] in (b"subscribe", b"psubscribe"):
                    lacking -= 1
            self._early += self._deliveries(replies)
            if lacking <= 0:
                break
            replies = link.receive()

    def _note_gap(self) -> None:
        """Log what a reconnection may have lost."""
        if self._gap_since is None:
            return
        seconds = monotonic() - self._gap_since
        since = datetime.now(timezone.utc) - timedelta(seconds=seconds)
        logger.warning(
            "a gap of %.3f s: what was published since %s is lost to %s, which has subscribed again",
            seconds,
            since.isoformat(timespec="milliseconds"),
            type(self).__name__,
        )
        self._gap_since = None

    def close(self) -> None:
        """Disconnect."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def receive(self, timeout: float) -> Sequence[Delivery]:
        """Return what was published."""
        if self._early:
            deliveries, self._early = self._early, []
            return deliveries
        link = self._link
        assert link is not None, "receive() is for an open adapter"
        try:
            if not self.wait(timeout, link.socket):
                self._look_after(link)
                return ()
            replies = link.read()
        except self.connection_errors:
            if self._gap_since is None:
                self._gap_since = self._caught_up
            raise
        self._ping_sent = None
        now = self._heard = monotonic()
        if now - self._caught_up > CAUGHT_UP_INTERVAL and not self.wait(0, link.socket):
            self._caught_up = now
        return self._deliveries(replies)

    def _look_after(self, link: Link) -> None:
        """Note that nothing is left to be read, and ask a silent server whether it is there.

        What it sent last was read, so up to then nothing is lost. Of the silence since, only an
        answer to a PING tells that nothing was published.

        :raises redis.exceptions.TimeoutError: it did not answer.
        """
        self._caught_up = self._heard
        now, patience = monotonic(), self.health_check_interval
        if self._ping_sent is not None:
            if now - self._ping_sent > patience:
                link.close()
                raise exceptions.TimeoutError("Redis did not answer a PING")
        elif now - self._heard > patience:
            link.send(("PING",))
            self._ping_sent = now

    def _deliveries(self, replies: list[Any]) -> list[Delivery]:
        names = self._names
        deliveries: list[Delivery] = []
        for reply in replies:
            # This runs for every message, so the usual kind comes first (benchmarks/redis_pubsub).
            if reply.__class__ is not list:
                self._verify(reply)
            elif reply[0] == b"message":
                _, channel, data = reply
                name = names.get(channel) or self._decode(channel)
                deliveries.append(PubSubDelivery(data, name, reply))
            elif reply[0] == b"pmessage":
                _, _, channel, data = reply
                name = names.get(channel) or self._decode(channel)
                deliveries.append(PubSubDelivery(data, name, reply))
        return deliveries

    def _verify(self, reply: Any) -> None:
        if self._link is not None:
            self._link.verify(reply)

    def _decode(self, channel: bytes) -> str:
        if len(self._names) >= NAMES_KEPT:
            self._names.clear()
        name = self._names[channel] = decode(channel)
        return name

    def ack(self, message: M) -> None:
        """Do nothing: Redis has forgotten the message when it comes."""

    def nack(self, message: M) -> None:
        """Refuse; by its capabilities nobody calls this.

        :raises NackUnsupported: always.
        """
        raise NackUnsupported(message, self)
