"""Dead letters and deferred messages in a PostgreSQL database."""

from .__about__ import __version__
from .connections import Pool
from .postgresql_dlq import PostgreSQLDLQ

__all__ = ["Pool", "PostgreSQLDLQ", "__version__"]
