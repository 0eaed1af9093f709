"""The dotted names of the original documentation: ``missive.missive.Processor`` and so on."""

from .adapter import Adapter
from .contexts import HandlingContext, ProcessingContext
from .hooks import ProcessorHooks
from .letters import DLQ
from .messages import DictMessage, JSONMessage, M, Message, RawMessage
from .processor import Processor
from .state import State
from .testing import TestAdapter

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
