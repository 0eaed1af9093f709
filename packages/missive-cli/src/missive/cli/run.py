"""``missive run``: run an adapter, or a processor on the transport of a URL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from missive import Runnable

from .exits import ExitCode
from .health import LOOPBACK
from .loading import program_folder
from .logs import conflicts, set_up
from .options import Settings
from .preparing import prepare
from .reloading import is_child, run_reloading
from .report import Report
from .run_options import run_options
from .running import Probes, run_to_end
from .stopping import Stopping
from .telemetry import export_metrics
from .terminal import note, write, write_json

HELP = """\
Run an adapter, or a processor on the transport that a URL names.

\b
  missive run app:adapter
  missive run app:processor --from stdin: --message json
  missive run app:processor --from 'redis://localhost/0?channels=a,b' --message json
  missive run app:processor --from 'redis+streams://localhost/0?streams=orders&group=billing' \\
      --message json --dlq sqlite:///dead-letters.db --workers 4
  missive run app:processor --from stdin: --message json \\
      --dlq sqlite:///letters.db --retry-attempts 5 --retry-delay 2
  missive run app:processor --from deferred: --message json --dlq sqlite:///letters.db
  missive run app:processor --from http://127.0.0.1:8000/hooks --message json

TARGET is MODULE:NAME; the working directory is on the path. A URL with a password is best given in
the environment, since any user can read the arguments of a process. What is in effect is said on
standard error before it starts; standard output is the handlers'. SIGINT, SIGTERM and SIGHUP
stop it cleanly: no further message is begun, and those in flight are finished, for as long as the
drain may take. Under systemd it says when it is ready, alive and stopping (Type=notify).
"""


@click.command(help=HELP, short_help="Run an adapter, or a processor on a transport.")
@click.argument("target")
@run_options
def run(
    target: str,
    check: bool,
    reload: bool,
    log_level: str,
    log_format: str | None,
    health_file: Path | None,
    health_host: str | None,
    health_port: int | None,
    metrics_port: int | None,
    stall: float,
    as_json: bool,
    **options: Any,
) -> int:
    """Run what the arguments name."""
    log_format = log_format or ("json" if as_json else "text")
    set_up(log_level, log_format)
    in_json = log_format == "json"
    click.get_current_context().ensure_object(Settings).log_errors = in_json
    ports = sorted({port for port in (health_port, metrics_port) if port is not None})
    if health_host is not None and not ports:
        raise click.UsageError("--health-host is the address of a port; give --health-port too")
    if reload and not check and not is_child():
        drain_timeout: float | None = options["drain_timeout"]
        return run_reloading(program_folder(), 30.0 if drain_timeout is None else drain_timeout)
    with Stopping() as stopping:
        adapter, report = prepare(target, **options)
        report.warnings.extend(conflicts(log_format))
        if check:
            _say(report, write, write_json if as_json else None)
            return ExitCode.OK
        _say(report, note, _note_json if as_json or in_json else None)
        expose = export_metrics(adapter.processor) if metrics_port is not None else None
        probes = Probes(health_file, health_host or LOOPBACK, ports, stall, expose)
        assert isinstance(adapter, Runnable)  # as prepare checked
        stopping.begin(adapter)
        with probes.watch(adapter) as telling:
            run_to_end(adapter, telling.close, report.workers)
    return ExitCode.OK


def _say(
    report: Report, as_text: Callable[[str], None], as_json: Callable[[Any], None] | None
) -> None:
    if as_json is not None:
        as_json({"event": "in effect", **vars(report)})
        return
    for line in report.lines():
        as_text(line)


def _note_json(value: Any) -> None:
    import json

    note(json.dumps(value))
