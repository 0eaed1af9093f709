"""The dotted names of the original documentation: ``missive.missive.Processor`` and so on."""

from .adapter import Adapter
from .handling import HandlingContext
from .hooks import ProcessorHooks
from .letters.store import DLQ
from .matching import Handler, Matcher
from .message import DictMessage, JSONMessage, M, Message, RawMessage
from .processor import HandlingHook, ProcessingHook, Processor
from .run import ProcessingContext
from .state import State
from .testing.client import TestAdapter

__all__ = [
    "DLQ",
    "Adapter",
    "DictMessage",
    "Handler",
    "HandlingContext",
    "HandlingHook",
    "JSONMessage",
    "M",
    "Matcher",
    "Message",
    "ProcessingContext",
    "ProcessingHook",
    "Processor",
    "ProcessorHooks",
    "RawMessage",
    "State",
    "TestAdapter",
]
