"""Make the modules of the package's own tests, and their fixtures, known to the tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "packages/missive-kafka/tests"))

from kafka_fixtures import client, cluster, mock, tansu

__all__ = ["client", "cluster", "mock", "tansu"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what kills processes to the tests of faults: joining a group takes seconds."""
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here:
            item.add_marker("faults")
