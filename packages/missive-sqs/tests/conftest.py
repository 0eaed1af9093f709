"""Make the modules beside this file, and their fixtures, known to the tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from sqs_fixtures import environment, fifo, make_queue, queue, server

__all__ = ["environment", "fifo", "make_queue", "queue", "server"]
