"""Make the modules of the package's own tests, and their fixtures, known to the tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "packages/missive-nats/tests"))

from nats_fixtures import client, make_server, program, server

__all__ = ["client", "make_server", "program", "server"]
