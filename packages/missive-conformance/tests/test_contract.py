"""The contract's points: what authors and the documentation rely on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from missive.conformance import (
    AdapterConformance,
    AdapterHarness,
    Check,
    DLQConformance,
    DLQHarness,
)
from missive.conformance.contract import PROFILES, check, checks_in
from missive.conformance.harness import unmet
from missive.conformance.reasons import SENTENCES, reason
from missive_mutants.harness import AnsweringHarness, BrokerHarness, FleetingHarness
from missive_mutants.store_harness import FileHarness

SUITES: dict[str, Any] = {"A": AdapterConformance, "D": DLQConformance}


def points() -> Iterator[tuple[str, str, Check]]:
    """Return the letter, the method's name and the point of each check."""
    for letter, suite in SUITES.items():
        for name, point in checks_in(suite):
            yield letter, name, point


def test_ids_are_unique_and_in_the_names() -> None:
    """Every id is used once, has its suite's letter, and stands in the name of its method."""
    ids = [point.id for _, _, point in points()]
    assert len(ids) == len(set(ids))
    for letter, name, point in points():
        assert re.fullmatch(letter + r"\d{2,3}", point.id)
        assert name.startswith(f"test_{point.id.lower()}_")


def test_every_test_is_a_check() -> None:
    """No suite has a test without an id."""
    for suite in SUITES.values():
        tests = {name for name in dir(suite) if name.startswith("test_")}
        assert tests == {name for name, _ in checks_in(suite)}


def test_every_check_is_one_sentence() -> None:
    """A check says in one sentence what is asked, and has a profile and a place to read on."""
    for _, _, point in points():
        assert point.sentence.endswith(".")
        assert point.sentence.count(". ") == 0
        assert point.profile in PROFILES
        assert re.fullmatch(r"[a-z-]+#[a-z-]+", point.read), point.id


def test_a_check_needs_a_sentence() -> None:
    """A check without a docstring is refused."""
    with pytest.raises(TypeError, match="needs a docstring"):

        @check("A00", read="a#b")
        def nothing() -> None: ...


@pytest.mark.parametrize(
    ("harness", "need", "met"),
    [
        (BrokerHarness, "headers", True),
        (FleetingHarness, "headers", False),
        (FleetingHarness, "headers=False", True),
        (BrokerHarness, "empty_body=False", False),
        (BrokerHarness, "nack=redeliver", True),
        (FleetingHarness, "nack=redeliver", False),
        (FleetingHarness, "nack!=redeliver", True),
        (AnsweringHarness, "max_bytes<=1000", True),
        (AnsweringHarness, "max_bytes<=999", False),
        (BrokerHarness, "max_bytes<=1000", False),
        (BrokerHarness, "PollingAdapter", True),
        (BrokerHarness, "TestAdapter", False),
        (BrokerHarness, "harness.kill", True),
        (BrokerHarness, "harness.own_dlq", False),
        (BrokerHarness, "no harness.own_dlq", True),
        (BrokerHarness, "no harness.kill", False),
        (BrokerHarness, "harness.fan_out", False),
        (FleetingHarness, "harness.fan_out", True),
        (FileHarness, "DeadLetterStore", True),
        (FileHarness, "harness.persistent", True),
    ],
)
def test_needs(harness: type[AdapterHarness] | type[DLQHarness], need: str, met: bool) -> None:
    """A need is met by the class's capabilities and by what the harness offers."""
    assert (unmet((need,), harness) is None) is met


def test_every_need_can_be_understood() -> None:
    """Every check's needs can be looked up for a harness of its kind."""
    kinds: dict[str, Any] = {"A": BrokerHarness, "D": FileHarness}
    for letter, _, point in points():
        unmet(point.needs, kinds[letter])


def test_every_skip_is_explained() -> None:
    """There is a sentence for each need of a check, and none that no check needs."""
    needs = {need for _, _, point in points() for need in point.needs}
    assert {need: reason(need) for need in needs if "the check needs" in reason(need)} == {}
    assert set(SENTENCES.values()) == {reason(need) for need in needs}


def test_an_unknown_need_is_named() -> None:
    """The reason for a need of an extended suite's own check names the need."""
    assert unmet(("TestAdapter",), BrokerHarness) == (
        "the check needs TestAdapter, which is not met"
    )
