"""``missive health``: ask a run how it is, as a probe that runs a command."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

import click

from .exits import ExitCode
from .options import Seconds, debug_option, json_option
from .terminal import escaped, note, write, write_json

HELP = """\
Check the health of a run. The exit code is 0 if the run is live, and 1 if it is not or does not
answer.

\b
  missive health /tmp/health.json
  missive health http://127.0.0.1:9101 --ready

WHERE is the run's health file, or the URL of its health port. A file that was not written
recently counts as dead, since a killed process leaves its file behind.
"""

#: What is wrong with a run that answers no probe in a way that can be read.
Unanswered = str


@click.command(help=HELP, short_help="Check the health of a run.")
@click.argument("where", metavar="FILE|URL")
@click.option(
    "--ready", is_flag=True, help="Check whether it is ready instead of whether it is live."
)
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
    help="How long to wait for an answer of the port.",
)
@json_option("Write what the run said as JSON.")
@debug_option
def health(where: str, ready: bool, max_age: float, timeout: float, as_json: bool) -> int:
    """Ask a run for its health."""
    found = ask_run(where, max_age, timeout)
    if isinstance(found, str):
        note(f"missive: {found}")
        return ExitCode.FAILED
    question = "ready" if ready else "live"
    if as_json:
        write_json(found)
    else:
        write(escaped(_in_words(found)))
    return ExitCode.OK if found[question] is True else ExitCode.FAILED


def ask_run(where: str, max_age: float, timeout: float) -> dict[str, Any] | Unanswered:
    """Return what a run says of its health, or why it says nothing.

    :param where: its health file, or the URL of its health port.
    :param max_age: a file that is older, in seconds, counts as no answer.
    :param timeout: how long the port may take to answer, in seconds.
    """
    is_url = where.startswith(("http://", "https://"))
    return _ask(where, timeout) if is_url else _read(Path(where), max_age)


def _ask(url: str, timeout: float) -> dict[str, Any] | Unanswered:
    address = url.rstrip("/").removesuffix("/live").removesuffix("/ready")
    # Without the proxies of the environment, which have nothing to do with a probe.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{address}/", timeout=timeout) as answer:
            return _parsed(answer.read(), url)
    except (OSError, urllib.error.URLError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        return f"{url} does not answer: {why}"


def _read(path: Path, max_age: float) -> dict[str, Any] | Unanswered:
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}; does the run have --health-file?"
    found = _parsed(content, str(path))
    if isinstance(found, str):
        return found
    try:
        age = (datetime.now(timezone.utc) - datetime.fromisoformat(found["time"])).total_seconds()
    except (KeyError, TypeError, ValueError):
        return f"{path} is not a health file: it has no time"
    if age > max_age:
        return (
            f"{path} is {age:.0f} s old, so its run (process {found.get('pid')}) is dead or hangs"
        )
    return found


def _parsed(content: bytes, where: str) -> dict[str, Any] | Unanswered:
    try:
        found: Any = json.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not {"live", "ready"} <= cast("dict[str, Any]", found).keys():
        return f"{where} does not hold the health of a run"
    return cast("dict[str, Any]", found)


def _in_words(found: dict[str, Any]) -> str:
    words = [name if found[name] is True else f"not {name}" for name in ("live", "ready")]
    counts = [f"{found[name]} {name}" for name in ("received", "acked") if name in found]
    return ", ".join(words + counts)
