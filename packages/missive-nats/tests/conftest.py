"""Make the modules beside this file, and their fixtures, known to the tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from nats_fixtures import client, make_server, program, server

__all__ = ["client", "make_server", "program", "server"]
