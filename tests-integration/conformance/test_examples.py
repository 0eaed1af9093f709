"""What third parties write, by the documentation alone: judged outside of the repository."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path.parent for path in ROOT.glob("examples/*/test_*.py"))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the wheels of the core and of the kit install."""
    built = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, ROOT / "tools" / "build_wheels.py", built]
    subprocess.run(command, check=True, capture_output=True)
    installed = tmp_path_factory.mktemp("installed")
    for name in ("missive_core", "missive_conformance"):
        (wheel,) = built.glob(f"{name}-*.whl")
        with ZipFile(wheel) as archive:
            archive.extractall(installed)
    return installed


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_passes(example: Path, wheels: Path, tmp_path: Path) -> None:
    """An example passes the kit in a folder of its own, beside nothing but the wheels."""
    folder = tmp_path / example.name
    shutil.copytree(example, folder, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MISSIVE_")},
        "PYTHONPATH": str(wheels),
    }
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:asyncio", "."],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    report = json.loads((folder / "conformance.json").read_text())
    (subject,) = report["subjects"].values()
    outcomes = {row["outcome"] for row in subject["checks"].values()}
    assert outcomes == {"passed", "skipped"}


def test_there_are_examples() -> None:
    """There is something of a third party's to be judged."""
    assert EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_a_harness_is_short(example: Path) -> None:
    """The documented harness, with its imports and its suite, takes no more than 35 lines."""
    (test,) = example.glob("test_*.py")
    lines = test.read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) <= 35
