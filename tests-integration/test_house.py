"""Rules of this repository that no linter knows."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_every_test_says_in_its_docstring_what_holds() -> None:
    """Each test function has a docstring, whatever folder it is in."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for pattern in ("packages/*/tests/**/*.py", "tests-integration/**/*.py", "docs/**/*.py")
        for path in sorted(ROOT.glob(pattern))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert not silent


def test_every_distribution_has_its_papers() -> None:
    """Each package has a README and a changelog of its own, and the licence of the whole."""
    licence = ROOT.joinpath("LICENSE").read_text(encoding="utf-8")
    for project in ROOT.glob("packages/*/pyproject.toml"):
        package = project.parent
        assert package.joinpath("LICENSE").read_text(encoding="utf-8") == licence
        for name in ("README.md", "CHANGELOG.md"):
            assert (
                package.name in package.joinpath(name).read_text(encoding="utf-8").splitlines()[0]
            )


def test_the_readme_lists_every_distribution() -> None:
    """The README's table has a row for each package that there is."""
    readme = ROOT.joinpath("README.md").read_text(encoding="utf-8")
    for project in ROOT.glob("packages/*/pyproject.toml"):
        assert f"| [{project.parent.name}]" in readme


def test_the_words_are_checked() -> None:
    """A phrase to avoid is reported with its line and what to write instead."""
    phrase = "as many as by " + "itself"
    program = f"import plain_words; print(plain_words.faults('fine\\n{phrase}'))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT / "tools",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"[(2, '{phrase}', 'its default')]\n"


def test_every_distribution_states_the_same_addresses() -> None:
    """The documentation, the source and the changelog are where the core's metadata says."""
    urls = {
        project.parent.name: project.read_text(encoding="utf-8")
        .partition("[project.urls]\n")[2]
        .partition("\n\n")[0]
        for project in ROOT.glob("packages/*/pyproject.toml")
    }
    core = urls["missive-core"]
    assert "Documentation = " in core
    for name, stated in urls.items():
        assert stated == core.replace("missive-core", name), name
