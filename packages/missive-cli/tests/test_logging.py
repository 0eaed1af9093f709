"""The command's own words, where the user's module configures logging."""

from __future__ import annotations

import json
import signal

import pytest

SILENCING = {
    "dictConfig": 'import logging.config\nlogging.config.dictConfig({"version": 1})\n',
    "disable": "import logging\nlogging.disable(logging.CRITICAL)\n",
    "own handlers": (
        "import logging\nlogging.basicConfig(force=True, format='mine: %(message)s')\n"
        "import missive\n"
    ),
}

MODULE = """\
import missive
from app import adapter, processor
"""


@pytest.fixture(params=SILENCING)
def silencing(request, project):
    """A module that configures logging after what it imports has its loggers."""
    (project / "silencing.py").write_text(MODULE + SILENCING[request.param])


@pytest.mark.usefixtures("silencing")
def test_an_error_is_told(missive):
    """What ends a run is its last JSON line, whatever the module does to logging."""
    done = missive("run", "silencing:adapter", "--json", input='{"label": "exit"}')
    assert done.returncode == 1
    last = json.loads(done.stderr.splitlines()[-1])
    assert "SystemExit 7" in last["message"]
    assert any('"ended: ' in line for line in done.stderr.splitlines())


@pytest.mark.usefixtures("silencing")
def test_an_abandoned_message_is_told(start):
    """The line that says which handler did not return is written."""
    process = start("run", "silencing:adapter", "--drain-timeout", 0.1)
    process.send('{"label": "wait", "for": "nowhere"}')
    process.wait_for("waiting")
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 4
    assert "a handler has not returned (wait at" in process.stderr


def test_disabled_loggers_are_warned_of(missive, project):
    """A module that disables Missive's loggers is told how not to."""
    (project / "silencing.py").write_text(
        "import logging\nlogging.getLogger('missive.settlement')\n"
        + MODULE
        + SILENCING["dictConfig"]
    )
    done = missive("run", "silencing:adapter", "--check")
    assert "disable_existing_loggers=False" in done.stdout
    assert "disable_existing" not in missive("run", "app:adapter", "--check").stdout


def test_a_log_that_is_not_json_is_warned_of(missive, project):
    """A module that puts its own handlers in place of the JSON log is named."""
    (project / "silencing.py").write_text(MODULE + SILENCING["own handlers"])
    done = missive("run", "silencing:adapter", "--check", "--log-format", "json")
    assert "only this command's own lines are JSON" in done.stdout
    assert "own lines" not in missive("run", "silencing:adapter", "--check").stdout
