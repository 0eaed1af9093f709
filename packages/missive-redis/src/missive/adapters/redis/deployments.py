"""Deployments: Sentinel and clusters by URL, for the adapter that the URL's options are of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .pubsub import RedisPubSubAdapter
from .streams import RedisStreamsAdapter
from .urls import read_url

if TYPE_CHECKING:
    from missive import Processor


class RedisDeployment:
    """Builds an adapter from a URL of Sentinels or of a cluster."""

    @staticmethod
    def from_url(
        url: str, message_cls: Callable[[bytes], Any], processor: Processor[Any], **options: Any
    ) -> RedisStreamsAdapter[Any] | RedisPubSubAdapter[Any]:
        """Build the adapter of streams where ``streams`` is given, else that of Pub/Sub.

        From ``redis+sentinel://host:port,host:port/service/db?…`` or
        ``redis+cluster://host:port,host:port?…``; ``rediss+…`` is TLS.

        :raises ConfigurationError: the URL cannot be read.
        """
        given = {*options, *(name for name, _ in read_url(url).query)}
        cls = RedisStreamsAdapter if "streams" in given else RedisPubSubAdapter
        return cls.from_url(url, message_cls, processor, **options)
