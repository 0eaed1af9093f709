"""Every code block of the documentation and the READMEs does what the page says."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from reading.blocks import BlockParser
from reading.reader import Reader, environment_of, forget_modules
from reading.redis_server import find_server, free_port, running_server
from sybil import Sybil

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    path
    for pattern in ("README.md", "packages/*/README.md", "docs/**/*.md")
    for path in sorted(ROOT.glob(pattern))
    if "_build" not in path.parts
]

#: For machines without Redis's own command-line client.
REDIS_CLI = """\
#!{python}
import sys
import redis

arguments = sys.argv[1:]
if arguments[:1] == ["-p"]:
    arguments = arguments[2:]
reply = redis.Redis(port={port}, decode_responses=True).execute_command(*arguments)
print(f"(integer) {{reply}}" if isinstance(reply, int) and sys.stdout.isatty() else reply)
"""


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheels of all distributions, and give the list that pins pip to them."""
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, ROOT / "tools/build_wheels.py", folder]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "constraints.txt"


@pytest.fixture(scope="session")
def venv(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Path:
    """Make the environment in which readers type their commands, and give its programs' folder."""
    folder = tmp_path_factory.mktemp("venv")
    # Not "-m venv": Debian's Python does without ensurepip.
    subprocess.run([sys.executable, "-m", "virtualenv", "--quiet", folder], check=True)
    install = [folder / "bin/pip", "install", "--quiet", "--constraint", wheels, "missive-core"]
    subprocess.run(install, check=True)
    return folder / "bin"


@pytest.fixture
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run a Redis server for one page."""
    if find_server() is None and not os.environ.get("CI"):
        pytest.skip("no Redis server on this machine")
    with running_server(tmp_path_factory.mktemp("redis")) as port:
        yield port


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_the_page_does_what_it_says(
    path: Path,
    tmp_path: Path,
    venv: Path,
    wheels: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """Each block runs as pasted, in the page's order, and shows what the page shows."""
    read: list[str] = []
    reader: Reader | None = None

    def evaluate(example):  # type: ignore[no-untyped-def]
        assert reader is not None
        wrong = reader.read(example)
        read.append(example.parsed.language)
        return wrong

    document = Sybil(parsers=[BlockParser(evaluate)]).parse(path)
    text = document.text
    ports = {"8000": free_port(), "8001": free_port()}
    if "redis" in text.lower() and "6379" in text:
        ports["6379"] = request.getfixturevalue("redis_port")

    def substitute(source: str) -> str:
        for shown, real in ports.items():
            source = source.replace(f":{shown}", f":{real}").replace(f"={shown}", f"={real}")
        return source

    folder = tmp_path / "work"
    folder.mkdir()
    programs = tmp_path / "programs"
    programs.mkdir()
    if "6379" in ports:
        write_redis_cli(programs, ports["6379"])
    extra = {"PIP_CONSTRAINT": str(wheels), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_QUIET": "2"}
    environment = environment_of(venv, extra)
    environment["PATH"] = f"{programs}{os.pathsep}{environment['PATH']}"
    reader = Reader(folder, environment, substitute)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    try:
        for example in document.examples():
            example.evaluate()
    finally:
        reader.close()
        forget_modules(folder)


def write_redis_cli(folder: Path, port: int) -> None:
    """Give the reader a redis-cli that speaks to the test's server."""
    import shutil

    real = shutil.which("redis-cli") or shutil.which("valkey-cli")
    cli = folder / "redis-cli"
    if real:
        cli.write_text(f'#!/bin/sh\nexec {real} -p {port} "$@"\n')
    else:
        cli.write_text(REDIS_CLI.format(python=sys.executable, port=port))
    cli.chmod(cli.stat().st_mode | stat.S_IXUSR)
