"""RabbitMQ: queues of AMQP 0-9-1, classic and quorum."""

from .__about__ import __version__
from .adapter import RabbitMQAdapter
from .errors import RabbitMQRefused, RabbitMQUnavailable
from .lag import Lag
from .queue_message import QueueMessage

__all__ = [
    "__version__",
    "Lag",
    "QueueMessage",
    "RabbitMQAdapter",
    "RabbitMQRefused",
    "RabbitMQUnavailable",
]
