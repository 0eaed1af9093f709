"""Dead letters and deferred messages in a PostgreSQL database."""

from .__about__ import __version__
from .postgresql_dlq import PostgreSQLDLQ

__all__ = ["PostgreSQLDLQ", "__version__"]
