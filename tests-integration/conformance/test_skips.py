"""What is skipped is recorded, so that nothing is given up unnoticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from missive.conformance import skips_of

from . import test_adapters, test_dlqs

#: Change it when a class or a harness comes to promise more, or, with good reason, less.
RECORDED = Path(__file__).with_name("skips.json")
SUITES: dict[str, Any] = {
    suite.subject().__name__: suite
    for module in (test_adapters, test_dlqs)
    for name, suite in sorted(vars(module).items())
    if name.startswith("Test")
}


@pytest.mark.parametrize("name", SUITES)
def test_skips_are_as_recorded(name: str) -> None:
    """A suite skips the checks that are recorded, for the reasons recorded, and no others."""
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    assert skips_of(SUITES[name]) == recorded[name]


def test_everything_is_judged() -> None:
    """Every adapter class and every DLQ that this repository ships has a suite here."""
    assert set(SUITES) == {
        "TestAdapter",
        "StdinAdapter",
        "ReplayAdapter",
        "WSGIAdapter",
        "RedisPubSubAdapter",
        "RedisStreamsAdapter",
        "RabbitMQAdapter",
        "QuorumQueueAdapter",
        "NATSAdapter",
        "NATSSubjectAdapter",
        "QueueGroupAdapter",
        "SQSAdapter",
        "KafkaAdapter",
        "TansuAdapter",
        "TansuWorkersAdapter",
        "dict",
        "MemoryDLQ",
        "SQLiteDLQ",
        "PostgreSQLDLQ",
    }
