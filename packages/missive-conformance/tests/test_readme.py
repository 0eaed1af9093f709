"""The README: its adapter passes the kit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_readmes_adapter_passes(pytester: pytest.Pytester) -> None:
    """The adapter and the harness of the README are whole, and pass the quick profile."""
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    pytester.makepyfile(test_deque=program)
    result = pytester.runpytest_inprocess("-W", "error", "-p", "no:asyncio")
    assert result.ret == 0
    assert result.parseoutcomes()["passed"] > 40
