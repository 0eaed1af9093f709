"""Every code block of the documentation and the READMEs does what the page says."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
import sys
from pathlib import Path

import pytest
from reading.blocks import BlockParser
from reading.reader import Reader, environment_of, forget_modules
from servers import free_port
from sybil import Sybil

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    path
    for pattern in ("README.md", "packages/*/README.md", "docs/**/*.md")
    for path in sorted(ROOT.glob(pattern))
    if "_build" not in path.parts
]

#: The servers of the pages whose programs connect to one: the port shown, and the fixture.
SERVERS = {
    "docs/start/kafka.md": {"9092": "kafka_port"},
    "docs/start/nats.md": {"4222": "nats_port"},
    "docs/start/rabbitmq.md": {"5672": "rabbitmq_port"},
    "docs/start/sqs.md": {"5000": "sqs_port"},
}

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
    lacking = programs_lacking(text)
    if lacking and not os.environ.get("CI"):
        pytest.skip(f"this machine has no {', '.join(lacking)}")
    ports = {port: free_port() for port in ("8000", "8001", "9101")}
    if "redis" in text.lower() and "6379" in text:
        ports["6379"] = request.getfixturevalue("redis_port")
    for port, fixture in SERVERS.get(name_of(path), {}).items():
        ports[port] = request.getfixturevalue(fixture)

    def substitute(source: str) -> str:
        for shown, real in ports.items():
            for before in (":", "=", "-port "):
                source = source.replace(f"{before}{shown}", f"{before}{real}")
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


def programs_lacking(text: str) -> list[str]:
    """Return what a page's commands need and this machine lacks."""
    lacking = [
        name
        for name in ("curl", "sqlite3")
        if re.search(rf"^\$ .*\b{name} ", text, re.MULTILINE) and not shutil.which(name)
    ]
    if "-m venv" in text and not importlib.util.find_spec("ensurepip"):
        lacking.append("ensurepip (on Debian: python3-venv)")
    return lacking


def write_redis_cli(folder: Path, port: int) -> None:
    """Return the reader a redis-cli that speaks to the test's server."""
    real = shutil.which("redis-cli") or shutil.which("valkey-cli")
    cli = folder / "redis-cli"
    if real:
        cli.write_text(f'#!/bin/sh\nexec {real} -p {port} "$@"\n')
    else:
        cli.write_text(REDIS_CLI.format(python=sys.executable, port=port))
    cli.chmod(cli.stat().st_mode | stat.S_IXUSR)
