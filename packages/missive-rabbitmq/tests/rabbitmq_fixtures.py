"""The fixtures of all tests of the RabbitMQ adapter."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rabbitmq_server import Client, RabbitMQServer, find_server


@pytest.fixture(scope="session")
def program() -> str:
    """Return the server program; without one, skip on a developer's machine and fail in CI."""
    found = find_server()
    if found is None:
        complaint = "no RabbitMQ server: install rabbitmq-server (with RUNLEVEL=1)"
        if os.environ.get("CI"):
            pytest.fail(complaint)
        pytest.skip(complaint)
    return found


@pytest.fixture(scope="session")
def server(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQServer]:
    """Return a running server that all tests share, which must be left running."""
    shared = RabbitMQServer(program, tmp_path_factory.mktemp("rabbitmq"))
    try:
        shared.start()
        yield shared
    finally:
        shared.stop()


@pytest.fixture
def client(server: RabbitMQServer) -> Iterator[Client]:
    """Return a client of that server."""
    client = server.client()
    yield client
    client.close()


@pytest.fixture
def make_server(program: str, tmp_path: Path) -> Iterator[Callable[..., RabbitMQServer]]:
    """Return what makes servers of the test's own, with the settings given."""
    servers: list[RabbitMQServer] = []

    def make(**settings: str) -> RabbitMQServer:
        folder = tmp_path / f"server-{len(servers)}"
        folder.mkdir()
        servers.append(RabbitMQServer(program, folder, settings))
        servers[-1].start()
        return servers[-1]

    yield make
    for made in servers:
        made.stop()
