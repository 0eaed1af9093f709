"""Sound adapters and stores pass the kit, in every variant that capabilities make."""

from __future__ import annotations

from missive.conformance import AdapterConformance, DLQConformance
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


class TestFile(DLQConformance):
    harness = store_harness.FileHarness
