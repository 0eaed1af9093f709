"""Settings for the judgement of this repository's own adapters and DLQs."""

from __future__ import annotations

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Let a server be missing on a developer's machine, and only there."""
    if not os.environ.get("CI"):
        config.option.missive_allow_missing = True
