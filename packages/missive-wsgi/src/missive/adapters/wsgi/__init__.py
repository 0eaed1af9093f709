"""The WSGI adapter: a processor as a web application that receives webhooks."""

from . import signatures
from .__about__ import __version__
from .adapter import WSGIAdapter
from .delivery import RequestDelivery
from .errors import CannotListen
from .signatures import Verifier

__all__ = [
    "CannotListen",
    "RequestDelivery",
    "Verifier",
    "WSGIAdapter",
    "__version__",
    "signatures",
]
