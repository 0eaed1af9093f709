"""Measure Missive beside its peers and the bare limit, and say whether the targets hold."""

from __future__ import annotations

import argparse
import importlib
import sys
from dataclasses import asdict
from pathlib import Path

from instrument import Suite, results
from instrument.compare import comparison
from instrument.environments import BENCHMARKS, make
from instrument.figures import Figures
from instrument.report import failures_report, suite_report, targets_report
from instrument.rounds import Measurement, Plan, measure_suite, show_progress

#: The suites, by the names that the command line knows, and the modules that declare them.
MODULES = {
    "dispatch": "dispatch",
    "stdin": "stdin",
    "wsgi": "wsgi",
    "import": "import_time",
}
ROUNDS, QUICK_ROUNDS = 7, 3


def main() -> int:
    """Measure what the command line asks for.

    :returns: 0, or 1 where something could not be measured; a slow figure is no failure.
    """
    arguments = parse()
    suites = {name: load(name) for name in arguments.suites or MODULES}
    plan = Plan(arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS), arguments.quick)
    environments = sorted(
        {
            suite.variants[name].environment
            for suite in suites.values()
            for case in plan.cases(suite)
            for name in case.variants
        }
    )
    for name in environments:
        make(name)
    machine = results.describe_machine()
    measured: list[Measurement] = []
    for name, suite in suites.items():
        for measurement in measure_suite(MODULES[name], suite, plan):
            measured.append(measurement)
            show_progress(measurement, len(measured))
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    taken = results.collect(plan, environments, machine, measured)
    results.write(arguments.output, taken)
    report(list(suites.values()), plan, measured, arguments)
    return int(any(measurement.failure for measurement in measured))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument(
        "suites", nargs="*", metavar="SUITE", help=f"{', '.join(MODULES)}; all unless given"
    )
    parser.add_argument("--quick", action="store_true", help="end within three minutes")
    parser.add_argument("--rounds", type=int, help="how many rounds, instead of the usual number")
    parser.add_argument(
        "--compare", type=Path, metavar="OLD.json", help="print what moved since that run"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="NEW.json",
        default=BENCHMARKS / "results" / "latest.json",
        help="where the results go (default: benchmarks/results/latest.json)",
    )
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.suites if name not in MODULES]:
        parser.error(f"there is no suite {unknown[0]!r}; there are {', '.join(MODULES)}")
    return arguments


def load(name: str) -> Suite:
    """Import the module of a suite."""
    suite: Suite = importlib.import_module(MODULES[name]).suite
    return suite


def report(
    suites: list[Suite], plan: Plan, measured: list[Measurement], arguments: argparse.Namespace
) -> None:
    """Print the tables."""
    entries = [asdict(measurement) for measurement in measured]
    figures = Figures(entries)
    for suite in suites:
        print(suite_report(suite, figures, plan), end="\n\n")
    print("## To reach", targets_report(suites, figures), sep="\n\n", end="\n\n")
    print(
        f"{plan.rounds} rounds; medians, with quartiles. {100 * figures.noise:.0f} % of the"
        " measurements were taken while the machine was disturbed by something else; ~ marks a"
        " figure that had no others to stand on."
    )
    if arguments.compare is not None:
        old = Figures(results.read(arguments.compare)["measurements"])
        print(f"\n## Since {arguments.compare}\n", comparison(suites, old, figures), sep="\n")
    if failures := failures_report(entries):
        print(f"\n## Could not be measured\n\n{failures}")


if __name__ == "__main__":
    sys.exit(main())
