"""Make the modules beside this file, and their fixtures, known to the tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from kafka_fixtures import client, cluster, mock, tansu

__all__ = ["client", "cluster", "mock", "tansu"]
