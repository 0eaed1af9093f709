"""The code in the READMEs, and the example that the first command runs, as a newcomer meets them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(readme: str, language: str) -> list[str]:
    text = ROOT.joinpath(readme).read_text(encoding="utf-8")
    return [code for found, code in BLOCK.findall(text) if found == language]


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command line as it stands, with this Python as the one called ``python``."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_readme_shows_missive_in_twelve_lines() -> None:
    """The first thing a reader sees is one program of at most twelve lines of code."""
    (program,) = blocks("README.md", "python")
    assert len([line for line in program.splitlines() if line]) <= 12


def test_the_readmes_program_answers_as_shown(tmp_path: Path) -> None:
    """The README's program, pasted into a file, prints what the README says it prints."""
    (program,) = blocks("README.md", "python")
    command, expected = blocks("README.md", "console")[0].removeprefix("$ ").split("\n", 1)
    tmp_path.joinpath("greeter.py").write_text(program, encoding="utf-8")
    done = shell(command, tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (expected, "", 0)


def test_the_readmes_message_fails_and_is_replayed(tmp_path: Path) -> None:
    """The README's commands keep a failed message, show its error, and replay it after the fix."""
    (program,) = blocks("README.md", "python")
    tmp_path.joinpath("greeter.py").write_text(program, encoding="utf-8")
    said = ""
    for block in blocks("README.md", "console")[1:3]:
        for line in block.splitlines():
            if line.startswith("$ "):
                done = shell(line.removeprefix("$ "), tmp_path)
                assert done.returncode == 0, done.stderr
                said += done.stdout + done.stderr
            elif "..." not in line:  # that stands for anything
                assert line in said
    assert "KeyError" in said


@pytest.mark.parametrize("program", blocks("packages/missive-core/README.md", "python"))
def test_the_cores_readme_runs(program: str, tmp_path: Path) -> None:
    """The program in the core's README, pasted into a file, greets and ends."""
    tmp_path.joinpath("program.py").write_text(program, encoding="utf-8")
    done = shell("echo Hello | python program.py", tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("Hello whoever you are\n", "", 0)


def test_the_example_handles_all_lines_of_the_first_command() -> None:
    """The README's first command greets twice, says what it could not handle, and succeeds."""
    (command,) = [
        line.removeprefix("$ ")
        for block in blocks("README.md", "console")
        for line in block.splitlines()
        if "./dev example" in line
    ]
    done = shell(command.replace("./dev example", "python examples/hello_processor.py"), ROOT)
    assert done.stdout == "Hello whoever you are\n" * 2
    assert "NoMatchingHandler" in done.stderr
    assert "Nope" not in done.stderr
    assert done.returncode == 0
