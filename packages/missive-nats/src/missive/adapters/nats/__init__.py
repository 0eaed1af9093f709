"""NATS: streams of JetStream, and plain subjects."""

from .__about__ import __version__
from .adapter import NATSAdapter
from .errors import NATSRefused, NATSUnavailable
from .lag import Lag
from .messages import StreamMessage, SubjectMessage
from .subjects import NATSSubjectAdapter

__all__ = [
    "__version__",
    "Lag",
    "NATSAdapter",
    "NATSRefused",
    "NATSSubjectAdapter",
    "NATSUnavailable",
    "StreamMessage",
    "SubjectMessage",
]
