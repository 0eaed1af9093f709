"""Code in docstrings runs, as code in pages does."""

from __future__ import annotations

import ast
import doctest
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(ROOT.glob("packages/*/src/**/*.py"))
#: What would be shown as code by Sphinx and is no example that doctest runs.
UNRUN = re.compile(r"::\s*$|^\s*\.\. (?:code|code-block|sourcecode)::|^\s*```", re.MULTILINE)
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def docstrings(source: str) -> Iterator[tuple[str, int]]:
    """Return the docstrings of a module, each with the line of what it describes."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED):
            docstring = ast.get_docstring(node)
            if docstring:
                yield docstring, getattr(node, "lineno", 1)


def problems(source: str, name: str) -> list[str]:
    """Return what is wrong with the code in the docstrings of a module."""
    found: list[str] = []
    for docstring, line in docstrings(source):
        where = f"{name}:{line}"
        if UNRUN.search(docstring):
            found.append(f"{where}: code that nothing runs; write it with >>>, or in a page")
        test = doctest.DocTestParser().get_doctest(docstring, {}, where, name, line)
        doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS).run(
            test, out=found.append
        )
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_in_docstrings_runs(path: Path) -> None:
    """Every example in a docstring gives what stands below it, and there is no other code."""
    assert problems(path.read_text(encoding="utf-8"), path.name) == []


@pytest.mark.parametrize(
    "docstring",
    [">>> 1 + 1\n3", "For example::\n\n    run()", ".. code-block:: python\n\n   run()"],
)
def test_code_that_does_not_run_is_found(docstring: str) -> None:
    """An example that is wrong, and code that is no example, are both reported."""
    assert problems(f"def f():\n    {docstring!r}\n", "sample.py")
