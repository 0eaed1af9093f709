"""How these tests are distributed over processes."""

from __future__ import annotations

import pytest

#: Over how many processes the checks of a slow transport are spread; nearly all of it is waiting.
PARTS = 4


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of a class or module together, for they share a server, unless it is slow."""
    if config.getoption("dist", "no") != "loadgroup":
        return
    for number, item in enumerate(items):
        group = item.parent.nodeid if item.parent is not None else item.nodeid
        harness = getattr(getattr(item, "cls", None), "harness", None)
        if getattr(harness, "is_slow", False):
            group += f" {number % PARTS}"
        item.add_marker(pytest.mark.xdist_group(group))
