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
from .logs import LEVELS, conflicts, set_up
from .options import Seconds, Settings, debug_option, json_option, message_option, target_options
from .preparing import prepare
from .reloading import is_child, run_reloading
from .report import Report
from .running import Probes, run_to_end
from .stopping import Stopping
from .terminal import note, write, write_json
from .variables import SecretOption

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
@click.option(
    "--from",
    "url",
    metavar="URL",
    cls=SecretOption,
    envvar="MISSIVE_FROM",
    show_envvar=True,
    help="The transport to run a processor on.",
)
@target_options
@message_option
@click.option(
    "--dlq",
    "dlq_url",
    metavar="URL",
    cls=SecretOption,
    envvar="MISSIVE_DLQ",
    show_envvar=True,
    help="Where dead letters go.",
)
@click.option(
    "--retry-attempts",
    metavar="N",
    type=click.IntRange(1),
    help="How often a message is handled, for handlers without a Retry of their own.",
)
@click.option(
    "--retry-delay",
    metavar="SECONDS",
    type=Seconds(0),
    help="The delay before the second attempt, doubled for each further one; 1 unless given.",
)
@click.option(
    "--workers",
    "--concurrency",
    "workers",
    metavar="N",
    type=click.IntRange(1),
    help="How many messages are handled at once.",
)
@click.option(
    "--max-in-flight",
    metavar="N",
    type=click.IntRange(1),
    help="How many messages may be with workers.",
)
@click.option(
    "--drain-timeout",
    metavar="SECONDS",
    type=Seconds(0),
    help="How long handlers may go on after a stop; 30 unless the adapter says, inf for ever.",
)
@click.option(
    "--connect-timeout",
    metavar="SECONDS",
    type=Seconds(0, min_open=True),
    help="How long the first connection is tried; 30 unless the adapter says.",
)
@click.option(
    "--handler-timeout",
    metavar="SECONDS",
    type=Seconds(0, min_open=True),
    help="A handler that runs for longer is named in the log, and the run is not ready.",
)
@click.option("--check", is_flag=True, help="Say what would be in effect, and do no more.")
@click.option("--reload", is_flag=True, help="Start again when a Python file here changes.")
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True)
@click.option("--log-format", type=click.Choice(["text", "json"]), help="text, unless --json.")
@click.option(
    "--health-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep a JSON file with the run's health, anew each second.",
)
@click.option(
    "--health-port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    help="Answer /live and /ready on this port, with 200 or 503.",
)
@click.option(
    "--health-host",
    metavar="ADDRESS",
    help=f"The address of the health port; {LOOPBACK} unless given, 0.0.0.0 for every address.",
)
@click.option(
    "--stall",
    metavar="SECONDS",
    type=Seconds(0, min_open=True),
    default=60.0,
    show_default=True,
    help="A run whose receive loop makes no progress for so many seconds is not live.",
)
@json_option("Say what is in effect as JSON, and log as JSON too.")
@debug_option
def run(
    target: str,
    check: bool,
    reload: bool,
    log_level: str,
    log_format: str | None,
    health_file: Path | None,
    health_host: str | None,
    health_port: int | None,
    stall: float,
    as_json: bool,
    **options: Any,
) -> int:
    """Run what the arguments name."""
    log_format = log_format or ("json" if as_json else "text")
    set_up(log_level, log_format)
    in_json = log_format == "json"
    click.get_current_context().ensure_object(Settings).log_errors = in_json
    if health_host is not None and health_port is None:
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
        probes = Probes(health_file, health_host or LOOPBACK, health_port, stall)
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
