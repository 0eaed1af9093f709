"""Every adapter of this repository, judged by the conformance kit."""

from __future__ import annotations

from missive.conformance import AdapterConformance

from .harnesses import StdinHarness, TestAdapterHarness


class TestTestAdapter(AdapterConformance):
    harness = TestAdapterHarness


class TestStdinAdapter(AdapterConformance):
    harness = StdinHarness
