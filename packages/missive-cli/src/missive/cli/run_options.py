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
        help="The store for dead letters.",
    ),
    click.option(
        "--retry-attempts",
        metavar="N",
        type=click.IntRange(1),
        help="The maximum number of attempts for a message, if its handler has no Retry.",
    ),
    click.option(
        "--retry-delay",
        metavar="SECONDS",
        type=Seconds(0),
        help="The delay before the second attempt, doubled for each further one. Default: 1.",
    ),
    click.option(
        "--workers",
        "--concurrency",
        "workers",
        metavar="N",
        type=click.IntRange(1),
        help="How many messages to handle at once.",
    ),
    click.option(
        "--max-in-flight",
        metavar="N",
        type=click.IntRange(1),
        help="How many messages may be in a handler or waiting for a worker.",
    ),
    click.option(
        "--drain-timeout",
        metavar="SECONDS",
        type=Seconds(0),
        help="How long handlers may run after a stop; inf for no limit. Default: the adapter's, or 30.",
    ),
    click.option(
        "--connect-timeout",
        metavar="SECONDS",
        type=Seconds(0, min_open=True),
        help="How long to try the first connection. Default: the adapter's, or 30.",
    ),
    click.option(
        "--handler-timeout",
        metavar="SECONDS",
        type=Seconds(0, min_open=True),
        help="If a handler runs longer, log its name and report the run as not ready.",
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
        help="End a process after this many settled messages. With --processes, another starts.",
    ),
    click.option(
        "--max-memory",
        metavar="MIB",
        type=click.IntRange(1),
        help="End a process that uses this much memory. With --processes, another starts.",
    ),
    click.option(
        "--grace-period",
        metavar="SECONDS",
        type=Seconds(0, min_open=True),
        envvar="MISSIVE_GRACE_PERIOD",
        show_envvar=True,
        help="How long after SIGTERM the process is killed. Warn if the drain may take longer.",
    ),
    click.option("--check", is_flag=True, help="Show the options in effect, and exit."),
    click.option(
        "--reload", is_flag=True, help="Start again when a Python file in this folder changes."
    ),
    click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True),
    click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        help="Default: text, or json with --json.",
    ),
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
        help=f"The address of the health port; 0.0.0.0 for every address. Default: {LOOPBACK}.",
    ),
    click.option(
        "--metrics-port",
        metavar="PORT",
        type=click.IntRange(0, 65535),
        help="Answer /metrics on this port, for Prometheus, and also /live and /ready. It may be the"
        " health port.",
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
        help="If the receive loop makes no progress for this long, the run is not live.",
    ),
    json_option("Write the options in effect and the log as JSON."),
    debug_option,
]
