"""Settings for the tests of all packages."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

pytest_plugins = ["spreading"]
pytest.register_assert_rewrite(
    "deferred_suite", "patience", "recorder", "running", "store_suite", "webhook_suite"
)

# A shared machine may be slow at any moment, so no example has a deadline of its own.
settings.register_profile("quick", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("soak", deadline=None, max_examples=5000)
settings.load_profile("ci" if os.environ.get("CI") else "quick")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of ``./dev soak``."""
    group = parser.getgroup("soak", "Missive's long runs under load and faults")
    group.addoption(
        "--soak-minutes",
        type=float,
        default=60.0,
        help="how long each transport is soaked, in minutes (default: 60)",
    )
    group.addoption("--soak-seed", type=int, default=1, help="decides which faults there are")
    group.addoption(
        "--soak-report",
        default="benchmarks/results/soak",
        metavar="FOLDER",
        help="where reports and plots go (default: benchmarks/results/soak)",
    )


@pytest.fixture(autouse=True)
def _same_log_level() -> Iterator[None]:
    """Set the level back that a test, or a page of the documentation, gives Missive's logger."""
    logger = logging.getLogger("missive")
    level = logger.level
    yield
    logger.setLevel(level)
