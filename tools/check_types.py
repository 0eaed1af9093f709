"""Type-check the sources, the examples and the code of the documentation with mypy and pyright.

The distributions share one namespace in several source trees, which neither checker can read in
one go. So each tree is checked by itself, strictly, beside the wheels of all, which must be
installed for this Python. What readers copy is checked as their editor does by default.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from documented_code import write_code

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Check everything, also where something failed already.

    :returns: the status to exit with.
    """
    failed = False
    for source in sorted(ROOT.glob("packages/*/src")):
        print(f"mypy {source.relative_to(ROOT)}", flush=True)
        failed |= run("mypy", str(source), MYPYPATH=str(source))
    failed |= run("mypy", "conftest.py", "tools", MYPYPATH="tools")
    print("pyright", flush=True)
    failed |= run("pyright", "--pythonpath", sys.executable)
    with tempfile.TemporaryDirectory() as folder:
        failed |= check_documented(Path(folder))
    return int(failed)


def check_documented(folder: Path) -> bool:
    """Check the examples and the code of the documentation.

    :param folder: an empty folder, to work in.
    :returns: whether there was anything to complain about.
    """
    failed = False
    roots = write_code(folder)
    lenient = [
        "--config-file=",
        "--check-untyped-defs",
        "--ignore-missing-imports",
        "--explicit-package-bases",
        "--no-strict-optional",
        "--disable-error-code=var-annotated",
        "--disable-error-code=no-redef",  # the programs of a page are one module here
        f"--cache-dir={folder}/.cache",
    ]
    for root in roots:
        print(f"mypy {root.relative_to(folder)}", flush=True)
        failed |= run("mypy", *lenient, ".", cwd=root)
    settings = {
        "typeCheckingMode": "standard",
        "reportFunctionMemberAccess": False,
        "reportMissingImports": False,
        "reportOptionalCall": False,
        "reportOptionalMemberAccess": False,
        "reportOptionalSubscript": False,
        "reportRedeclaration": False,
        "executionEnvironments": [{"root": str(root.relative_to(folder))} for root in roots],
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    print("pyright on the documentation", flush=True)
    return failed | run("pyright", "--pythonpath", sys.executable, cwd=folder)


def run(module: str, *arguments: str, cwd: Path = ROOT, **variables: str) -> bool:
    """Run a checker as a module of this Python.

    :param module: its name.
    :param arguments: its arguments.
    :param cwd: the folder to run it in.
    :param variables: environment variables that it needs.
    :returns: whether there was anything to complain about.
    """
    command = [sys.executable, "-m", module, *arguments]
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=cwd, env=environment, check=False).returncode != 0


if __name__ == "__main__":
    sys.exit(main())
