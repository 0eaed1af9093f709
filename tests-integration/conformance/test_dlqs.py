"""Every DLQ of this repository, a plain dict included, judged by the conformance kit."""

from __future__ import annotations

from missive.conformance import DLQConformance

from .harnesses import DictHarness


class TestDict(DLQConformance):
    harness = DictHarness
