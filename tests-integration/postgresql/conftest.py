"""A PostgreSQL server for these tests, as those of missive-dlq-postgresql have it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[2] / "packages/missive-dlq-postgresql/tests")
)

from postgresql_fixtures import database, own_server, server, store

__all__ = ["database", "own_server", "server", "store"]
