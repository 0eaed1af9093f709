"""What the tests of the WSGI adapter share: a processor, and a client that speaks WSGI."""

from __future__ import annotations

import pytest
from missive.adapters.wsgi import WSGIAdapter
from webhook_suite import use
from webhook_suite.fixtures import full_store, processor  # noqa: F401
from webhook_suite.wsgi_client import Client


@pytest.fixture
def client_of():
    """The class of clients, since test files cannot import one another."""
    return Client


@pytest.fixture(autouse=True)
def vehicle() -> None:
    """What the suite that all adapters share builds."""
    use(WSGIAdapter)
