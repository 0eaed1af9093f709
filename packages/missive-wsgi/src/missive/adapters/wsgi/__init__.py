"""The WSGI adapter: a processor as a web application that receives webhooks."""

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
from .adapter import WSGIAdapter
from .delivery import RequestDelivery
from .errors import CannotListen

__all__ = [
    "CannotListen",
    "FormMessage",
    "RequestDelivery",
    "Sender",
    "Verifier",
    "WSGIAdapter",
    "WebhookRequest",
    "__version__",
    "answers",
    "challenges",
    "senders",
    "signatures",
]
