"""The report: the matrix of capabilities, and the gate for skips."""

from __future__ import annotations

import json
from pathlib import Path

from missive import Capabilities
from missive.conformance import (
    DLQConformance,
    Report,
    capability_matrix,
    judge,
    matrix_of_report,
    unrecorded_skips,
)
from missive_mutants.store_harness import FileHarness
from missive_mutants.transport import FleetingAdapter, SoundAdapter


def found(check_id: str, subject: str = "Mine") -> dict[str, object]:
    """Return what the plugin says of a check."""
    return {
        "subject": subject,
        "kind": "dlq",
        "capabilities": None,
        "id": check_id,
        "asks": "Something.",
        "since": "0.1",
    }


def test_the_matrix_has_a_column_for_each_adapter() -> None:
    """The matrix has a row for each capability and a column for each adapter."""
    text = capability_matrix(
        {"Sound": SoundAdapter.capabilities, "Fleeting": FleetingAdapter.capabilities}
    )
    lines = text.splitlines()
    assert lines[0] == "| | Sound | Fleeting |"
    assert "| `delivery` | at-least-once | at-most-once |" in lines
    assert "| `persistent` | yes | no |" in lines
    assert "| `max_bytes` | no | no |" in lines
    assert len(lines) == 2 + len(
        vars(Capabilities()) if hasattr(Capabilities(), "__dict__") else ()
    )


def test_large_numbers_can_be_read() -> None:
    """A limit is given with separators."""
    assert "| `max_bytes` | 1,048,576 |" in capability_matrix(
        {"X": Capabilities(max_bytes=1_048_576)}
    )


def test_the_matrix_comes_from_a_report(tmp_path: Path) -> None:
    """The matrix can be made of a conformance.json, which leaves DLQs out of it."""
    subjects = {
        "A": {"kind": "adapter", "capabilities": {**CAPABILITIES, "headers": True}, "checks": {}},
        "D": {"kind": "dlq", "capabilities": None, "checks": {}},
    }
    (tmp_path / "conformance.json").write_text(json.dumps({"subjects": subjects}))
    text = matrix_of_report(tmp_path / "conformance.json")
    assert text.splitlines()[0] == "| | A |"
    assert "| `headers` | yes |" in text


CAPABILITIES = {name: getattr(Capabilities(), name) for name in Capabilities.__annotations__}


def test_a_failure_stays_a_failure() -> None:
    """A check that failed is not mended by what comes after it, such as its teardown."""
    report = Report(["quick"])
    report.add(found("D01"), "failed", "seen")
    report.add(found("D01"), "passed", "")
    assert report.counts("Mine") == {"failed": 1}


def test_slow_checks_are_named() -> None:
    """The summary names the checks that took long, the slowest first."""
    report = Report(["quick"])
    report.add(found("D01"), "passed", "", 6.0)
    report.add(found("D02"), "passed", "", 0.1)
    report.add(found("D03"), "failed", "seen", 12.04)
    assert "  slow: D03 12 s, D01 6 s" in report.summary()


def test_the_gate_names_new_skips() -> None:
    """Skips that were not recorded are named with their reasons; recorded ones are not."""
    report = Report(["quick"])
    report.add(found("D50"), "skipped", "persistent")
    report.add(found("D51"), "skipped", "persistent")
    assert unrecorded_skips(report, {"Mine": ["D50", "D51", "D99"]}) == []
    assert unrecorded_skips(report, {"Mine": ["D50"]}) == [
        "Mine skips 1 more than recorded: D51 (persistent)"
    ]
    assert len(unrecorded_skips(report, {})) == 1


class TestFile(DLQConformance):
    __test__ = False
    harness = FileHarness


def test_the_runner_needs_no_pytest() -> None:
    """judge() runs the checks that are asked for, and says how each went."""
    results = list(judge(TestFile, ids=["D01", "D57"]))
    assert [(one.check.id, one.outcome) for one in results] == [
        ("D01", "passed"),
        ("D57", "passed"),
    ]
