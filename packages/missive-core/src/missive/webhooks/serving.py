"""What the author of an adapter for another kind of server writes against."""

from .adapter import WebhookAdapter, WebhookOptions
from .delivery import WebhookDelivery
from .framing import ABSURD_DIGITS, TO_END, length_of
from .inbox import Inbox, store_of
from .reception import Reception

__all__ = [
    "ABSURD_DIGITS",
    "TO_END",
    "Inbox",
    "Reception",
    "WebhookAdapter",
    "WebhookDelivery",
    "WebhookOptions",
    "length_of",
    "store_of",
]
