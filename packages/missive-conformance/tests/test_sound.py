"""Sound adapters and stores pass the kit, in every variant that capabilities make."""

from __future__ import annotations

import pytest
from missive.conformance import AdapterConformance, DLQConformance, judge
from missive_mutants import harness, store_harness


class TestSound(AdapterConformance):
    harness = harness.BrokerHarness


class TestFleeting(AdapterConformance):
    harness = harness.FleetingHarness


class TestAnswering(AdapterConformance):
    harness = harness.AnsweringHarness


class TestDelaying(AdapterConformance):
    harness = harness.DelayingHarness


class TestOrderly(AdapterConformance):
    harness = harness.OrderlyHarness


class TestGreedy(AdapterConformance):
    __test__ = False
    harness = harness.GreedyHarness


class TestCounting(AdapterConformance):
    __test__ = False
    harness = harness.CountingHarness


@pytest.mark.parametrize(("suite", "check"), [(TestGreedy, "A96"), (TestCounting, "A154")])
def test_a_variant_passes_what_concerns_it(suite: type[AdapterConformance], check: str) -> None:
    """Batches of fifty are no fault, nor is a message that ends its process so often and no more."""
    assert [(one.outcome, one.detail) for one in judge(suite, ids=[check])] == [("passed", "")]


class TestFile(DLQConformance):
    harness = store_harness.FileHarness
