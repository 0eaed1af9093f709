"""Every public name is shown in code that runs, not only by its signature."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from public_names import PACKAGES, public_names

DOCS = Path(__file__).resolve().parents[1]

#: Code that the tests of the pages run.
BLOCK = re.compile(r"^```(?:\{code-block\} )?py(?:thon|con)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def shown() -> frozenset[str]:
    """Return every word of the code in the reference, its errors and the pages."""
    pages = [path for path in DOCS.rglob("*.md") if "_build" not in path.parts]
    blocks = [code for path in pages for code in BLOCK.findall(path.read_text(encoding="utf-8"))]
    return frozenset(word for block in blocks for word in re.findall(r"\w+", block))


SHOWN = shown()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_an_example_that_runs(package: str) -> None:
    """A name without code on a page, or in its docstring, is named here."""
    lacking = [
        name
        for name, value in public_names(package).items()
        if not name.startswith("__")
        and name not in SHOWN
        and ">>>" not in (inspect.getdoc(value) or "")
    ]
    assert lacking == []


def test_a_name_without_an_example_is_noticed() -> None:
    """A name that only a signature mentions is not taken for shown."""
    assert "autoclass" not in SHOWN
