"""Programs of users, as type checkers see them beside the installed distribution.

The checkers are installed by the tox environment "types" alone, since they cannot follow the
namespace through editable installs.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="type checkers are there in ./dev types")

SAMPLES = sorted(Path(__file__).parent.joinpath("samples").glob("*.py"))


@pytest.fixture(params=SAMPLES, ids=lambda path: path.stem)
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Copy a program to where no configuration but the test's own is found."""
    return Path(shutil.copy(request.param, tmp_path))


def refused_lines(sample: Path) -> set[int]:
    lines = sample.read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}


def run(sample: Path, module: str, *arguments: str) -> str:
    command = [sys.executable, "-m", module, *arguments, sample.name]
    done = subprocess.run(command, cwd=sample.parent, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def test_mypy_reports_exactly_the_mistakes_in_a_users_program(sample: Path) -> None:
    """mypy --strict accepts a right program, and reports each mistake of a wrong one."""
    output = run(sample, "mypy", "--strict", "--output=json")
    errors = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert {error["line"] for error in errors} == refused_lines(sample), output


def test_pyright_reports_exactly_the_mistakes_in_a_users_program(sample: Path) -> None:
    """Strict pyright accepts a right program, and reports each mistake of a wrong one."""
    settings = {"typeCheckingMode": "strict", "include": [sample.name]}
    sample.with_name("pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=sample.parent, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    errors = report["generalDiagnostics"]
    lines = {error["range"]["start"]["line"] + 1 for error in errors}
    assert lines == refused_lines(sample), done.stdout
