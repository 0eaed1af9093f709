"""Payloads never reach logs, reprs or exception texts."""

from __future__ import annotations

import importlib.metadata
import logging
from dataclasses import dataclass
from typing import Any

import missive
import pytest
from missive import Capabilities
from missive.error_base import documentation

SECRET = b"card-4242-4242"


def scenes() -> dict[str, Any]:
    """Return processors in which the secret fails in every stage."""

    def handler(action: str) -> Any:
        def handle(message: Any, ctx: Any) -> None:
            if action == "raise":
                raise ValueError(f"cannot take {message.raw_data!r}")
            if action == "conflict":
                ctx.ack()
                ctx.nack()
            if action == "nack":
                ctx.nack()

        return handle

    made: dict[str, Any] = {"unmatched": missive.Processor()}
    for action in ("raise", "conflict", "nack", "forget"):
        made[action] = missive.Processor()
        made[action].handle_for(missive.otherwise)(handler(action))
    made["overlap"] = missive.Processor()
    made["matcher"] = missive.Processor()
    made["matcher"].handle_for(lambda m: m.get_json())(handler("nack"))
    for _ in range(2):
        made["overlap"].handle_for(lambda m: True)(handler("nack"))
    return made


@pytest.mark.parametrize("scene", sorted(scenes()))
def test_no_log_line_and_no_text_of_ours_holds_content(
    scene: str, caplog: pytest.LogCaptureFixture
) -> None:
    """From INFO up no record shows a payload, and none of our errors does at any time."""
    processor = scenes()[scene]
    caplog.set_level(logging.INFO)
    client = processor.test_client(
        missive.JSONMessage, capabilities=Capabilities(nack="drop-refused")
    )
    with pytest.raises(Exception) as caught:
        client.send(SECRET, headers={"authorization": SECRET.decode()})
    if isinstance(caught.value, missive.MissiveError):
        assert SECRET.decode() not in str(caught.value) + repr(caught.value)
    processor.set_dlq(dlq := {})
    client.send(SECRET, headers={"authorization": SECRET.decode()})
    for record in caplog.records:
        shown = logging.Formatter().format(record)
        assert SECRET.decode() not in shown
    assert len(dlq) == 1
    ((message, _),) = dlq.values()
    for shown in (message, message.headers, message.envelope, client):
        assert SECRET.decode() not in repr(shown)


def test_the_record_of_a_dead_letter_hides_what_may_hold_content() -> None:
    """Its repr shows ids and types, not body, headers, reason or traceback."""
    message = missive.RawMessage(SECRET)
    message.put_in(missive.Envelope(message_id=b"m-1", headers={"a": SECRET.decode()}))
    try:
        raise ValueError(SECRET.decode())
    except ValueError as error:
        letter = missive.DeadLetter.from_failure(
            message, stage="handling", reason=str(error), error=error
        )
    assert SECRET.decode() in (letter.traceback or "")
    for shown in (repr(letter), str(letter)):
        assert SECRET.decode() not in shown
        assert "m-1" in shown


def test_every_error_ends_with_its_entry_in_the_documentation() -> None:
    """Errors of others that derive from ours do not claim one."""
    error = missive.ConfigurationError("no")
    start, _, entry = str(error).partition("https://")
    assert start == "no (docs: "
    assert entry.endswith("/errors.html#ConfigurationError)")

    class Foreign(missive.ConfigurationError):
        pass

    assert str(Foreign("no")) == "no"


def test_an_error_names_its_entry_where_nothing_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the distribution's metadata, as in a copied source tree, there is no address."""

    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "metadata", missing)
    documentation.cache_clear()
    try:
        error = missive.ConfigurationError("no")
        assert str(error) == "no (docs: errors.html#ConfigurationError)"
    finally:
        documentation.cache_clear()


@dataclass
class Plain(missive.Message):
    """A message with the repr that a dataclass makes, body and all."""

    raw_data: bytes


def test_reprs_of_what_hooks_are_told_show_no_content() -> None:
    """Whatever the message's own repr shows."""
    processor: missive.Processor[Plain] = missive.Processor()
    told: list[str] = []
    processor.handle_for(missive.otherwise)(lambda m, ctx: (told.append(repr(ctx)), ctx.ack()))  # type: ignore[arg-type,return-value]
    processor.on_settled(lambda processing_ctx, settled: told.append(repr(settled)))
    client = processor.test_client(Plain)
    client.send(SECRET)
    with processor.context(Plain, client) as ctx:
        told.append(repr(ctx.process(missive.Delivery(SECRET))))
    assert len(told) == 4
    assert SECRET.decode() not in str(told)
