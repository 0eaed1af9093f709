"""The benchmarks: what they make of what they measured. No time is judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the benchmarks need POSIX")


@pytest.fixture
def instrument(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The instrument, as the benchmarks import it."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import instrument.compare
    import instrument.figures
    import instrument.plots
    import instrument.report
    import instrument.results

    return instrument


def suite_of_two(instrument: Any) -> Any:
    """A suite with one case, two variants and one target."""
    suite = instrument.Suite("toy", "Toy")
    for name, kind in (("bare", "limit"), ("ours", "missive")):
        suite.variant(name, environment="limit", kind=kind, semantics="none")(lambda: None)
    suite.case("work", ("bare", "ours"))
    suite.target("of the bare one", ("work", "ours"), ("work", "bare"), at_most=2)
    return suite


def entry(variant: str, number: int, seconds: float, calibration: float = 1.0) -> dict[str, Any]:
    """One measurement as the results file has it."""
    figures = {"seconds": seconds, "calibration seconds": calibration, "calibration cpu": 1.0}
    where = {"suite": "toy", "case": "work", "variant": variant, "round": number}
    return {**where, "figures": figures, "failure": ""}


def test_a_ratio_is_taken_round_by_round(instrument: Any) -> None:
    """What slows a whole round changes no ratio."""
    slow = [1.0, 5.0, 2.0]
    entries = [entry("bare", n, factor) for n, factor in enumerate(slow)]
    entries += [entry("ours", n, 1.5 * factor) for n, factor in enumerate(slow)]
    suite = suite_of_two(instrument)
    spread = instrument.figures.Figures(entries).reached(suite, suite.targets[0])
    assert (spread.low, spread.median, spread.high) == (1.5, 1.5, 1.5)
    assert instrument.figures.holds(suite.targets[0], spread)


def test_a_disturbed_measurement_counts_only_where_there_is_none_better(instrument: Any) -> None:
    """It is left out while most are quiet, and marked where most are not."""
    suite = suite_of_two(instrument)
    quiet = [entry("bare", n, 1.0) for n in range(3)]
    figures = instrument.figures.Figures([*quiet, entry("bare", 3, 9.0, calibration=2.0)])
    spread = figures.spread(suite, "work", "bare")
    assert (spread.high, spread.noisy) == (1.0, False)
    loud = [entry("ours", n, 9.0, calibration=2.0) for n in range(3)]
    spread = instrument.figures.Figures([*quiet, *loud]).spread(suite, "work", "ours")
    assert (spread.median, spread.noisy) == (9.0, True)
    assert instrument.report.marked(spread).endswith("~")


@pytest.mark.parametrize(("now", "moved"), [(1.5, False), (1.55, False), (3.0, True), (0.7, True)])
def test_a_comparison_tells_what_moved_beyond_the_noise(
    instrument: Any, now: float, moved: bool
) -> None:
    """Ratios are compared, not times; what moved by little is taken for noise."""

    def figures(ratio: float, mood: float) -> Any:
        entries = [entry("bare", n, mood) for n in range(3)]
        return instrument.figures.Figures(
            [*entries, *(entry("ours", n, mood * (ratio + 0.02 * n)) for n in range(3))]
        )

    text = instrument.compare.comparison(
        [suite_of_two(instrument)], figures(1.5, mood=1.0), figures(now, mood=3.0)
    )
    assert ("1 of 1 ratios moved" in text) is moved


def test_the_overview_takes_the_case_with_most_peers(instrument: Any) -> None:
    """What stands beside peers says more than what stands beside the limit; no figures, no case."""
    suite = suite_of_two(instrument)
    headline = instrument.plots.headline
    assert headline(suite, instrument.figures.Figures([])) is None
    figures = instrument.figures.Figures([entry("bare", 0, 1.0), entry("ours", 0, 2.0)])
    assert headline(suite, figures).name == "work"
    suite.variant("theirs", environment="limit", kind="peer", semantics="none")(lambda: None)
    suite.case("beside others", ("ours", "theirs"))
    more = [{**entry("theirs", 0, 1.0), "case": "beside others"}]
    figures = instrument.figures.Figures([entry("bare", 0, 1.0), entry("ours", 0, 2.0), *more])
    assert headline(suite, figures).name == "beside others"


def test_a_target_that_is_missed_or_not_measured_is_said_so(instrument: Any) -> None:
    """Every target has a line."""
    suite = suite_of_two(instrument)
    missed = [entry("bare", 0, 1.0), entry("ours", 0, 2.5)]
    report = instrument.report.targets_report([suite], instrument.figures.Figures(missed))
    assert "MISSED" in report
    report = instrument.report.targets_report([suite], instrument.figures.Figures([]))
    assert "not measured" in report


def test_a_suite_refuses_what_it_does_not_measure(instrument: Any) -> None:
    """A target or a case about a variant that is not there is a mistake, told at once."""
    suite = suite_of_two(instrument)
    with pytest.raises(ValueError, match="lacks"):
        suite.case("more", ("theirs",))
    with pytest.raises(ValueError, match="does not measure"):
        suite.target("nothing", ("work", "theirs"), ("work", "bare"), at_most=1)


def test_results_of_a_part_take_the_place_of_that_part(instrument: Any, tmp_path: Path) -> None:
    """The other suites keep theirs, each with its own date; a file reads as it was written."""
    run = {"taken": "2026-01-02T03:04:05", "commit": "abc"}
    common = {"format": instrument.results.FORMAT, "environments": {}}
    former = {
        **common,
        "suites": {"toy": run, "other": run},
        "measurements": [entry("bare", 0, 1.0), {**entry("bare", 0, 1.0), "suite": "other"}],
    }
    later = {**run, "commit": "def"}
    latest = {**common, "suites": {"toy": later}, "measurements": [entry("bare", 0, 2.0)]}
    merged = instrument.results.merge(former, latest)
    assert sorted((e["suite"], e["figures"]["seconds"]) for e in merged["measurements"]) == [
        ("other", 1.0),
        ("toy", 2.0),
    ]
    assert instrument.results.when(merged) == (
        "toy on 2026-01-02 at def; other on 2026-01-02 at abc"
    )
    instrument.results.write(tmp_path / "results.json", merged)
    assert instrument.results.read(tmp_path / "results.json") == merged


def measured(variant: str) -> subprocess.CompletedProcess[str]:
    """Measure one variant of the suite dispatch in a process, with this Python."""
    asked = {"module": "dispatch", "variant": variant, "parameters": {}}
    return subprocess.run(
        [sys.executable, "-m", "instrument.measure", json.dumps({**asked, **SHORTLY})],
        cwd=BENCHMARKS,
        capture_output=True,
        text=True,
        check=False,
    )


SHORTLY = {"items": 100, "seconds": 0.01}


def test_a_process_measures_one_variant_and_gives_its_figures() -> None:
    """Times are for one item, by both clocks; calibration and memory stand beside them."""
    figures = json.loads(measured("loop, if, call").stdout)
    assert figures["items"] == 100
    names = {"seconds", "cpu", "megabytes", "calibration seconds", "calibration cpu"}
    assert names <= figures.keys()


def test_a_process_that_cannot_measure_fails() -> None:
    """That is what makes the whole command fail, and nothing else does."""
    done = measured("no such variant")
    assert done.returncode == 1
    assert "no such variant" in done.stderr


def test_every_suite_declares_environments_that_are_pinned() -> None:
    """Each variant's environment has its list of versions, none of them open."""
    program = (
        "import json, run; suites = map(run.load, run.MODULES);"
        "print(json.dumps({s.name: [v.environment for v in s.variants.values()] for s in suites}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=BENCHMARKS, capture_output=True, text=True, check=True
    )
    suites = json.loads(done.stdout)
    assert set(suites) == {
        *(
            "dispatch",
            "stdin",
            "pubsub",
            "streams",
            "handlers",
            "rabbitmq",
            "kafka",
            "jetstream",
            "sqs",
            "wsgi",
            "asgi",
            "inbox",
            "import",
            "dlq",
            "deferred",
            "postgresql",
            "telemetry",
        )
    }
    for name in {environment for each in suites.values() for environment in each}:
        lines = (BENCHMARKS / "requirements" / f"{name}.txt").read_text().splitlines()
        assert lines
        assert all("==" in line for line in lines)
