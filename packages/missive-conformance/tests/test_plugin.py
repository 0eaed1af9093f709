"""The plugin: what an author sees of it, and that nobody else sees anything."""

from __future__ import annotations

import json

import pytest

pytest_plugins = ["pytester"]

SUITE = """
from missive.conformance import BrokerMissing, DLQConformance, DLQHarness

class Forgetful(dict):
    def __len__(self):
        return 0

class Harness(DLQHarness):
    dlq_cls = {cls}

    def open(self):
        return {cls}()

class TestMine(DLQConformance):
    harness = Harness
"""


def write_suite(pytester: pytest.Pytester, cls: str = "dict", more: str = "") -> None:
    """Write a test module with a suite for a subclass of dict."""
    pytester.makepyfile(test_mine=SUITE.format(cls=cls) + more)


def test_inert_where_unused(pytester: pytest.Pytester) -> None:
    """In a project that does not use the kit, it prints nothing and writes nothing."""
    pytester.makepyfile("def test_nothing(): pass")
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*Missive*")
    assert not (pytester.path / "conformance.json").exists()


def test_summary_and_report(pytester: pytest.Pytester) -> None:
    """A run ends with a summary, which names what is missing, and writes conformance.json."""
    write_suite(pytester)
    result = pytester.runpytest_inprocess("--missive-profile", "full")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "*Missive conformance (full)*",
            "dict: 14 passed, * skipped",
            "*skipped, because a store that is in memory alone holds nothing *: *D50*",
        ]
    )
    report = json.loads((pytester.path / "conformance.json").read_text())
    checks = report["subjects"]["dict"]["checks"]
    assert checks["D01"]["outcome"] == "passed"
    assert checks["D20"] == {
        "outcome": "skipped",
        "detail": "a plain mapping has none of a dead letter store's methods",
        "asks": checks["D20"]["asks"],
        "since": "0.1",
        "seconds": 0.0,
    }


def test_distributed_over_processes(pytester: pytest.Pytester) -> None:
    """With pytest-xdist too there is one summary and one report, of all processes."""
    pytest.importorskip("xdist")
    write_suite(pytester, "Forgetful")
    result = pytester.runpytest_subprocess("-n2", "-k", "D01 or D02 or D20")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*Missive conformance (quick)*", "Forgetful: 1 failed, 1 passed, 1 skipped"]
    )
    report = json.loads((pytester.path / "conformance.json").read_text())
    assert set(report["subjects"]["Forgetful"]["checks"]) == {"D01", "D02", "D20"}


def test_distributed_and_collected(pytester: pytest.Pytester) -> None:
    """With pytest-xdist too the checks are listed where they are only to be collected."""
    pytest.importorskip("xdist")
    write_suite(pytester, "Forgetful")
    result = pytester.runpytest_subprocess("-n2", "--collect-only", "-q")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*test_d01*"])


def test_distributed_and_unused(pytester: pytest.Pytester) -> None:
    """With pytest-xdist too, nothing is said or written where the kit is not used."""
    pytest.importorskip("xdist")
    pytester.makepyfile("def test_nothing(): pass")
    result = pytester.runpytest_subprocess("-n2")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*Missive conformance*")
    assert not (pytester.path / "conformance.json").exists()


def test_a_failure_speaks_to_the_author(pytester: pytest.Pytester) -> None:
    """A failing check tells what the contract asks, what was seen, and where to read on."""
    write_suite(pytester, "Forgetful")
    result = pytester.runpytest_inprocess("-k", "D01")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "D01 Forgetful does not keep the contract (point D01, since 0.1)",
            "*the contract asks: What was set under a key is read back*",
            "*what was seen: *two were set, and the length is 0",
            "*read on: *conformance#D01*",
        ]
    )
    result.stdout.no_fnmatch_line("*def test_d01*")


def test_a_known_failure_is_no_failure(pytester: pytest.Pytester) -> None:
    """A check that is known to fail does not fail the run, and the report says why."""
    write_suite(pytester, "Forgetful", '    known_failures = {"D01": "it forgets its length"}\n')
    result = pytester.runpytest_inprocess("-k", "D01")
    assert result.ret == 0
    report = json.loads((pytester.path / "conformance.json").read_text())
    row = report["subjects"]["Forgetful"]["checks"]["D01"]
    assert (row["outcome"], row["detail"]) == ("known failure", "it forgets its length")


def test_a_known_failure_that_passes_fails(pytester: pytest.Pytester) -> None:
    """A check that is known to fail and passes fails the run."""
    write_suite(pytester, "dict", '    known_failures = {"D01": "it was so once"}\n')
    assert pytester.runpytest_inprocess("-k", "D01").ret == 1


def test_an_unknown_known_failure_is_refused(pytester: pytest.Pytester) -> None:
    """A known failure of a check that does not exist is an error of usage."""
    write_suite(pytester, "dict", '    known_failures = {"D999": "no such check"}\n')
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no check D999*"])


MISSING = """
    class harness(Harness):
        def start(self):
            raise BrokerMissing("install a broker")
"""


def test_a_missing_broker_is_an_error(pytester: pytest.Pytester) -> None:
    """A broker that is not there is an error, not a skip."""
    write_suite(pytester, "dict", MISSING)
    result = pytester.runpytest_inprocess("-k", "D01 or D02")
    result.assert_outcomes(errors=2)


def test_a_missing_broker_may_be_allowed(pytester: pytest.Pytester) -> None:
    """With --missive-allow-missing, a broker that is not there is a skip that says so."""
    write_suite(pytester, "dict", MISSING)
    result = pytester.runpytest_inprocess("-k", "D01 or D02", "--missive-allow-missing", "-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["*missing broker: install a broker*"])


def test_more_skips_than_recorded_fail(pytester: pytest.Pytester) -> None:
    """A run that skips what nobody recorded fails, and names it; recording it mends that."""
    write_suite(pytester)
    record = ("--missive-skips", "skips.json")
    recording = pytester.runpytest_inprocess(*record, "--missive-record-skips")
    assert recording.ret == 0
    assert pytester.runpytest_inprocess(*record).ret == 0
    skips = json.loads((pytester.path / "skips.json").read_text())
    skips["dict"].remove("D20")
    (pytester.path / "skips.json").write_text(json.dumps(skips))
    result = pytester.runpytest_inprocess(*record)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["dict skips 1 more than recorded: D20 (a plain mapping has none of *)"]
    )


def test_profiles_choose(pytester: pytest.Pytester) -> None:
    """A profile runs its own checks alone; quick is a part of full, and faults stand alone."""
    write_suite(pytester)
    counts = {
        profile: sum(
            "::test_" in line
            for line in pytester.runpytest_inprocess(
                "--collect-only", "-q", "--missive-profile", profile
            ).outlines
        )
        for profile in ("quick", "full", "stress", "faults")
    }
    assert 0 < counts["faults"] < counts["quick"] < counts["full"] < counts["stress"]


def test_an_unknown_profile_is_refused(pytester: pytest.Pytester) -> None:
    """A profile that does not exist is an error of usage, which names those that do."""
    write_suite(pytester)
    result = pytester.runpytest_inprocess("--missive-profile", "slow")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no profile 'slow'*quick, full, stress, faults*"])
