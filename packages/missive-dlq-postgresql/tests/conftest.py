"""Make the modules beside this file, and their fixtures, known to the tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from postgresql_fixtures import database, own_server, server, store

__all__ = ["database", "own_server", "server", "store"]
