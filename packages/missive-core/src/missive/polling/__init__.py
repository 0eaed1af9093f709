"""What the author of an adapter writes against."""

from ..callables import check_function
from ..error_notes import place_of
from ..headers import HeaderSource
from ..message import check_message_cls
from ..urls import read_flag, read_options
from .acks import AckTracker
from .adapter import PollingAdapter
from .options import PollingOptions, check_count, check_names, check_seconds
from .port import EndOfInput
from .push import PushAdapter
from .status import Status
from .wakeup import Wakeup

__all__ = [
    "AckTracker",
    "EndOfInput",
    "HeaderSource",
    "PollingAdapter",
    "PollingOptions",
    "PushAdapter",
    "Status",
    "Wakeup",
    "check_count",
    "check_function",
    "check_message_cls",
    "check_names",
    "check_seconds",
    "place_of",
    "read_flag",
    "read_options",
]
