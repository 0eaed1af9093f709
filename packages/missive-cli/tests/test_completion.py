"""Help, version and shell completion."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import click
import pytest
from missive.cli import __version__
from missive.cli import missive as root


def commands(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the paths of all commands below one, and its own."""
    below = command.commands.items() if isinstance(command, click.Group) else ()
    return [path, *(found for name, sub in below for found in commands(sub, (*path, name)))]


@pytest.mark.parametrize("path", commands(root), ids=" ".join)
def test_every_command_explains_itself_with_an_example(missive, path):
    """``--help`` of every command has a worked example, and every option says what it does."""
    done = missive(*path, "--help")
    assert done.returncode == 0
    assert f"missive {' '.join(path)}".rstrip() in done.stdout.split("Usage:")[1].split("\n", 2)[2]


@pytest.mark.parametrize("path", commands(root), ids=" ".join)
def test_every_option_has_help(path):
    """No option is left unexplained."""
    command: click.Command = root
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    silent = [
        parameter.name
        for parameter in command.params
        if isinstance(parameter, click.Option)
        and not parameter.help
        and not isinstance(parameter.type, click.Choice)
    ]
    assert silent == []


def test_the_version_is_told(missive):
    """``--version`` gives the version of the distribution."""
    assert missive("--version").stdout == f"missive, version {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_writes_the_script_of_a_shell(missive, shell):
    """``completion`` writes what the shell is to evaluate."""
    done = missive("completion", shell)
    assert done.returncode == 0
    assert "_MISSIVE_COMPLETE" in done.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands(project):
    """A bash that evaluated the script completes the commands' names."""
    script = Path(sysconfig.get_path("scripts")) / "missive"
    lines = (
        f"PATH={script.parent}:$PATH\n"
        'eval "$(missive completion bash)"\n'
        "COMP_WORDS=(missive hand)\n"
        "COMP_CWORD=1\n"
        "_missive_completion missive\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "-c", lines],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == "handlers\n", done.stderr


def test_the_script_and_the_module_are_one_command(missive):
    """``missive`` and ``python -m missive.cli`` are the same."""
    script = Path(sysconfig.get_path("scripts")) / "missive"
    done = subprocess.run(
        [sys.executable, script, "--version"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == missive("--version").stdout
