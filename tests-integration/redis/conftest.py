"""Make the modules beside this file, and those of the package's own tests, known to the tests."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "packages" / "missive-redis" / "tests")]

from redis_fixtures import client, make_server, program, server, shared_server

__all__ = ["client", "make_server", "program", "server", "shared_server"]
