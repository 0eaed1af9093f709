"""The fixtures of all tests of the SQS adapter."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from sqs_server import ENVIRONMENT, SQSServer, TestQueue, is_installed


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have boto3 find credentials of the tests' own, and never those of the machine."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SQSServer]:
    """Return a running server that all tests share; without moto, skip, and fail in CI."""
    if not is_installed():
        complaint = "no server for SQS: install moto[server,sqs,iam]"
        if os.environ.get("CI"):
            pytest.fail(complaint)
        pytest.skip(complaint)
    shared = SQSServer(tmp_path_factory.mktemp("sqs"))
    try:
        shared.start()
        yield shared
    finally:
        shared.stop()


@pytest.fixture
def make_queue(server: SQSServer) -> Iterator[Callable[..., TestQueue]]:
    """Return what makes queues of the test's own."""
    made: list[TestQueue] = []

    def make(**options: object) -> TestQueue:
        made.append(TestQueue(server, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for queue in made:
        queue.close()


@pytest.fixture
def queue(make_queue: Callable[..., TestQueue]) -> TestQueue:
    """Return a standard queue of the test's own."""
    return make_queue()


@pytest.fixture
def fifo(make_queue: Callable[..., TestQueue]) -> TestQueue:
    """Return a FIFO queue of the test's own."""
    return make_queue(fifo=True)
