"""Every DLQ of this repository, a plain dict included, judged by the conformance kit."""

from __future__ import annotations

from missive.conformance import DLQConformance

from . import harnesses


class TestDict(DLQConformance):
    harness = harnesses.DictHarness


class TestMemory(DLQConformance):
    harness = harnesses.MemoryHarness


class TestSQLite(DLQConformance):
    harness = harnesses.SQLiteHarness


class TestPostgreSQL(DLQConformance):
    harness = harnesses.PostgreSQLHarness
