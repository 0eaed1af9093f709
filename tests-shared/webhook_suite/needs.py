"""What a machine may lack: a test that needs it is skipped there, and fails in CI."""

from __future__ import annotations

import importlib.util
import os

import pytest


def need(module: str) -> None:
    """Skip a test without a module it needs; fail it in CI."""
    if importlib.util.find_spec(module) is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{module} is not installed")
        pytest.skip(f"{module} is not installed")
