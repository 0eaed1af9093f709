"""The health file and the health port of ``missive run``."""

from __future__ import annotations

import json
import re
import signal
import socket
import urllib.error
import urllib.request
from datetime import datetime, timezone

import missive as core
import pytest
from missive.cli.health import Health
from missive.polling import PollingAdapter

HANG = '{"label": "wait", "for": "go"}'

BROKEN_DLQ = """\
import os

import missive
from app import adapter, processor


class Unwritable(missive.MemoryDLQ):
    def check(self):
        if os.path.exists("full"):
            raise missive.DeadLetterStoreError("the disk is full")


processor.set_dlq(Unwritable())
"""


def ask(port: int, question: str) -> tuple[int, dict]:
    """Ask a health port; gives the status and what it says."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{question}", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def port_of(process) -> int:
    """Return the health port of a running command."""
    process.wait_for("/live and /ready", "stderr")
    found = re.search(r"http://127\.0\.0\.1:(\d+)/live", process.stderr)
    assert found is not None
    return int(found[1])


def test_the_port_answers_live_and_ready(start):
    """A run that waits for messages is live and ready, and counts what it handled."""
    process = start("run", "app:adapter", "--health-port", 0)
    port = port_of(process)
    process.send('{"label": "greet", "name": "Ada"}')
    process.wait_for("hello Ada")
    process.wait_until(lambda: ask(port, "live")[1]["acked"] == 1, "acked message in the health")
    process.wait_until(lambda: ask(port, "ready")[0] == 200, "status 200 of a run that is ready")
    _, found = ask(port, "ready")
    assert (found["live"], found["ready"], found["dlq_writable"]) == (True, True, None)
    assert ask(port, "live")[0] == 200


def test_a_handler_that_takes_long_leaves_the_run_live(start, project):
    """Live is the receive loop's own progress, whatever a handler does."""
    process = start("run", "app:adapter", "--health-port", 0, "--stall", 1.5)
    port = port_of(process)
    process.send(HANG)
    process.wait_for("waiting")
    assert ask(port, "live")[0] == 200
    (project / "go").touch()
    process.wait_for("through")
    assert ask(port, "live")[0] == 200


@pytest.mark.parametrize("workers", [1, 2])
def test_a_handler_past_its_timeout_makes_the_run_unready(start, project, workers):
    """It is named in the log and not killed; the run is live all the while."""
    more = ["--health-port", 0, "--handler-timeout", 0.2, "--workers", workers]
    process = start("run", "app:processor", "--message", "json", "--from", "stdin:", *more)
    port = port_of(process)
    process.send(HANG)
    process.wait_for("waiting")
    process.wait_until(lambda: ask(port, "ready")[0] == 503, "status 503 of a handler that hangs")
    assert ask(port, "ready")[1]["overdue"] == ["app.wait"]
    assert ask(port, "live")[0] == 200
    process.wait_for("its handler_timeout", "stderr")
    (project / "go").touch()
    process.wait_until(lambda: ask(port, "ready")[0] == 200, "status 200 of a run that goes on")


def test_a_dlq_that_cannot_be_written_is_not_ready(start, project):
    """While the DLQ cannot be written the run is live but not ready."""
    (project / "broken.py").write_text(BROKEN_DLQ)
    process = start("run", "broken:adapter", "--health-port", 0)
    port = port_of(process)
    process.wait_until(lambda: ask(port, "ready")[0] == 200, "status 200 of a run that is ready")
    (project / "full").touch()
    process.wait_until(lambda: ask(port, "ready")[0] == 503, "status 503 of a full disk")
    assert ask(port, "ready")[1]["dlq_writable"] is False
    assert ask(port, "live")[0] == 200


def test_the_report_warns_of_a_dlq_that_cannot_be_written(missive, project):
    """``--check`` says that the DLQ cannot be written, and why."""
    (project / "broken.py").write_text(BROKEN_DLQ)
    (project / "full").touch()
    done = missive("run", "broken:adapter", "--check")
    assert "the DLQ cannot be written: the disk is full" in done.stdout


def test_a_probe_may_ask_for_the_status_alone(start):
    """HEAD is answered as GET is, without a body."""
    process = start("run", "app:adapter", "--health-port", 0)
    port = port_of(process)
    process.wait_until(lambda: ask(port, "ready")[0] == 200, "status 200 of a run that is ready")
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"HEAD /live HTTP/1.0\r\n\r\n")
        with connection.makefile("rb") as stream:
            answer = stream.read()
    assert answer.split()[1] == b"200"
    assert answer.endswith(b"\r\n\r\n")


def test_an_unknown_question_is_not_found(start):
    """The port answers nothing but its own paths."""
    process = start("run", "app:adapter", "--health-port", 0)
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        urllib.request.urlopen(f"http://127.0.0.1:{port_of(process)}/secrets", timeout=5)
    caught.value.close()


def test_a_port_that_is_taken_is_refused(start, missive):
    """A health port that another program has is a usage error."""
    port = port_of(start("run", "app:adapter", "--health-port", 0))
    done = missive("run", "app:adapter", "--health-port", port)
    assert done.returncode == 2
    assert f"the health port {port} cannot be opened" in done.stderr


@pytest.mark.parametrize(
    ("host", "shown"), [("0.0.0.0", "0.0.0.0"), ("localhost", "localhost"), ("::1", "[::1]")]
)
def test_the_port_listens_where_it_is_told(start, host, shown):
    """``--health-host`` names another address than the loopback, of either family."""
    if host == "::1" and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    process = start("run", "app:adapter", "--health-port", 0, "--health-host", host)
    process.wait_for("/live and /ready", "stderr")
    found = re.search(rf"http://{re.escape(shown)}:(\d+)/live", process.stderr)
    assert found is not None, process.stderr
    with socket.create_connection((host, int(found[1])), timeout=5) as connection:
        connection.sendall(b"GET /live HTTP/1.0\r\n\r\n")
        with connection.makefile("rb") as stream:
            assert b"200" in stream.readline()


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_a_host_that_cannot_be_listened_on_is_refused(missive):
    """An address of another machine, or a host without its port, is a usage error."""
    done = missive("run", "app:adapter", "--health-port", 0, "--health-host", "192.0.2.1")
    assert done.returncode == 2
    assert "port 0 of 192.0.2.1 cannot be opened" in done.stderr
    done = missive("run", "app:adapter", "--health-host", "0.0.0.0")
    assert done.returncode == 2
    assert "give --health-port too" in done.stderr


def test_a_probe_asks_the_port(start, missive):
    """``missive health URL`` is exit code 0 while the run is live, 1 once it is gone."""
    process = start("run", "app:adapter", "--health-port", 0)
    url = f"http://127.0.0.1:{port_of(process)}"
    process.wait_until(lambda: ask(port_of(process), "ready")[0] == 200, "a run that is ready")
    for args in ((url,), (f"{url}/live",), (url, "--ready")):
        done = missive("health", *args)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("live, ready, 0 received")
    assert json.loads(missive("health", url, "--json").stdout)["pid"] == process.popen.pid
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 0
    done = missive("health", url)
    assert done.returncode == 1
    assert "does not answer" in done.stderr


def test_a_probe_reads_the_file(start, missive, project):
    """``missive health FILE`` is exit code 0 while the run keeps it."""
    process = start("run", "app:adapter", "--health-file", "health.json")
    process.wait_until((project / "health.json").exists, "health file")
    assert missive("health", "health.json").returncode == 0
    process.popen.kill()
    process.ended()
    path = project / "health.json"
    left = json.loads(path.read_text())
    path.write_text(json.dumps({**left, "time": "2020-01-01T00:00:00+00:00"}))
    done = missive("health", "health.json")
    assert done.returncode == 1
    assert "is dead or hangs" in done.stderr


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot be read"),
        ("", "does not hold the health of a run"),
        ("[1]", "does not hold the health of a run"),
        ('{"live": true, "ready": true}', "it has no time"),
    ],
)
def test_a_file_that_is_no_health_is_not_live(missive, project, content, expected):
    """What cannot be read counts as dead, with the reason in one line."""
    if content is not None:
        (project / "health.json").write_text(content)
    done = missive("health", "health.json")
    assert done.returncode == 1
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_run_that_is_not_ready_fails_the_probe(missive, project):
    """``--ready`` asks for more than life."""
    now = datetime.now(timezone.utc).isoformat()
    found = {"live": True, "ready": False, "time": now}
    (project / "health.json").write_text(json.dumps(found))
    assert missive("health", "health.json").returncode == 0
    done = missive("health", "health.json", "--ready")
    assert (done.returncode, done.stdout) == (1, "live, not ready\n")


def test_the_file_is_kept_whole_and_removed_in_the_end(start, project):
    """The health file is JSON whenever it is read, follows the run, and goes when the run ends."""
    path = project / "health.json"
    process = start("run", "app:adapter", "--health-file", path)
    process.wait_until(path.exists, "health file")
    process.send('{"label": "greet", "name": "Ada"}')
    process.wait_until(lambda: json.loads(path.read_text())["acked"] == 1, "count in the file")
    found = json.loads(path.read_text())
    assert found["pid"] == process.popen.pid
    assert (found["live"], found["ready"]) == (True, True)
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 0
    assert [left.name for left in project.glob("*health*")] == []


def test_the_file_is_removed_at_the_drain_deadline_too(start, project):
    """A run that abandons a message leaves no file that calls it healthy."""
    path = project / "health.json"
    process = start("run", "app:adapter", "--health-file", path, "--drain-timeout", 0.1)
    process.send(HANG)
    process.wait_for("waiting")
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 4
    assert not path.exists()


class Played(core.polling.PollingAdapter[core.RawMessage]):
    """An adapter whose status is played."""

    def __init__(self) -> None:
        super().__init__(core.RawMessage, core.Processor())
        self.played = core.polling.Status(True, None, 0, 600, 0, 0, 0, 0, waiting=600)
        self.ready.set()

    def open(self) -> None: ...

    def close(self) -> None: ...

    def receive(self, timeout: float) -> list[bytes]:
        return []

    def ack(self, message: core.RawMessage) -> None: ...

    def nack(self, message: core.RawMessage) -> None: ...

    def status(self) -> core.polling.Status:
        return self.played


def test_slow_messages_of_one_batch_are_progress():
    """A long batch is live while its messages go on, and not once one of them hangs."""
    now = 0.0
    adapter = Played()
    health = Health(adapter, stall=60, clock=lambda: now)
    for _ in range(20):
        now += 50
        adapter.played = adapter.played._replace(waiting=adapter.played.waiting - 1)
        assert health.look()["live"]
    now += 59
    assert health.look()["live"]
    now += 2
    assert not health.look()["live"]


def test_a_run_that_connects_again_is_live_and_not_ready():
    """An outage of the broker is no reason to kill the process."""
    now = 0.0
    adapter = Played()
    health = Health(adapter, stall=60, clock=lambda: now)
    adapter.ready.clear()
    now = 1000.0
    found = health.look()
    assert (found["live"], found["ready"]) == (True, False)


def test_a_run_that_drains_is_not_ready(start, project):
    """From the signal to the end the health says draining, and probes for readiness hear 503."""
    process = start("run", "app:adapter", "--health-port", 0)
    port = port_of(process)
    process.wait_until(lambda: ask(port, "ready")[0] == 200, "status 200 of a run that is ready")
    process.send(HANG)
    process.wait_for("waiting")
    process.popen.send_signal(signal.SIGTERM)
    process.wait_until(lambda: ask(port, "ready")[0] == 503, "status 503 of a run that drains")
    status, found = ask(port, "live")
    assert (status, found["state"], found["draining"]) == (200, "draining", True)
    (project / "go").touch()
    assert process.ended() == 0


class Standing(PollingAdapter):
    """An adapter whose status the test writes."""

    def __init__(self, processor):
        super().__init__(core.RawMessage, processor)
        self.ready.set()
        self.now = {}

    def status(self):
        return super().status()._replace(**self.now)

    def open(self): ...

    def close(self): ...

    def receive(self, timeout):
        return ()

    def ack(self, message): ...

    def nack(self, message): ...


def test_a_run_with_work_that_settles_nothing_is_stalled():
    """Stalled means work and no settlement for a while; it ends with the next one, or without work."""
    now = [0.0]
    adapter = Standing(core.Processor())
    health = Health(adapter, 60, clock=lambda: now[0])

    def state_after(seconds, **status):
        now[0] += seconds
        adapter.now = status
        return health.look()["state"]

    assert state_after(1, in_flight=1) == "ready"
    assert state_after(59, in_flight=1) == "ready"
    assert state_after(1, in_flight=1) == "stalled"
    assert state_after(1, in_flight=1, acked=1) == "ready"
    assert state_after(61, waiting=2, acked=1) == "stalled"
    assert state_after(1, acked=1) == "ready"
    assert state_after(61, acked=1) == "ready"
    assert state_after(1, acked=1, paused=("maintenance",)) == "paused"
    adapter.ready.clear()
    assert state_after(1, acked=1) == "connecting"
    adapter.stop()
    assert state_after(1, acked=1) == "draining"


def test_a_message_that_grows_old_is_no_progress():
    """A receive loop that hangs is not live, though the age of what it has in flight goes on."""
    now = [0.0]
    adapter = Standing(core.Processor())
    health = Health(adapter, 60, clock=lambda: now[0])
    for seconds, live in ((1, True), (59, True), (60, False)):
        now[0] += seconds
        adapter.now = {"in_flight": 1, "oldest_unsettled": now[0]}
        assert health.look()["live"] is live


def test_metrics_are_answered_where_they_are_asked_for(start):
    """``--metrics-port`` answers /metrics beside the health; a health port alone has none."""
    pytest.importorskip("missive.prometheus")
    process = start("run", "app:adapter", "--metrics-port", 0)
    port = port_of(process)
    process.send('{"label": "greet", "name": "Ada"}')
    process.wait_for("hello Ada")

    def metrics():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return answer.headers["Content-Type"], answer.read().decode()

    acked = 'missive_messages_settled_total{outcome="acked"} 1.0'
    process.wait_until(lambda: acked in metrics()[1], "acked message in the metrics")
    assert metrics()[0].startswith("text/plain")
    assert ask(port, "live")[0] == 200
    bare = port_of(start("run", "app:adapter", "--health-port", 0))
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        urllib.request.urlopen(f"http://127.0.0.1:{bare}/metrics", timeout=5)
    caught.value.close()


def test_metrics_without_their_distribution_are_refused(missive, project, refused):
    """Where missive-prometheus is not installed, the option says what to install."""
    (project / "sitecustomize.py").write_text(
        "import sys\nsys.modules['missive.prometheus'] = None\n"
    )
    done = missive("run", "app:adapter", "--metrics-port", 0, PYTHONPATH=str(project))
    assert "pip install missive-prometheus" in done.stderr
    assert done.returncode == 2
