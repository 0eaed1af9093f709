"""``missive run``: run an adapter, or a processor on the transport of a URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from missive import Runnable

from .exits import ExitCode
from .loading import program_folder
from .logs import conflicts, set_up
from .member import Member, check_processes
from .options import Settings
from .preparing import prepare
from .processes import run_processes
from .recycling import Recycling
from .reloading import is_child, run_reloading
from .report import Report
from .run_options import run_options
from .running import Probes, run_to_end
from .stopping import Stopping
from .telemetry import export_metrics, share_metrics, trace_runs
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
  missive run app:adapter --processes 4 --metrics-port 9101

TARGET is MODULE:NAME, looked up from the working directory. If a URL has a password, put it in the
environment, since any user can read the arguments of a process. The command lists the options in
effect on standard error before it starts; it leaves standard output to the handlers. SIGINT, SIGTERM
and SIGHUP stop the run cleanly: it starts no further message, and finishes those in flight within
the drain timeout. Under systemd (Type=notify) it reports when it is ready, alive and stopping.
"""


@click.command(help=HELP, short_help="Run an adapter, or a processor on a transport.")
@click.argument("target")
@run_options
def run(
    target: str,
    check: bool,
    reload: bool,
    processes: int | None,
    log_level: str,
    log_format: str | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Run what the arguments name."""
    member = Member.of_environment()
    log_format = log_format or ("json" if as_json else "text")
    set_up(log_level, log_format, None if member is None else member.number)
    in_json = log_format == "json"
    click.get_current_context().ensure_object(Settings).log_errors = in_json
    probes = Probes.of_options(options)
    drain_timeout = 30.0 if options["drain_timeout"] is None else options["drain_timeout"]
    if reload and not check and member is None and not is_child():
        return run_reloading(program_folder(), drain_timeout)
    if processes is not None and not check and member is None:
        return run_processes(processes, drain_timeout, probes)
    as_what: Callable[[Any], None] | None = None
    if check:
        as_what = write_json if as_json else None
    elif as_json or in_json:
        as_what = _note_json
    running = _Running(target, processes, probes, member, options)
    with Stopping() as stopping:
        report = running.prepare()
        report.warnings.extend(conflicts(log_format))
        if check or member is None or member.reports:
            _say(report, write if check else note, as_what)
        return ExitCode.OK if check else running.run(stopping)


class _Running:
    """A run in this process.

    :param processes: how many processes there are; None without a supervisor.
    :param member: which of them this one is.
    :param options: the other options of the command.
    """

    def __init__(
        self,
        target: str,
        processes: int | None,
        probes: Probes,
        member: Member | None,
        options: dict[str, Any],
    ) -> None:
        self._target = target
        self._processes = processes
        self._probes = probes if member is None else probes.of_member(member)
        self._member = member
        self._otel: bool = options.pop("otel")
        self._grace: float | None = options.pop("grace_period")
        self._recycling = Recycling(options.pop("max_messages"), options.pop("max_memory"))
        self._options = options

    def prepare(self) -> Report:
        """Build what is to run, and look at it."""
        if self._member is not None and self._probes.metrics:
            share_metrics(self._member.number)  # before the program makes metrics of its own
        self._adapter, self._report = prepare(self._target, **self._options)
        report = self._report
        report.warn_of_drain(getattr(self._adapter, "drain_timeout", 30.0), self._grace)
        if self._processes is not None:
            check_processes(self._adapter)
            report.warn_of_processes(self._processes)
        return report

    def run(self, stopping: Stopping) -> ExitCode:
        """Run it to its end."""
        adapter, member = self._adapter, self._member
        assert isinstance(adapter, Runnable)  # as prepare checked
        if self._otel:
            trace_runs(adapter.processor)
        expose = export_metrics(adapter.processor) if self._probes.metrics else None
        stopping.begin(adapter)
        if member is not None:
            member.follow(adapter.stop)
        self._recycling.watch(adapter)
        with self._probes.watch(adapter, expose) as telling:
            run_to_end(adapter, telling.close, self._report.workers)
        replaced = member is not None and self._recycling.reached
        return ExitCode.RECYCLED if replaced else ExitCode.OK


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
