"""Kafka: topics in a consumer group, in parallel by key."""

from .__about__ import __version__
from .adapter import AssignedPartition, KafkaAdapter, Ordering
from .errors import KafkaRefused, KafkaUnavailable
from .lag import Lag
from .record import Record
from .settings import Start

__all__ = [
    "__version__",
    "AssignedPartition",
    "KafkaAdapter",
    "KafkaRefused",
    "KafkaUnavailable",
    "Lag",
    "Ordering",
    "Record",
    "Start",
]
