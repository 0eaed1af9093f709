"""Settings for the judgement of this repository's own adapters and DLQs."""

from __future__ import annotations

import os

import pytest
from missive.conformance.contract import check_of


def pytest_configure(config: pytest.Config) -> None:
    """Let a server be missing on a developer's machine, and only there."""
    if not os.environ.get("CI"):
        config.option.missive_allow_missing = True


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave slow transports, and handlers that are not plain, to the profiles that may take long.

    Where the tests of faults are asked for, mark what the quick profile leaves out as such. What
    kills and cuts is asked of coroutines and batches there where a suite ``meets_faults``, and of the
    other suites in the soak run.
    """
    if config.option.markexpr.startswith("soak"):
        for item in items:
            if _is_repeated(item):
                item.add_marker("soak")
        return
    repeated = [item for item in items if _is_repeated(item)]
    config.hook.pytest_deselected(items=repeated)
    items[:] = [item for item in items if not _is_repeated(item)]
    if config.option.markexpr.startswith("faults"):
        for item in items:
            check = check_of(getattr(item, "function", None))
            if check is not None and (check.profile != "quick" or _is_slow(item)):
                item.add_marker("faults")
        return
    if config.getoption("missive_profile") != "quick":
        return
    slow = [item for item in items if _is_slow(item)]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if not _is_slow(item)]


def _is_slow(item: pytest.Item) -> bool:
    harness = getattr(getattr(item, "cls", None), "harness", None)
    return getattr(harness, "is_slow", False) or _is_styled(item)


def _is_styled(item: pytest.Item) -> bool:
    return bool(getattr(getattr(item, "cls", None), "handlers", "plain") != "plain")


def _is_repeated(item: pytest.Item) -> bool:
    check = check_of(getattr(item, "function", None))
    meets_faults = getattr(getattr(item, "cls", None), "meets_faults", False)
    is_fault = check is not None and check.profile == "faults"
    return is_fault and _is_styled(item) and not meets_faults
