"""Amazon SQS: standard and FIFO queues."""

from .__about__ import __version__
from .adapter import SQSAdapter
from .errors import SQSRefused, SQSUnavailable
from .lag import Lag
from .sqs_message import SQSMessage

__all__ = [
    "__version__",
    "Lag",
    "SQSAdapter",
    "SQSMessage",
    "SQSRefused",
    "SQSUnavailable",
]
