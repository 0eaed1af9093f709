"""What the author of an adapter writes against."""

from .acks import AckTracker
from .adapter import PollingAdapter
from .options import PollingOptions
from .port import EndOfInput
from .push import PushAdapter
from .status import Status
from .wakeup import Wakeup

__all__ = [
    "AckTracker",
    "EndOfInput",
    "PollingAdapter",
    "PollingOptions",
    "PushAdapter",
    "Status",
    "Wakeup",
]
