"""Styles: what a check's handler does stays the same, however it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from missive import HandlingContext, Message
from missive.conformance import AdapterConformance
from missive.conformance.harness import NO_BATCHES, unmet
from missive.conformance.reasons import reason
from missive.conformance.report import describe_check
from missive.conformance.styles import check_style
from missive_mutants.harness import AnsweringHarness, BrokerHarness

STYLES = ("plain", "async", "batch:1", "batch:7", "batch:100")


class Suite(AdapterConformance):
    harness = BrokerHarness

    __test__ = False


class Failure(Exception):
    """What the handler of these tests raises."""


@pytest.mark.parametrize("style", STYLES)
def test_each_message_meets_the_handler_once(style: str, tmp_path: Path) -> None:
    """A failure is the failure of its message, with its own words; the others are acked."""

    def behave(message: Message, ctx: HandlingContext[Any]) -> None:
        if message.raw_data in (b"2", b"4"):
            raise Failure(f"number {message.raw_data.decode()}")
        if message.raw_data != b"5":
            ctx.ack()

    with Suite.open_lab(tmp_path, style=style) as lab:
        letters = lab.letters()
        recorder = lab.record(behave, dlq=letters)
        for number in range(8):
            lab.publish(b"%d" % number)
        with lab.running(recorder):
            recorder.wait_seen(8)
            found = letters.wait(3, lab.patience)
            lab.expect_settled()
    assert sorted(recorder.bodies) == [b"%d" % number for number in range(8)]
    reasons = {letter.raw_data: reason for letter, reason in found}
    assert reasons[b"2"] == "number 2"
    assert reasons[b"4"] == "number 4"
    assert "did not settle" in reasons[b"5"]


@pytest.mark.parametrize("style", ["", "batches", "batch", "batch:0", "batch:x", "async:7"])
def test_a_style_that_does_not_exist_is_refused(style: str) -> None:
    """The error says which styles there are."""
    with pytest.raises(ValueError, match="plain, async, batch:N"):
        check_style(style)


def test_checks_may_ask_for_a_kind_of_handlers() -> None:
    """What holds for some kinds alone is skipped for the others, and batches where they are refused."""
    assert unmet(("handlers=plain",), BrokerHarness) is None
    assert "handlers=plain" in (unmet(("handlers=plain",), BrokerHarness, "async") or "")
    assert unmet(("handlers!=batch",), BrokerHarness, "batch:7") == reason("handlers!=batch")
    assert unmet(("handlers!=batch",), BrokerHarness, "async") is None
    assert unmet((), AnsweringHarness, "batch:7") == NO_BATCHES
    assert unmet((), AnsweringHarness, "async") is None


def test_a_report_names_the_style() -> None:
    """Results with other handlers stand beside those with plain ones."""
    (point,) = [Suite.test_a70_stop_ends_an_idle_run.__missive_check__]  # type: ignore[attr-defined]
    name = BrokerHarness.adapter_cls.__name__
    assert describe_check(Suite, point)["subject"] == name
    assert describe_check(Suite, point, "batch:7")["subject"] == f"{name}, batch:7"
