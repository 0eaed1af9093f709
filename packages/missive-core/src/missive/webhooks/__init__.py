"""Webhooks: how a request is judged and answered, whatever server it came by."""

from . import answers, challenges, senders, signatures
from .adapter import WebhookAdapter, WebhookOptions
from .answers import Answer, AnswerLike
from .forms import FormMessage
from .request import WebhookRequest
from .senders import Sender
from .verifying import SignatureVerifier, Verifier

__all__ = [
    "Answer",
    "AnswerLike",
    "FormMessage",
    "Sender",
    "SignatureVerifier",
    "Verifier",
    "WebhookAdapter",
    "WebhookOptions",
    "WebhookRequest",
    "answers",
    "challenges",
    "senders",
    "signatures",
]
