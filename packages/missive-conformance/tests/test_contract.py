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
    ("harness", "need", "reason"),
    [
        (BrokerHarness, "headers", None),
        (FleetingHarness, "headers", "headers"),
        (FleetingHarness, "headers=False", None),
        (BrokerHarness, "empty_body=False", "empty_body"),
        (BrokerHarness, "nack=redeliver", None),
        (FleetingHarness, "nack=redeliver", "nack"),
        (FleetingHarness, "nack!=redeliver", None),
        (AnsweringHarness, "max_bytes<=1000", None),
        (AnsweringHarness, "max_bytes<=999", "max_bytes"),
        (BrokerHarness, "max_bytes<=1000", "max_bytes"),
        (BrokerHarness, "PollingAdapter", None),
        (BrokerHarness, "TestAdapter", "TestAdapter"),
        (BrokerHarness, "harness.kill", None),
        (BrokerHarness, "harness.own_dlq", "own_dlq"),
        (BrokerHarness, "no harness.own_dlq", None),
        (BrokerHarness, "no harness.kill", "kill"),
        (BrokerHarness, "harness.fan_out", "fan_out"),
        (FleetingHarness, "harness.fan_out", None),
        (FileHarness, "DeadLetterStore", None),
        (FileHarness, "harness.persistent", None),
    ],
)
def test_needs(
    harness: type[AdapterHarness] | type[DLQHarness], need: str, reason: str | None
) -> None:
    """A need is met by the class's capabilities and by what the harness offers, or is the reason."""
    assert unmet((need,), harness) == reason


def test_every_need_can_be_understood() -> None:
    """Every check's needs can be looked up for a harness of its kind."""
    kinds: dict[str, Any] = {"A": BrokerHarness, "D": FileHarness}
    for letter, _, point in points():
        unmet(point.needs, kinds[letter])
