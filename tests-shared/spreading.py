"""Spread the checks that mostly wait over the processes of pytest-xdist."""

from __future__ import annotations

from typing import Any

import pytest

#: Classes of the kit that take minutes, nearly all of it waiting for a consumer group, and whose checks
#: share nothing that takes long to make.
SPREAD = ("::TestKafka::", "::TestTansu::", "::TestTansuWorkers::")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a class in one process, as ``--dist loadscope`` does, but for those classes."""
    if config.getoption("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Spreading(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            if any(name in nodeid for name in SPREAD):
                return nodeid
            scope: str = super()._split_scope(nodeid)
            return scope

    return Spreading(config, log)
