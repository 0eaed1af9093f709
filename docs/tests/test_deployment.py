"""The unit file and the container file of the documentation fit the commands that they run."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from reading.blocks import Block, BlockParser
from sybil import Sybil

PAGE = Path(__file__).resolve().parents[1] / "guide/production.md"
TRANSPORT = "redis+streams://localhost:6379/0?streams=orders&group=shipping"


def blocks() -> dict[str, Block]:
    """Return the blocks of the page that are files, by their names."""
    document = Sybil(parsers=[BlockParser(lambda example: None)]).parse(PAGE)
    return {example.parsed.caption: example.parsed for example in document.examples()}


@pytest.fixture
def check(venv: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Return a function that has the command say what would be in effect, in the page's folder."""
    distributions = ["missive-cli", "missive-redis", "missive-dlq-sqlite"]
    subprocess.run([venv / "pip", "install", "--quiet", *distributions], check=True)
    tmp_path.joinpath("app.py").write_text(blocks()["app.py"].source, encoding="utf-8")

    def call(arguments: list[str], **environment: str) -> str:
        local = [
            argument.replace("sqlite:////data/", "sqlite:///").replace(
                "sqlite:////var/lib/shipping/", "sqlite:///"
            )
            for argument in arguments
        ]
        command = [venv / "missive", *local, "--check"]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def settings(unit: str) -> dict[str, str]:
    """Return the settings of a unit file by name, continued lines joined."""
    lines = unit.replace("\\\n", " ").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def test_the_units_command_is_one_that_works(check) -> None:  # type: ignore[no-untyped-def]
    """What systemd would start accepts its options and finds its processor."""
    command = settings(blocks()["shipping.service"].source)["ExecStart"].split()
    assert command[0].endswith("/missive")
    said = check(command[1:], MISSIVE_FROM=TRANSPORT)
    assert TRANSPORT in said
    assert "app.ship" in said
    assert "SQLiteDLQ" in said


def test_the_unit_waits_longer_than_the_drain() -> None:
    """systemd does not kill what may still be draining."""
    unit = settings(blocks()["shipping.service"].source)
    command = unit["ExecStart"].split()
    drain = float(command[command.index("--drain-timeout") + 1])
    assert float(unit["TimeoutStopSec"]) > drain


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """The unit file has no setting that systemd does not know."""
    if shutil.which("systemd-analyze") is None:
        if os.environ.get("CI"):
            pytest.fail("systemd-analyze is not installed; on Debian: apt-get install systemd")
        pytest.skip("systemd is not installed")
    unit = blocks()["shipping.service"].source
    program = settings(unit)["ExecStart"].split()[0]
    path = tmp_path / "shipping.service"
    path.write_text(unit.replace(program, "/bin/true"), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", path], capture_output=True, text=True, check=False
    )
    about_ours = [line for line in done.stderr.splitlines() if "shipping" in line]
    assert about_ours == []


def test_the_containers_command_is_one_that_works(check) -> None:  # type: ignore[no-untyped-def]
    """What the image would run accepts its options and finds its processor."""
    text = blocks()["Dockerfile"].source.replace("\\\n", " ")
    commands = {
        line.split(" ", 1)[0]: json.loads(line.split(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith(("ENTRYPOINT", "CMD"))
    }
    assert commands["ENTRYPOINT"][0] == "missive"
    assert "app.ship" in check(commands["ENTRYPOINT"][1:] + commands["CMD"])


def test_the_unit_starts_under_a_service_manager(venv: Path, tmp_path: Path) -> None:
    """The unit's command, of its type, says on systemd's socket that it is ready and alive."""
    unit = settings(blocks()["shipping.service"].source)
    assert unit["Type"] == "notify"
    subprocess.run([venv / "pip", "install", "--quiet", "missive-cli"], check=True)
    tmp_path.joinpath("app.py").write_text(blocks()["app.py"].source, encoding="utf-8")
    command = unit["ExecStart"].split()[1:]
    del command[command.index("--dlq") : command.index("--dlq") + 2]
    command[command.index("--health-port") + 1] = "0"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        environment = {
            "MISSIVE_FROM": "stdin:",
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": str(int(unit["WatchdogSec"]) * 1_000_000),
        }
        with subprocess.Popen(
            [venv / "missive", *command],
            cwd=tmp_path,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
        ) as process:
            told = ""
            while "READY=1" not in told or "WATCHDOG=1" not in told:
                told += manager.recv(4096).decode() + "\n"
            process.terminate()
            while "STOPPING=1" not in told:
                told += manager.recv(4096).decode() + "\n"
            assert process.wait(30) == 0
