"""The fixtures of all tests of the PostgreSQL store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from missive.dlq.postgresql import PostgreSQLDLQ
from postgresql_server import PostgreSQLServer, find_server


def _started() -> PostgreSQLServer:
    programs = find_server()
    if programs is None:
        complaint = "no PostgreSQL server: install postgresql (with RUNLEVEL=1)"
        if os.environ.get("CI"):
            pytest.fail(complaint)
        pytest.skip(complaint)
    server = PostgreSQLServer(programs)
    try:
        server.initialize()
        server.start()
    except BaseException:
        server.remove()
        raise
    return server


@pytest.fixture(scope="session")
def server() -> Iterator[PostgreSQLServer]:
    """Return a running server that all tests share, which must be left running."""
    shared = _started()
    yield shared
    shared.remove()


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgreSQLServer]:
    """Return a server that the tests of one module may stop, kill and change."""
    own = _started()
    yield own
    own.remove()


@pytest.fixture
def database(server: PostgreSQLServer) -> Iterator[str]:
    """Return the name of an empty database of the test's own on the shared server."""
    name = server.new_database()
    yield name
    server.drop_database(name)


@pytest.fixture
def store(server: PostgreSQLServer, database: str) -> Iterator[Callable[..., PostgreSQLDLQ]]:
    """Return what opens stores in that database; they are closed in the end."""
    stores: list[PostgreSQLDLQ] = []

    def open_store(**options: object) -> PostgreSQLDLQ:
        given: dict[str, object] = {"busy_timeout": 30.0, **options}
        stores.append(PostgreSQLDLQ(server.conninfo(database), **given))  # type: ignore[arg-type]
        return stores[-1]

    yield open_store
    for opened in stores:
        opened.close()
