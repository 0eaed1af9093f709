"""Type-check the sources of all distributions with mypy and pyright, both strict.

They share one namespace in six source trees, which neither checker can read in one go. So each
tree is checked by itself, beside the wheels of all, which must be installed for this Python.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Check everything, also where something failed already.

    :returns: the status to exit with.
    """
    failed = False
    for source in sorted(ROOT.glob("packages/*/src")):
        print(f"mypy {source.relative_to(ROOT)}", flush=True)
        failed |= run("mypy", str(source), MYPYPATH=str(source))
    failed |= run("mypy", "conftest.py", "tools")
    print("pyright", flush=True)
    failed |= run("pyright", "--pythonpath", sys.executable)
    return int(failed)


def run(module: str, *arguments: str, **variables: str) -> bool:
    """Run a checker as a module of this Python.

    :param module: its name.
    :param arguments: its arguments.
    :param variables: environment variables that it needs.
    :returns: whether it found anything to complain about.
    """
    command = [sys.executable, "-m", module, *arguments]
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0


if __name__ == "__main__":
    sys.exit(main())
