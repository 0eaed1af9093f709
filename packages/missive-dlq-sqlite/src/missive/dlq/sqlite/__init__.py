"""Dead letters in an SQLite database."""

from .__about__ import __version__
from .sqlite_dlq import SQLiteDLQ

__all__ = ["SQLiteDLQ", "__version__"]
