"""``missive run``: run an adapter, or a processor on the transport of a URL."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from missive import Adapter, MissiveError, Processor, Runnable

from .exits import CannotServe, ExitCode, Failed, kind_and_place
from .health import Health
from .logs import LEVELS, set_up
from .options import Settings, debug_option, json_option, message_option
from .report import Report, make_report
from .schemes import build_adapter, masked, open_store
from .serving import count_threads, runner, takes_server
from .targets import as_adapter, as_processor, load_message_cls, load_object, not_a
from .terminal import note, write, write_json
from .watchdog import Watchdog

logger = logging.getLogger("missive.cli.run")

#: How long the first connection is tried where nobody says, in seconds.
CONNECT_TIMEOUT = 30.0

HELP = """\
Run an adapter, or a processor on the transport that a URL names.

\b
  missive run app:adapter
  missive run app:processor --from stdin: --message json
  missive run app:processor --from 'redis://localhost/0?channels=a,b' --message json
  missive run app:processor --from 'redis+streams://localhost/0?streams=orders&group=billing' \\
      --message json --dlq sqlite:///dead-letters.db --workers 4
  missive run app:processor --from http://127.0.0.1:8000/hooks --message json

TARGET is MODULE:NAME; the working directory is on the path. A URL with a password is best given in
the environment, since any user can read the arguments of a process. What is in effect is said on
standard error before it starts; standard output is the handlers'. SIGINT and SIGTERM stop it
cleanly: no message is begun any more, and those in hand are finished, for as long as the drain may
take.
"""


@click.command(help=HELP, short_help="Run an adapter, or a processor on a transport.")
@click.argument("target")
@click.option(
    "--from",
    "url",
    metavar="URL",
    envvar="MISSIVE_FROM",
    show_envvar=True,
    help="The transport to run a processor on.",
)
@message_option
@click.option(
    "--dlq",
    "dlq_url",
    metavar="URL",
    envvar="MISSIVE_DLQ",
    show_envvar=True,
    help="Where dead letters go.",
)
@click.option(
    "--workers", metavar="N", type=click.IntRange(1), help="How many messages are handled at once."
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
    type=click.FloatRange(0),
    help="How long handlers may go on after a stop; 30 unless the adapter says.",
)
@click.option(
    "--connect-timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    help="How long the first connection is tried; 30 unless the adapter says.",
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
    help="Answer /live and /ready on this loopback port, with 200 or 503.",
)
@click.option(
    "--stall",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="A run without progress for so many seconds is not live.",
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
    health_port: int | None,
    stall: float,
    as_json: bool,
    connect_timeout: float | None,
    **options: Any,
) -> int:
    """Run what the arguments name."""
    log_format = log_format or ("json" if as_json else "text")
    set_up(log_level, log_format)
    in_json = log_format == "json"
    click.get_current_context().ensure_object(Settings).log_errors = in_json
    if reload and not check:
        return _reload(options["drain_timeout"])
    adapter, report = _prepare(target, connect_timeout=connect_timeout, **options)
    if check:
        _say(report, write, write_json if as_json else None)
        return ExitCode.OK
    _say(report, note, _note_json if as_json or in_json else None)
    with _watch_health(adapter, health_file, health_port, stall) as health:
        _run(adapter, health.close, report.workers)
    return ExitCode.OK


def _run(adapter: Adapter[Any], tidy: Callable[[], None], workers: int | None) -> None:
    """Run an adapter to its end.

    :param tidy: called where the process ends at the drain deadline.
    :param workers: how many threads a server has, where one serves the adapter.
    :raises Failed: a handler or a hook, or the transport's client, ended it.
    :raises CannotServe: the server cannot listen.
    :raises MissiveError: what else ended it.
    """
    assert isinstance(adapter, Runnable)
    try:
        with Watchdog(adapter, tidy):
            runner(adapter, workers)()
    except (MissiveError, CannotServe, KeyboardInterrupt):
        raise
    except SystemExit as error:
        raise Failed(f"a handler or hook ended the program (SystemExit {error.code})") from error
    except Exception as error:
        raise Failed(
            f"processing ended with {kind_and_place(error)}; the message stays with the transport"
            " where that can redeliver; --dlq keeps such messages, --debug shows the traceback"
        ) from error
    finally:
        _log_counts(adapter)


def _log_counts(adapter: Adapter[Any]) -> None:
    status = getattr(adapter, "status", None)
    if status is None:
        return
    counts = status()
    logger.info(
        "ended: %d received, %d acked, %d nacked, %d dead-lettered",
        counts.received,
        counts.acked,
        counts.nacked,
        counts.dead_lettered,
    )


def _watch_health(
    adapter: Adapter[Any], path: Path | None, port: int | None, stall: float
) -> ExitStack:
    """Give what keeps the health file and the health port, as they are asked for; enter it.

    :raises click.UsageError: one of them cannot be had.
    """
    stack = ExitStack()
    health = Health(adapter, stall)
    if path is not None:
        from .health_file import HealthFile

        stack.enter_context(HealthFile(health, path))
    if port is not None:
        from .health_port import HealthPort  # http.server is costly to import

        try:
            stack.enter_context(HealthPort(health, port))
        except BaseException:
            stack.close()
            raise
    return stack


def _prepare(
    target: str,
    *,
    url: str | None,
    message: str | None,
    dlq_url: str | None,
    connect_timeout: float | None,
    **options: Any,
) -> tuple[Adapter[Any], Report]:
    """Build what is to run, and look at it."""
    found = load_object(target)
    given = {name: value for name, value in options.items() if value is not None}
    processor, adapter = as_processor(found), as_adapter(found)
    if processor is not None:
        adapter = _build(target, processor, url, message, given)
    elif adapter is not None:
        _adjust(target, adapter, url, message, given)
    else:
        raise click.UsageError(not_a(target, found, "an adapter or a processor"))
    if not isinstance(adapter, Runnable):
        raise click.UsageError(
            f"{target} does not run by itself: a {type(adapter).__name__} has no run();"
            " it is for a server to call"
        )
    if connect_timeout is not None or getattr(adapter, "connect_timeout", 0.0) is None:
        _set(adapter, "connect_timeout", connect_timeout or CONNECT_TIMEOUT)
    if dlq_url is not None:
        adapter.processor.set_dlq(open_store(dlq_url))
    if takes_server(adapter):
        workers = count_threads(options["workers"])
    else:
        workers = getattr(adapter, "workers", None)
    report = make_report(
        adapter,
        workers=workers,
        source=masked(url) if url else None,
        dlq=masked(dlq_url) if dlq_url else None,
    )
    return adapter, report


def _build(
    target: str,
    processor: Processor[Any],
    url: str | None,
    message: str | None,
    options: dict[str, Any],
) -> Adapter[Any]:
    if url is None:
        raise click.UsageError(
            f"{target} is a processor, so its transport must be given: --from stdin:,"
            " --from redis://localhost/0?channels=a, ..."
        )
    if message is None:
        raise click.UsageError(
            f"{target} is a processor, so the class of its messages must be given:"
            " --message json, raw or MODULE:CLASS"
        )
    message_cls = load_message_cls(message)
    # Building connects to nothing, so that it can be looked what the adapter is.
    of_workers = options.keys() & {"workers", "max_in_flight"}
    if of_workers and takes_server(build_adapter(url, message_cls, processor)):
        if "max_in_flight" in of_workers:
            raise click.UsageError(
                "--max-in-flight is for transports that are read from; where senders are answered"
                " --workers bounds what is in hand"
            )
        del options["workers"]
    return build_adapter(url, message_cls, processor, **options)


def _adjust(
    target: str,
    adapter: Adapter[Any],
    url: str | None,
    message: str | None,
    options: dict[str, Any],
) -> None:
    """Change how long an adapter waits; all else was fixed when it was built.

    :raises click.UsageError: something else was to be changed.
    """
    if "drain_timeout" in options:
        _set(adapter, "drain_timeout", options.pop("drain_timeout"))
    fixed = [f"--{name.replace('_', '-')}" for name in options]
    fixed += ["--from"] if url is not None else []
    fixed += ["--message"] if message is not None else []
    if fixed:
        raise click.UsageError(
            f"{target} is an adapter, built already; {', '.join(fixed)} can only be given with a"
            " processor"
        )


def _set(adapter: Adapter[Any], name: str, value: float) -> None:
    # Not through the adapter's __dict__: once that was asked for, CPython 3.11 reads every
    # attribute the slow way, which costs 6 % of the time that a message takes.
    setattr(adapter, name, value)


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


def _reload(drain_timeout: float | None) -> int:
    from .reloading import run_reloading

    args = [arg for arg in sys.argv[1:] if arg != "--reload"]
    return run_reloading(args, Path.cwd(), 30.0 if drain_timeout is None else drain_timeout)
