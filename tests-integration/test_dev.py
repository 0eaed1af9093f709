"""What ./dev says before it installs anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def dev(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ./dev by this Python."""
    return subprocess.run(
        [sys.executable, ROOT / "dev", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_lists_every_command_that_contributing_tells_of() -> None:
    """What CONTRIBUTING.md names is there, with a line of help."""
    done = dev("--help")
    told = ROOT.joinpath("CONTRIBUTING.md").read_text(encoding="utf-8").split("./dev ")[1:]
    named = {rest.split()[0].strip("`,.;:|") for rest in told} - {"--help"}
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert named
    assert named <= listed
    assert (done.stderr, done.returncode) == ("", 0)


def test_an_unknown_command_gets_one_clear_line() -> None:
    """It names the offender and the remedy, on standard error, and fails."""
    done = dev("tset")
    assert (done.stdout, done.returncode) == ("", 2)
    assert done.stderr == "dev: there is no command 'tset'. ./dev --help lists them all.\n"


def test_no_command_gets_the_help_and_a_failure() -> None:
    """A script that forgot the command does not go on as if something had run."""
    done = dev()
    assert done.stdout.startswith("usage: ./dev COMMAND")
    assert done.returncode == 2
