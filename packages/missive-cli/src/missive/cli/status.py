"""``missive status``: how runs are, process by process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from .exits import ExitCode
from .health_probe import ask_run
from .options import Seconds, debug_option, json_option
from .terminal import note, plural, table, write_json

COLUMNS = (
    *("run", "process", "pid", "state", "received", "acked", "nacked", "dead", "deferred"),
    *("in flight", "restarts", "paused"),
)
FLEXIBLE = ("run", "paused")
OPTIONAL = ("nacked", "restarts", "pid", "deferred", "paused")
STYLES = {"run": "cyan", "state": "bold", "dead": "red"}
#: What is added up in the last line.
_COUNTS = ("received", "acked", "dead_lettered", "in_flight")

HELP = """\
Show the processes of runs: their state, and what they have done.

\b
  missive status http://127.0.0.1:9101
  missive status http://orders-1:9101 http://orders-2:9101
  missive status /run/orders/*.json --json

WHERE is the URL of a run's health port, or its health file. With --processes, the supervisor answers
for all of its processes. The exit code is 0 if all runs answer and are live, else 1.
"""


@click.command(help=HELP, short_help="Show the state of runs, process by process.")
@click.argument("wheres", metavar="FILE|URL...", nargs=-1, required=True)
@click.option(
    "--max-age",
    metavar="SECONDS",
    type=Seconds(0, min_open=True),
    default=10.0,
    show_default=True,
    help="Treat a file that is older than this as dead.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=Seconds(0, min_open=True, max=3600),
    default=5.0,
    show_default=True,
    help="How long to wait for an answer of a port.",
)
@json_option("Write JSON: an object a run, as it answered.")
@debug_option
def status(wheres: tuple[str, ...], max_age: float, timeout: float, as_json: bool) -> int:
    """Show how runs are."""
    rows: list[list[object]] = []
    totals = dict.fromkeys(_COUNTS, 0)
    well = True
    for where in wheres:
        found = ask_run(where, max_age, timeout)
        if isinstance(found, str):
            note(f"missive: {found}")
            well = False
            continue
        well = well and found["live"] is True
        if as_json:
            write_json({"run": where, **found})
        rows += _rows(where, found)
        for name in totals:
            totals[name] += _number(found, name)
    if not as_json and rows:
        table(COLUMNS, rows, flexible=FLEXIBLE, optional=OPTIONAL, styles=STYLES)
        note(
            f"{plural(len(rows), 'process').replace('processs', 'processes')}:"
            f" {totals['received']} received, {totals['acked']} acked,"
            f" {totals['dead_lettered']} dead-lettered, {totals['in_flight']} in flight"
        )
    return ExitCode.OK if well else ExitCode.FAILED


def _rows(where: str, found: dict[str, Any]) -> Iterator[list[object]]:
    each: list[dict[str, Any]] = found.get("processes", [found])
    for one in each:
        yield [
            where,
            one.get("process"),
            one.get("pid"),
            one.get("state"),
            _number(one, "received"),
            _number(one, "acked"),
            _number(one, "nacked"),
            _number(one, "dead_lettered"),
            _number(one, "deferred"),
            _number(one, "in_flight"),
            _number(one, "restarts"),
            ", ".join(map(str, one.get("paused", ()))) or None,
        ]


def _number(found: dict[str, Any], name: str) -> int:
    value: object = found.get(name, 0)
    return value if isinstance(value, int) else 0
