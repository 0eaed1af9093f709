"""Missive: a framework for message processors."""

# The adapters and dead letter stores of other distributions live under this package too.
__path__ = __import__("pkgutil").extend_path(__path__, __name__)

from .__about__ import __version__
from .adapter import Adapter, Runnable
from .adapters.deferred import DeferredAdapter
from .adapters.replay import ReplayAdapter
from .adapters.stdin import StdinAdapter
from .batch import BatchContext
from .breaker import Breaker
from .capabilities import Capabilities
from .delivery import Delivery, Envelope, EnvelopeFields, Stage
from .errors import (
    ConfigurationError,
    DeadLetterStoreError,
    DeadLetterWriteFailed,
    DecodingError,
    DrainTimeout,
    MessageError,
    MissiveError,
    SettlementFailed,
    TransportError,
    UnknownScheme,
)
from .handling import HandlingContext, Outcome
from .headers import Headers
from .hooks import ProcessorHooks
from .ids import format_id, parse_id
from .keys import (
    NO_KEY,
    KeyedMatcher,
    KeyFamily,
    route_on,
    route_on_header,
    route_on_json,
    route_on_source,
)
from .letters import DLQ, DeadLetter, DeadLetterStore, MemoryDLQ
from .matching import Explanation, Handler, Matcher, otherwise
from .message import DictMessage, JSONMessage, M, Message, RawMessage
from .processor import (
    AroundHandlingHook,
    AroundProcessingHook,
    BatchHandlerFunction,
    HandlerFunction,
    HandlingHook,
    ProcessingHook,
    Processor,
)
from .retry import Retry
from .run import ProcessingContext
from .shutdown_handler import ShutdownHandler
from .state import State
from .testing import TestAdapter
from .urls import adapter_from_url, dlq_from_url, from_url

__all__ = [
    "DLQ",
    "NO_KEY",
    "Adapter",
    "AroundHandlingHook",
    "AroundProcessingHook",
    "BatchContext",
    "BatchHandlerFunction",
    "Breaker",
    "Capabilities",
    "ConfigurationError",
    "DeadLetter",
    "DeadLetterStore",
    "DeadLetterStoreError",
    "DeadLetterWriteFailed",
    "DecodingError",
    "DeferredAdapter",
    "Delivery",
    "DictMessage",
    "DrainTimeout",
    "Envelope",
    "EnvelopeFields",
    "Explanation",
    "Handler",
    "HandlerFunction",
    "HandlingContext",
    "HandlingHook",
    "Headers",
    "JSONMessage",
    "KeyFamily",
    "KeyedMatcher",
    "M",
    "Matcher",
    "MemoryDLQ",
    "Message",
    "MessageError",
    "MissiveError",
    "Outcome",
    "ProcessingContext",
    "ProcessingHook",
    "Processor",
    "ProcessorHooks",
    "RawMessage",
    "ReplayAdapter",
    "Retry",
    "Runnable",
    "SettlementFailed",
    "ShutdownHandler",
    "Stage",
    "State",
    "StdinAdapter",
    "TestAdapter",
    "TransportError",
    "UnknownScheme",
    "__version__",
    "adapter_from_url",
    "dlq_from_url",
    "format_id",
    "from_url",
    "otherwise",
    "parse_id",
    "route_on",
    "route_on_header",
    "route_on_json",
    "route_on_source",
]
