"""The options of ``missive run``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from .health import LOOPBACK
from .logs import LEVELS
from .options import Seconds, debug_option, json_option, message_option, target_options
from .variables import SecretOption

F = TypeVar("F", bound=Callable[..., Any])


def run_options(command: F) -> F:
    """Add to a command the options of a run, in the order of this file."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "--from",
        "url",
        metavar="URL",
        cls=SecretOption,
        envvar="MISSIVE_FROM",
        show_envvar=True,
        help="The transport to run a processor on.",
    ),
    target_options,
    message_option,
    click.option(
        "--dlq",
        "dlq_url",
        metavar="URL",
        cls=SecretOption,
        envvar="MISSIVE_DLQ",
        show_envvar=True,
        help="Where dead letters go.",
    ),
    click.option(
        "--retry-attempts",
        metavar="N",
        type=click.IntRange(1),
        help="How many times to try a message, for handlers without a Retry of their own.",
    ),
    click.option(
        "--retry-delay",
        metavar="SECONDS",
        type=Seconds(0),
        help="The delay before the second attempt, doubled for each further one; 1 unless given.",
    ),
    click.option(
        "--workers",
        "--concurrency",
        "workers",
        metavar="N",
        type=click.IntRange(1),
        help="How many messages are handled at once.",
    ),
    click.option(
        "--max-in-flight",
        metavar="N",
        type=click.IntRange(1),
        help="How many messages may be handled or waiting for a worker.",
    ),
    click.option(
        "--drain-timeout",
        metavar="SECONDS",
        type=Seconds(0),
        help="How long handlers may run after a stop; 30 unless the adapter says, inf for ever.",
    ),
    click.option(
        "--connect-timeout",
        metavar="SECONDS",
        type=Seconds(0, min_open=True),
        help="How long to try the first connection; 30 unless the adapter says.",
    ),
    click.option(
        "--handler-timeout",
        metavar="SECONDS",
        type=Seconds(0, min_open=True),
        help="A handler that runs for longer is named in the log, and the run is not ready.",
    ),
    click.option(
        "--processes",
        metavar="N",
        type=click.IntRange(1),
        help="Run this many processes, under a supervisor that replaces those that end.",
    ),
    click.option(
        "--max-messages",
        metavar="N",
        type=click.IntRange(1),
        help="End a process after this many settled messages; --processes starts another.",
    ),
    click.option(
        "--max-memory",
        metavar="MIB",
        type=click.IntRange(1),
        help="End a process that uses this much memory; --processes starts another.",
    ),
    click.option(
        "--grace-period",
        metavar="SECONDS",
        type=Seconds(0, min_open=True),
        envvar="MISSIVE_GRACE_PERIOD",
        show_envvar=True,
        help="How long after SIGTERM the process is killed; a drain that may take longer is warned of.",
    ),
    click.option("--check", is_flag=True, help="Show the options in effect, and exit."),
    click.option("--reload", is_flag=True, help="Start again when a Python file here changes."),
    click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True),
    click.option("--log-format", type=click.Choice(["text", "json"]), help="text, unless --json."),
    click.option(
        "--health-file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write the run's health to this JSON file every second.",
    ),
    click.option(
        "--health-port",
        metavar="PORT",
        type=click.IntRange(0, 65535),
        help="Answer /live and /ready on this port, with 200 or 503.",
    ),
    click.option(
        "--health-host",
        metavar="ADDRESS",
        help=f"The address of the health port; {LOOPBACK} unless given, 0.0.0.0 for every address.",
    ),
    click.option(
        "--metrics-port",
        metavar="PORT",
        type=click.IntRange(0, 65535),
        help="Answer /metrics on this port, for Prometheus, and what the health port answers too; may"
        " be the health port.",
    ),
    click.option(
        "--otel",
        is_flag=True,
        help="Trace and measure every delivery with OpenTelemetry.",
    ),
    click.option(
        "--stall",
        metavar="SECONDS",
        type=Seconds(0, min_open=True),
        default=60.0,
        show_default=True,
        help="A run whose receive loop makes no progress for this long is not live.",
    ),
    json_option("Say what is in effect as JSON, and log as JSON too."),
    debug_option,
]
