"""Measure Missive beside its peers and the bare limit, and say whether the targets hold."""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from instrument import Suite, results
from instrument.compare import comparison
from instrument.environments import BENCHMARKS, ROOT, make
from instrument.figures import Figures
from instrument.plots import draw, overview
from instrument.report import failures_report, suite_report, targets_report
from instrument.rounds import Measurement, Plan, measure_suite, show_progress

#: The suites, by the names that the command line knows, and the modules that declare them.
MODULES = {
    "dispatch": "dispatch",
    "stdin": "stdin",
    "pubsub": "redis_pubsub",
    "streams": "redis_streams",
    "handlers": "handlers",
    "rabbitmq": "rabbitmq",
    "kafka": "kafka",
    "sqs": "sqs",
    "jetstream": "jetstream",
    "wsgi": "wsgi",
    "asgi": "asgi",
    "inbox": "inbox",
    "import": "import_time",
    "dlq": "dlq",
    "deferred": "deferred",
    "postgresql": "postgresql",
    "telemetry": "telemetry",
}
ROUNDS, QUICK_ROUNDS = 7, 3
#: How much less nice than other programs it is to be.
PRIORITY = 15
#: Where the documentation takes results, tables and plots from.
PUBLISHED = ROOT / "docs" / "performance"


def main() -> int:
    """Measure what the command line asks for.

    :returns: 0, or 1 where something could not be measured; a slow figure is no failure.
    """
    arguments = parse()
    if arguments.priority:
        if os.getsid(0) != os.getpid():
            again = subprocess.run([sys.executable, *sys.argv], start_new_session=True, check=False)
            return again.returncode
        go_first()
    suites = {name: load(name) for name in arguments.suites or MODULES}
    if arguments.taken is not None:
        taken = results.read(arguments.taken)
        former = Plan(taken["rounds"], taken["quick"])
        measured_suites = {entry["suite"] for entry in taken["measurements"]}
        shown = [suite for suite in suites.values() if suite.name in measured_suites]
        publish(shown, former, taken, arguments)
        return 0
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
    publish(list(suites.values()), plan, taken, arguments)
    return int(any(measurement.failure for measurement in measured))


def go_first() -> None:
    """Go before other programs, with all that is measured.

    Linux shares the processors among sessions before it looks at how nice their processes are. So
    this needs a session of its own, whose niceness it can set.
    """
    try:
        os.nice(-PRIORITY)
        Path("/proc/self/autogroup").write_text(str(-PRIORITY))
    except PermissionError:
        sys.exit("bench: --priority is for root")
    except FileNotFoundError:  # a system without such groups
        return


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument(
        "suites", nargs="*", metavar="SUITE", help=f"{', '.join(MODULES)}; all unless given"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="leave out what takes long, and measure the rest shortly",
    )
    parser.add_argument("--rounds", type=int, help="how many rounds, instead of the usual number")
    parser.add_argument(
        "--priority", action="store_true", help="go before other programs (root's to decide)"
    )
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
    parser.add_argument(
        "--plots",
        type=Path,
        metavar="FOLDER",
        default=BENCHMARKS / "results" / "plots",
        help="where the plots go (default: benchmarks/results/plots)",
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="put results, tables and plots where the documentation takes them from",
    )
    parser.add_argument(
        "--from",
        dest="taken",
        type=Path,
        metavar="RESULTS.json",
        help="measure nothing; print and plot a former run",
    )
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.suites if name not in MODULES]:
        parser.error(f"there is no suite {unknown[0]!r}; there are {', '.join(MODULES)}")
    return arguments


def load(name: str) -> Suite:
    """Import the module of a suite."""
    suite: Suite = importlib.import_module(MODULES[name]).suite
    return suite


def publish(
    suites: list[Suite], plan: Plan, taken: dict[str, Any], arguments: argparse.Namespace
) -> None:
    """Print the tables, draw the plots, and put both into the documentation if asked to."""
    print(report(suites, plan, taken))
    figures = Figures(taken["measurements"])
    for suite in suites:
        draw(suite, figures, plan, PUBLISHED if arguments.publish else arguments.plots)
    if arguments.publish:
        path = PUBLISHED / "results.json"
        whole = results.merge(results.read(path), taken) if path.exists() else taken
        results.write(path, whole)
        measured = {entry["suite"] for entry in whole["measurements"]}
        every = [suite for suite in map(load, MODULES) if suite.name in measured]
        overview(every, Figures(whole["measurements"]), PUBLISHED)
        tables = report(every, plan, whole)
        (PUBLISHED / "tables.txt").write_text(tables + "\n", encoding="utf-8")
    if arguments.compare is not None:
        old = Figures(results.read(arguments.compare)["measurements"])
        print(f"\n## Since {arguments.compare}\n", comparison(suites, old, figures), sep="\n")
    if failures := failures_report(taken["measurements"]):
        print(f"\n## Could not be measured\n\n{failures}")


def report(suites: list[Suite], plan: Plan, taken: dict[str, Any]) -> str:
    """Write the tables, and what they were measured on."""
    figures = Figures(taken["measurements"])
    parts = [suite_report(suite, figures, plan) for suite in suites]
    parts += ["## To reach", targets_report(suites, figures)]
    machine = taken["machine"]
    parts.append(
        f"{plan.rounds} rounds; medians, with quartiles. CPython {machine['python']}"
        f"{'' if machine['optimised build'] else ', not an optimised build'},"
        f" {machine['processor']}, {machine['cores']} cores, {machine['system']};"
        f" {results.when(taken)}. Something else disturbed {100 * figures.noise('seconds'):.0f} % of"
        f" the measurements by the wall clock, {100 * figures.noise('cpu'):.0f} % by processor time;"
        " ~ marks a figure that had no others to stand on."
    )
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
