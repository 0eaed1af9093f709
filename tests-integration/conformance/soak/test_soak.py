"""Each transport at 80 % of its capacity for an hour, with faults at random: ``./dev soak``."""

from __future__ import annotations

from pathlib import Path

import pytest
from missive.conformance.lab import AdapterLab

from . import report
from .run import Soak
from .transports import TRANSPORTS

#: By how much the worker that lives longest may grow after its first quarter: bytes, descriptors.
MORE_MEMORY, MORE_FILES = 20_000_000, 8


@pytest.mark.soak
@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_soak_loses_nothing_and_grows_nothing(
    name: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Under load and faults no message is lost or stuck, and workers grow no further."""
    seconds = 60 * pytestconfig.getoption("soak_minutes")
    transport = TRANSPORTS[name]
    try:
        with AdapterLab(transport.harness, tmp_path) as lab:
            soak = Soak(transport, lab, seed=pytestconfig.getoption("soak_seed"))
            try:
                account = soak.run(seconds)
            finally:
                soak.close()
    finally:
        transport.harness.close_all()
    folder = Path(pytestconfig.getoption("soak_report"))
    report.write(folder, name, transport, seconds, soak.findings, account)
    assert account.at_fault is None, account.at_fault
    for column, most in ((1, MORE_MEMORY), (2, MORE_FILES)):
        early, late = report.growth(soak.findings, column)
        assert late <= early + most, f"a worker grew from {early:,} to {late:,}"
