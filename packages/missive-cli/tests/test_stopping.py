"""Signals: before a run begins, and while it runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

HELLO = '{"label": "greet", "name": "Ada"}'

#: A module that takes as long to import as a file is not there.
SLOW_IMPORT = """\
import sys, time
from pathlib import Path

print("importing", file=sys.stderr, flush=True)
try:
    while not Path("go").exists():
        time.sleep(0.01)
except {caught}:
    pass
from app import adapter
"""


def test_a_stop_during_the_import_ends_the_run_before_the_first_message(start, project):
    """SIGTERM while the module is imported is a clean stop, and no message is taken."""
    (project / "slow.py").write_text(SLOW_IMPORT.format(caught="Exception"))
    process = start("run", "slow:adapter")
    process.send(HELLO)
    process.wait_for("importing", "stderr")
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 0
    assert process.stdout == ""
    assert process.stderr.splitlines()[-1] == "missive: stopped before the first message"


def test_a_module_that_keeps_the_stop_to_itself_does_not_run(start, project):
    """A module that swallows whatever is raised in it cannot swallow the stop."""
    (project / "slow.py").write_text(SLOW_IMPORT.format(caught="BaseException"))
    process = start("run", "slow:adapter")
    process.send(HELLO)
    process.wait_for("importing", "stderr")
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 0
    assert process.stdout == ""


@pytest.mark.skipif(sys.platform != "linux", reason="needs namespaces")
def test_process_1_of_a_container_is_stopped_during_the_import(project):
    """Process 1, which the kernel sends no signal that it has no handler for, stops too."""
    (project / "slow.py").write_text(SLOW_IMPORT.format(caught="Exception"))
    isolated = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*isolated, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody make a namespace")
    # What is process 1 tells its number outside, which is where the signal comes from.
    process = subprocess.Popen(
        [*isolated, sys.executable, "-m", "missive.cli", "run", "slow:adapter"],
        cwd=project,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        assert process.stderr.readline() == b"importing\n"
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:  # noqa: PTH123
            os.kill(int(children.read().split()[0]), signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()


def test_sighup_drains(start, project):
    """SIGHUP lets the message in flight finish, however often a closing terminal sends it."""
    process = start("run", "app:adapter", "--drain-timeout", 60)
    go = project / "go"
    process.send(json.dumps({"label": "wait", "for": str(go)}), HELLO)
    process.wait_for("waiting")
    process.popen.send_signal(signal.SIGHUP)
    process.popen.send_signal(signal.SIGHUP)
    go.touch()
    assert process.ended() == 0
    assert process.stdout == "waiting\nthrough\n"


def test_sighup_right_after_sigterm_is_no_second_signal(start, project):
    """systemd's SendSIGHUP= does not cut a drain short."""
    process = start("run", "app:adapter", "--drain-timeout", 60)
    go = project / "go"
    process.send(json.dumps({"label": "wait", "for": str(go)}))
    process.wait_for("waiting")
    process.popen.send_signal(signal.SIGTERM)
    process.popen.send_signal(signal.SIGHUP)
    go.touch()
    assert process.ended() == 0
    assert process.stdout == "waiting\nthrough\n"


def test_sighup_has_the_drain_deadline(start):
    """A handler that never returns is ended at the deadline after SIGHUP too."""
    process = start("run", "app:adapter", "--drain-timeout", 0.1)
    process.send(json.dumps({"label": "wait", "for": "nowhere"}))
    process.wait_for("waiting")
    process.popen.send_signal(signal.SIGHUP)
    assert process.ended() == 4


def test_nohup_is_heeded(project):
    """Where SIGHUP is ignored from the start it stays ignored."""
    process = subprocess.Popen(
        ["nohup", sys.executable, "-m", "missive.cli", "run", "app:adapter"],
        cwd=project,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(HELLO.encode() + b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"hello Ada\n"
        process.send_signal(signal.SIGHUP)
        process.stdin.write(HELLO.encode() + b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"hello Ada\n"
        process.stdin.close()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


FORKING = """\
import os, signal, time
from app import adapter, processor

import missive


@processor.handle_for(missive.route_on_json("label")("fork"))
def fork(message, ctx):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, b"!")  # a signal that came while it was made would be lost
        while True:
            time.sleep(0.01)
    os.read(reading, 1)
    os.kill(child, signal.SIGHUP)
    print("child ended by", os.WTERMSIG(os.waitpid(child, 0)[1]), flush=True)
    ctx.ack()
"""


def test_a_forked_child_is_ended_by_sighup(start, project):
    """A child that a handler forks does not inherit the run's answer to SIGHUP."""
    (project / "forking.py").write_text(FORKING)
    process = start("run", "forking:adapter")
    process.send('{"label": "fork"}', HELLO)
    process.wait_for("hello Ada")
    assert f"child ended by {signal.SIGHUP.value}\n" in process.stdout


def test_a_drain_timeout_without_end_waits(start, project):
    """``--drain-timeout inf`` waits for the message in flight, and no thread dies meanwhile."""
    process = start("run", "app:adapter", "--drain-timeout", "inf")
    go = project / "go"
    process.send(json.dumps({"label": "wait", "for": str(go)}))
    process.wait_for("waiting")
    process.popen.send_signal(signal.SIGTERM)
    go.touch()
    assert process.ended() == 0
    assert "Traceback" not in process.stderr
    assert process.stdout == "waiting\nthrough\n"


def test_a_drain_timeout_is_a_number(missive, refused):
    """What is not a number is not a length of time."""
    assert "nan" in refused(missive("run", "app:adapter", "--drain-timeout", "nan"))
