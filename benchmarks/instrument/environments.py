"""Environments: what is measured, installed as its users install it, each by itself."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parent.parent
ROOT = BENCHMARKS.parent
REQUIREMENTS = BENCHMARKS / "requirements"
ENVIRONMENTS = BENCHMARKS / ".envs"
#: The environment that holds what this tree is, beside the libraries that it stands on.
MISSIVE = "missive"

#: Variables that change how Python runs. Some development machines set one or the other, and a
#: user's do not: without its .pyc files an import takes several times as long.
FOREIGN_VARIABLES = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


def environment_variables() -> dict[str, str]:
    """Return the variables that everything measured runs with."""
    return {name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES}


def python_of(name: str) -> Path:
    """Return the interpreter of an environment."""
    return ENVIRONMENTS / name / "bin" / "python"


def make(name: str) -> None:
    """Make an environment, unless it is there and stands for what it should.

    :param name: of the file in ``requirements/`` that pins what belongs into it.
    :raises subprocess.CalledProcessError: when something cannot be installed.
    """
    requirements = REQUIREMENTS / f"{name}.txt"
    sources = sorted(ROOT.glob("packages/*/src/**/*.py")) if name == MISSIVE else []
    projects = sorted(ROOT.glob("packages/*/pyproject.toml")) if name == MISSIVE else []
    digest = hashlib.sha256(sys.version.encode())
    for path in (requirements, *projects, *sources):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    folder = ENVIRONMENTS / name
    stamp = folder / "made-of"
    if stamp.is_file() and stamp.read_text() == digest.hexdigest():
        return
    print(f"making the environment {name!r}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    _uv("venv", "--python", sys.executable, str(folder))
    install = ("pip", "install", "--compile-bytecode", "--python", str(python_of(name)))
    _uv(*install, "--requirement", str(requirements))
    if name == MISSIVE:
        wheels = ENVIRONMENTS / "wheels"
        subprocess.run(
            [sys.executable, str(ROOT / "tools" / "build_wheels.py"), str(wheels)],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        _uv(*install, "--no-deps", *map(str, sorted(wheels.glob("*.whl"))))
    stamp.write_text(digest.hexdigest())


def versions(name: str) -> dict[str, str]:
    """Return the version of each distribution in an environment."""
    listed = _uv("pip", "list", "--format", "json", "--python", str(python_of(name)))
    return {entry["name"]: entry["version"] for entry in json.loads(listed)}


def _uv(*arguments: str) -> str:
    # A checkout and the cache may be on different file systems, which uv warns of at length.
    done = subprocess.run(
        [sys.executable, "-m", "uv", "--quiet", *arguments],
        env={**environment_variables(), "UV_LINK_MODE": "copy"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout
