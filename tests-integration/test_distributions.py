"""What the wheels of all distributions hold, taken together."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Build the wheels, and give the paths in each by the name of its distribution."""
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, ROOT / "tools" / "build_wheels.py", folder]
    subprocess.run(command, check=True, capture_output=True)
    paths = {}
    for wheel in folder.glob("*.whl"):
        with ZipFile(wheel) as archive:
            paths[wheel.name.partition("-")[0].replace("_", "-")] = set(archive.namelist())
    return paths


def test_every_package_builds_a_wheel(shipped: dict[str, set[str]]) -> None:
    """Each folder of packages/ builds one wheel, of its own name."""
    assert set(shipped) == {path.parent.name for path in ROOT.glob("packages/*/pyproject.toml")}


def test_no_two_wheels_ship_the_same_path(shipped: dict[str, set[str]]) -> None:
    """Any choice of distributions installs side by side, in any order."""
    owners = defaultdict(set)
    for distribution, paths in shipped.items():
        for path in paths:
            owners[path].add(distribution)
    shared = {path: names for path, names in owners.items() if len(names) > 1}
    assert not shared


def test_only_the_core_ships_the_files_that_make_the_namespace(
    shipped: dict[str, set[str]],
) -> None:
    """The core has missive/__init__.py, and nobody has one in the folders that all share."""
    owners = {
        path: {name for name, paths in shipped.items() if path in paths}
        for path in (
            "missive/__init__.py",
            "missive/adapters/__init__.py",
            "missive/dlq/__init__.py",
        )
    }
    assert owners == {
        "missive/__init__.py": {"missive-core"},
        "missive/adapters/__init__.py": set(),
        "missive/dlq/__init__.py": set(),
    }


def test_every_module_is_marked_as_typed(shipped: dict[str, set[str]]) -> None:
    """Type checkers find a marker in the folder of every module or above it.

    pyright looks for it in each folder that is a package or part of a namespace, but a marker
    above a folder without ``__init__.py`` does not count for it.
    """
    for distribution, paths in shipped.items():
        markers = {path.removesuffix("/py.typed") for path in paths if path.endswith("/py.typed")}
        packages = {
            path.removesuffix("/__init__.py") for path in paths if path.endswith("/__init__.py")
        }
        for module in (path for path in paths if path.endswith(".py")):
            folder = str(Path(module).parent)
            while folder not in markers:
                assert folder in packages, f"{module} of {distribution} is not marked as typed"
                folder = str(Path(folder).parent)


def test_every_wheel_brings_its_licence(shipped: dict[str, set[str]]) -> None:
    """Each wheel carries its licence."""
    for distribution, paths in shipped.items():
        assert any(path.endswith("/licenses/LICENSE") for path in paths), distribution
