"""What all adapters of webhooks share, tested by the least one."""

from __future__ import annotations

import pytest
from webhook_suite import use
from webhook_suite.bare import BareAdapter, BareClient
from webhook_suite.fixtures import full_store, processor  # noqa: F401


@pytest.fixture
def client_of() -> type[BareClient]:
    """The class of clients."""
    return BareClient


@pytest.fixture(autouse=True)
def vehicle() -> None:
    """What the suite that all adapters share builds."""
    use(BareAdapter)
