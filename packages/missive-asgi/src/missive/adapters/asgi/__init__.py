"""The ASGI adapter: a processor as a web application on an event loop that receives webhooks."""

from missive.webhooks import (
    FormMessage,
    Sender,
    Verifier,
    WebhookRequest,
    answers,
    challenges,
    senders,
    signatures,
)

from .__about__ import __version__
from .adapter import ASGIAdapter
from .delivery import ScopeDelivery

__all__ = [
    "ASGIAdapter",
    "FormMessage",
    "ScopeDelivery",
    "Sender",
    "Verifier",
    "WebhookRequest",
    "__version__",
    "answers",
    "challenges",
    "senders",
    "signatures",
]
