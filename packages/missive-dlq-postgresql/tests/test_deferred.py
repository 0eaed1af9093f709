"""Deferred messages in a database that several processes share, whatever happens to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from deferred_suite import EVENTS, FAILURES, RETRIES, Events, Simulation, World, scenes, world
from hypothesis import HealthCheck, given, settings
from missive import DeadLetterStore, Retry
from missive.dlq.postgresql import PostgreSQLDLQ
from postgresql_server import PostgreSQLServer

#: What the store goes by, in a schema that is searched before the server's own.
CLOCK = """
    CREATE SCHEMA simulated;
    CREATE TABLE simulated.clock AS SELECT now() AS now;
    CREATE FUNCTION simulated.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
        AS 'SELECT now FROM simulated.clock';
"""
SEARCHED = "public,simulated,pg_catalog"


class ServerWorld(World):
    """A world whose time the server's clock goes by too.

    :param connection: sets that clock.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        super().__init__()
        self._connection = connection
        self.shift()

    def shift(self, *, seconds: float = 0.0, set_by: float = 0.0) -> None:
        super().shift(seconds=seconds, set_by=set_by)
        self._connection.execute("UPDATE simulated.clock SET now = %s", (self.wall(),))


class Machines:
    """What the processes of a simulation share: a database, whose stores outlast an example.

    :param conninfo: of the database.
    """

    def __init__(self, conninfo: str) -> None:
        self._opened = ExitStack()
        self.connection = self._opened.enter_context(psycopg.connect(conninfo, autocommit=True))
        self.connection.execute(CLOCK)
        self._conninfo = f"{conninfo} options='-c search_path={SEARCHED}'"
        self._stores: list[PostgreSQLDLQ] = []
        self._used = 0

    def begin(self) -> None:
        """Begin an example with an empty store."""
        self._used = 0
        self.open_store()
        self.connection.execute("TRUNCATE public.missive_letters CASCADE")
        self._used = 0

    def open_store(self) -> DeadLetterStore:
        """Return a store that no other process of this example has."""
        if self._used == len(self._stores):
            self._stores.append(self._opened.enter_context(PostgreSQLDLQ(self._conninfo)))
        self._used += 1
        return self._stores[self._used - 1]

    def close(self) -> None:
        """Close the stores."""
        self._opened.close()


@pytest.fixture
def machines(server: PostgreSQLServer, database: str) -> Iterator[Machines]:
    """Return what the processes of simulations share."""
    made = Machines(server.conninfo(database))
    yield made
    made.close()


# A server takes many times as long as the memory does.
@settings(
    max_examples=settings().max_examples // 10,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@scenes
@given(events=EVENTS, retry=RETRIES, failures=FAILURES)
def test_each_message_is_tried_as_often_as_allowed_and_never_twice_at_once(
    machines: Machines, events: Events, retry: Retry, failures: list[int]
) -> None:
    """Through kills and clocks that jump, the server's too; one attempt more for each kill."""
    machines.begin()
    with world("dlq.postgresql.claims", made=ServerWorld(machines.connection)) as time:
        Simulation(time, retry, failures, machines.open_store).run(events)
