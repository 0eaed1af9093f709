"""``missive dlq serve``: the page from a shell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import missive as core
import pytest

pytest.importorskip("missive.web")
SQLiteDLQ = pytest.importorskip("missive.dlq.sqlite").SQLiteDLQ

URL = "sqlite:///dead.db"
#: How long anything may take before a test gives up, in seconds.
DEADLINE = 60.0


@pytest.fixture
def store(project):
    """A store with a letter."""
    with SQLiteDLQ(project / "dead.db") as dlq:
        dlq[b"one"] = (core.RawMessage(b'{"label": "greet", "name": "Ada"}'), "it failed")
        yield dlq


def start(project: Path, *args: str, **environment: str) -> tuple[subprocess.Popen[str], str]:
    """Start the page on a free port, and return its process and address."""
    command = [sys.executable, "-m", "missive.cli", "dlq", "serve", URL, *args]
    process = subprocess.Popen(
        [*command, "--port", "0", "--json"],
        cwd=project,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate(timeout=DEADLINE)
    return process, json.loads(line)["address"]


def end(process: subprocess.Popen[str], signum: int = signal.SIGTERM) -> str:
    """End the page as a supervisor does, and return what it said."""
    process.send_signal(signum)
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, said
    return said


@pytest.mark.usefixtures("store")
def test_it_serves_the_page_until_it_is_asked_to_end(project):
    """Letters are there, with what the processor would do; signals end it with exit code 0."""
    process, address = start(project, "app:adapter")
    try:
        with urlopen(f"{address}letters/{b'one'.hex()}", timeout=DEADLINE) as answer:
            shown = answer.read().decode()
    finally:
        said = end(process, signal.SIGINT)
    assert "It would go to <b>app.greet</b>" in shown
    assert said == ""


@pytest.mark.usefixtures("store")
def test_a_token_is_taken_from_the_environment(project):
    """Where there is a token nobody sees letters without it."""
    process, address = start(project, "--hide-bodies", MISSIVE_WEB_TOKEN="open sesame")
    try:
        with urlopen(f"{address}letters", timeout=DEADLINE) as answer:
            assert "Log in" in answer.read().decode()
        known = {"Authorization": "Bearer open sesame"}
        with urlopen(Request(f"{address}letters", headers=known), timeout=DEADLINE) as answer:
            assert "one" in answer.read().decode()
        with pytest.raises(HTTPError, match="403"):
            urlopen(Request(f"{address}export.jsonl", headers=known), timeout=DEADLINE)
    finally:
        end(process)


@pytest.mark.parametrize(
    ("args", "remedy"),
    [
        (("--host", "0.0.0.0"), "give it a token or users"),
        (("--user", "ada"), "set MISSIVE_WEB_PASSWORD_ADA"),
        (("--message", "json"), "goes with a TARGET"),
        (("app:processor",), "--message"),
    ],
)
@pytest.mark.usefixtures("store")
def test_what_cannot_be_served_is_refused(missive, refused, args, remedy):
    """An open page for others, a user without a password, a processor without its messages."""
    assert remedy in refused(missive("dlq", "serve", URL, *args, "--port", "0"))


def test_a_missing_store_is_refused(missive, refused, project):
    """No store is made to be looked at."""
    assert "no such file" in refused(missive("dlq", "serve", "sqlite:///none.db"))
    assert not (project / "none.db").exists()
