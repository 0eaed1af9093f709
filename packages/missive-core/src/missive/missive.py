"""The dotted names of the original documentation: ``missive.missive.Processor`` and so on."""

from .adapter import Adapter
from .handling import HandlingContext
from .hooks import ProcessorHooks
from .letters.store import DLQ
from .message import DictMessage, JSONMessage, M, Message, RawMessage
from .processor import Processor
from .run import ProcessingContext
from .state import State
from .testing.client import TestAdapter

__all__ = [
    "DLQ",
    "Adapter",
    "DictMessage",
    "HandlingContext",
    "JSONMessage",
    "M",
    "Message",
    "ProcessingContext",
    "Processor",
    "ProcessorHooks",
    "RawMessage",
    "State",
    "TestAdapter",
]
