"""Redis: Pub/Sub channels, and Streams in consumer groups."""

from .__about__ import __version__
from .deployments import RedisDeployment
from .entries import StreamEntry
from .errors import RedisRefused, RedisUnavailable
from .lag import Lag
from .pubsub import RedisPubSubAdapter
from .streams import RedisStreamsAdapter

__all__ = [
    "__version__",
    "Lag",
    "RedisDeployment",
    "RedisPubSubAdapter",
    "RedisRefused",
    "RedisStreamsAdapter",
    "RedisUnavailable",
    "StreamEntry",
]
