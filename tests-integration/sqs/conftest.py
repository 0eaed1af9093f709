"""Make the modules of the package's own tests, and their fixtures, known to the tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "packages/missive-sqs/tests"))

from sqs_fixtures import environment, fifo, make_queue, queue, server

__all__ = ["environment", "fifo", "make_queue", "queue", "server"]
