"""The member of a group, without a broker."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from missive.adapters.kafka import member as members
from missive.adapters.kafka.member import Member


class Client:
    """A consumer of confluent-kafka's whose ``close`` does what a test says."""

    def __init__(self, gate: threading.Event, error: Exception | None = None) -> None:
        self.gate, self.error = gate, error

    def close(self) -> None:
        """Wait for the gate, and fail where that is asked for."""
        self.gate.wait(60)
        if self.error is not None:
            raise self.error


def member_of(client: Client) -> Member:
    """Return a member whose client is another."""

    def ignore(*arguments: Any) -> None:
        """Take note of nothing."""

    settings = {"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "log_level": 0}
    member = Member(
        settings, ["t"], on_assign=ignore, on_revoke=ignore, on_lost=ignore, on_commit=ignore
    )
    member.consumer.close()
    member.consumer = client
    return member


def test_a_client_that_does_not_end_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where librdkafka waits for brokers that are gone, leaving ends all the same, and says so."""
    monkeypatch.setattr(members, "LEAVE_TIMEOUT", 0.05)
    gate = threading.Event()
    try:
        member_of(Client(gate)).leave()
    finally:
        gate.set()
    assert "did not answer" in caplog.text


def test_what_a_client_fails_by_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    """An error while leaving is the caller's."""
    gate = threading.Event()
    gate.set()
    with pytest.raises(RuntimeError, match="closed"):
        member_of(Client(gate, RuntimeError("closed"))).leave()
    assert caplog.text == ""
