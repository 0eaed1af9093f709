"""What the tests of the ASGI adapter share: a client that speaks ASGI, on one event loop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from webhook_suite import use
from webhook_suite.asgi_client import Client, ClosedByHand, Loop, use_loop
from webhook_suite.fixtures import full_store, processor  # noqa: F401


@pytest.fixture
def client_of() -> type[Client]:
    """The class of clients."""
    return Client


@pytest.fixture(autouse=True)
def loop() -> Iterator[Loop]:
    """The loop of a test; what the suite that all adapters share builds runs on it."""
    loop = Loop()
    use_loop(loop)
    use(ClosedByHand)
    yield loop
    loop.close()
