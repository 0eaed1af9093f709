"""Make the modules beside this file, and those of the package's own tests, known to the tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "packages/missive-redis/tests"))

from redis_fixtures import SERVERS, client, make_server, pick_server, server, shared_server

__all__ = ["client", "make_server", "program", "server", "shared_server"]

#: Faults take their time, so only CI meets them with every server.
PROGRAMS = list(SERVERS) if os.environ.get("CI") else list(SERVERS)[:1]


@pytest.fixture(scope="session", params=PROGRAMS or ["no server"])
def program(request: pytest.FixtureRequest) -> str:
    """Return the server programs in turn."""
    return pick_server(request.param)
