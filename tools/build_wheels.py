"""Build the wheel of every distribution, and a list that pins each name to its file.

Given to an installer as constraints, that list makes sure that a distribution comes from this
tree and never from an index.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

PACKAGES = Path(__file__).resolve().parent.parent / "packages"


def build_wheels(folder: Path) -> dict[str, Path]:
    """Build the wheels into a folder that holds nothing else afterwards.

    :param folder: where they go; wheels of former builds in it are removed.
    :returns: the path of each wheel by the name of its distribution.
    :raises subprocess.CalledProcessError: when a build fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for former in folder.glob("missive_*.whl"):
        former.unlink()
    wheels: dict[str, Path] = {}
    for project in sorted(PACKAGES.glob("*/pyproject.toml")):
        package = project.parent
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
            cwd=package,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        (wheels[package.name],) = folder.glob(f"{package.name.replace('-', '_')}-*.whl")
    return wheels


def main() -> None:
    """Build into the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the wheels and constraints.txt go")
    folder = parser.parse_args().folder.resolve()
    wheels = build_wheels(folder)
    lines = [f"{name} @ {wheel.as_uri()}\n" for name, wheel in wheels.items()]
    (folder / "constraints.txt").write_text("".join(lines), encoding="utf-8")
    for wheel in wheels.values():
        print(wheel)


if __name__ == "__main__":
    main()
