"""``missive status`` and ``missive lag``."""

from __future__ import annotations

import json
import re
import signal

LAGGING = """\
from app import processor, missive
from missive.adapters.stdin import StdinAdapter


class Behind(StdinAdapter):
    def lag_by_source(self):
        return {"orders": 3, "returns": 0}


class Silent(StdinAdapter):
    def lag_by_source(self):
        raise OSError("secret")


adapter = Behind(missive.JSONMessage, processor)
silent = Silent(missive.JSONMessage, processor)
"""


def url_of(process) -> str:
    """Return the address of a run's health port."""
    process.wait_for("/live and /ready", "stderr")
    return re.search(r"(http://127\.0\.0\.1:\d+)/live", process.stderr)[1]


def test_status_shows_runs_by_file_and_by_port(start, missive, project):
    """A row for each process, and the sums of all."""
    one = start("run", "app:adapter", "--health-port", 0)
    other = start("run", "app:adapter", "--health-file", "health.json")
    one.send('{"label": "greet", "name": "Ada"}')
    one.wait_for("hello Ada")
    url = url_of(one)
    other.wait_until((project / "health.json").exists, "health file")
    one.wait_until(
        lambda: json.loads(missive("status", url, "--json").stdout)["acked"] == 1, "acked message"
    )
    done = missive("status", url, "health.json")
    assert done.returncode == 0
    head, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    found = [dict(zip(head, row, strict=True)) for row in rows]
    assert [row["run"] for row in found] == [url, "health.json"]
    assert [row["acked"] for row in found] == ["1", "0"]
    assert {int(row["pid"]) for row in found} == {one.popen.pid, other.popen.pid}
    assert done.stderr.startswith("2 processes: 1 received, 1 acked, 0 dead-lettered")


def test_status_shows_each_process_of_a_supervisor(start, missive, project):
    """The supervisor answers for all."""
    (project / "waiting.py").write_text(
        "import missive\nfrom missive.polling import PollingAdapter\n\n\n"
        "class Waiting(PollingAdapter):\n"
        "    def open(self): ...\n    def close(self): ...\n"
        "    def receive(self, timeout):\n        self.wait(timeout)\n        return []\n"
        "    def ack(self, message): ...\n    def nack(self, message): ...\n\n\n"
        "adapter = Waiting(missive.RawMessage, missive.Processor())\n"
    )
    process = start("run", "waiting:adapter", "--processes", 2, "--health-port", 0)
    url = url_of(process)

    def states():
        lines = missive("status", url).stdout.splitlines()
        return [line.split("\t")[3] for line in lines[1:]]

    process.wait_until(lambda: states() == ["ready", "ready"], "two processes that are ready")
    assert missive("health", url, "--ready").returncode == 0
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 0


def test_a_run_that_does_not_answer_is_named(missive):
    """The others are shown, and the exit code is 1."""
    done = missive("status", "gone.json")
    assert done.returncode == 1
    assert "gone.json cannot be read" in done.stderr


def test_lag_is_shown_by_source(missive, project):
    """With the sum, and an exit code for scripts."""
    (project / "lagging.py").write_text(LAGGING)
    done = missive("lag", "lagging:adapter")
    assert (done.returncode, done.stdout) == (0, "source\tlag\norders\t3\nreturns\t0\n")
    assert done.stderr == "3 messages not settled\n"
    done = missive("lag", "lagging:adapter", "--json", "--max", 2)
    assert done.returncode == 1
    assert json.loads(done.stdout.splitlines()[0]) == {"source": "orders", "lag": 3}
    assert missive("lag", "lagging:adapter", "--max", 3).returncode == 0


def test_a_lag_that_is_unknown_is_said(missive, project):
    """By an adapter that cannot say, or a transport that cannot be asked; without its words."""
    (project / "lagging.py").write_text(LAGGING)
    done = missive("lag", "app:adapter")
    assert done.returncode == 1
    assert "StdinAdapter cannot say how many messages wait" in done.stderr
    done = missive("lag", "lagging:silent")
    assert done.returncode == 1
    assert "lagging:silent did not answer: OSError at " in done.stderr
    assert "secret" not in done.stderr
    assert "cannot say" in missive("lag", MISSIVE_FROM="stdin:").stderr


def test_lag_needs_something_to_ask(missive, refused):
    """An adapter or a URL, in the arguments or in the environment."""
    assert "MISSIVE_FROM" in refused(missive("lag", MISSIVE_FROM=""))
    assert "not an adapter" in refused(missive("lag", "app:not_an_adapter"))
