"""Where the documentation's tests take place: wheels, an environment, a server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "docs/tests"), str(ROOT / "docs/_ext")]
TRANSPORTS = ("kafka", "nats", "rabbitmq", "sqs")
# Where the tests of the transports start servers of their own.
sys.path.extend(str(ROOT / f"packages/missive-{name}/tests") for name in TRANSPORTS)

if sys.platform == "win32":  # no bash, and no pseudo-terminals
    collect_ignore = ["tests"]
else:
    from reading.redis_server import find_server, running_server


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheels of all distributions, and give the list that pins pip to them."""
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, ROOT / "tools/build_wheels.py", folder]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "constraints.txt"


@pytest.fixture(scope="session")
def venv(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Path:
    """Make the environment in which readers type their commands, and give its programs' folder.

    Its pip is uv's, which takes the same commands and a tenth of the time. The quickstart makes an
    environment of its own, with the real one.
    """
    folder = tmp_path_factory.mktemp("venv")
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    pip = folder / "bin/pip"
    pip.write_text(
        f"#!/bin/sh\nUV_CONSTRAINT={wheels} exec {sys.executable} -m uv pip"
        f' "$@" --python {folder}/bin/python\n',
        encoding="utf-8",
    )
    pip.chmod(0o755)
    subprocess.run([pip, "install", "--quiet", "missive-core"], check=True)
    return folder / "bin"


@pytest.fixture
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run a Redis server for one page."""
    if find_server() is None and not os.environ.get("CI"):
        pytest.skip("no Redis server on this machine")
    with running_server(tmp_path_factory.mktemp("redis")) as port:
        yield port


def _without(name: str) -> NoReturn:
    """Skip a page whose server is not on this machine; in CI, fail."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no {name} server on this machine")


@pytest.fixture
def kafka_port() -> Iterator[int]:
    """Run a broker that speaks Kafka's protocol for one page."""
    from kafka_server import MockCluster

    cluster = MockCluster()
    yield int(cluster.bootstrap.rpartition(":")[2])
    cluster.stop()


@pytest.fixture
def nats_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run a NATS server for one page."""
    from nats_server import NATSServer, find_servers

    programs = find_servers() or _without("NATS")
    server = NATSServer(programs[0], tmp_path_factory.mktemp("nats"))
    try:
        server.start()
        yield server.port
    finally:
        server.stop()


@pytest.fixture
def rabbitmq_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run a RabbitMQ server for one page."""
    from rabbitmq_server import RabbitMQServer, find_server

    program = find_server() or _without("RabbitMQ")
    server = RabbitMQServer(program, tmp_path_factory.mktemp("rabbitmq"))
    try:
        server.start()
        yield server.port
    finally:
        server.stop()


@pytest.fixture
def sqs_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run a server that stands in for SQS for one page."""
    from sqs_server import SQSServer, is_installed

    if not is_installed():
        _without("SQS")
    server = SQSServer(tmp_path_factory.mktemp("sqs"))
    try:
        server.start()
        yield server.port
    finally:
        server.stop()
