"""Make the modules of the package's own tests, and their fixtures, known to the tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "packages/missive-kafka/tests"))

from kafka_fixtures import client, cluster, mock, tansu

__all__ = ["client", "cluster", "mock", "tansu"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what kills processes to the profile of faults: joining a group takes seconds."""
    if "faults" in config.getoption("missive_profile") or config.getoption("-m") == "soak":
        return
    here = Path(__file__).parent
    slow = [item for item in items if item.path.parent == here]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item.path.parent != here]
