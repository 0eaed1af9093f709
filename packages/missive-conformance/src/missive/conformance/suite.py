"""What both suites have in common: skipping by need, missing brokers, and what the report gets."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from .contract import BrokerMissing, check_of
from .harness import Harness, unmet
from .ledger import Account
from .styles import PLAIN

#: The user property of a test report that holds the text of a ledger's account.
ACCOUNT_PROPERTY = "missive_account"


def skip_unmet(request: pytest.FixtureRequest, harness: type[Harness], style: str = PLAIN) -> None:
    """Skip the test where a need of its check is not met, for the reason that the need has."""
    point = check_of(request.function)
    reason = unmet(point.needs, harness, style) if point is not None else None
    if reason is not None:
        pytest.skip(reason)


@contextmanager
def started(request: pytest.FixtureRequest, lab: AbstractContextManager[Any]) -> Generator[None]:
    """Enter a lab; a broker that is missing is an error, unless it is allowed to be missing."""
    with ExitStack() as stack:
        try:
            stack.enter_context(lab)
        except BrokerMissing as error:
            if request.config.getoption("missive_allow_missing", False):
                pytest.skip(f"missing broker: {error}")
            raise
        yield


def artefacts_of(request: pytest.FixtureRequest) -> Path | None:
    """Return the folder that ledgers are to be kept in, if the run has one."""
    folder: str | None = request.config.getoption("missive_artefacts", None)
    return Path(folder) if folder else None


def keep_accounts(request: pytest.FixtureRequest, accounts: Iterable[Account]) -> None:
    """Have the closing summary print the accounts of a fault run."""
    for account in accounts:
        request.node.user_properties.append((ACCOUNT_PROPERTY, account.text()))
