"""``missive run --processes``: real processes under the supervisor."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.request
from pathlib import Path

import pytest
from missive.cli.recycling import resident_memory

#: A transport on which consumers compete: the numbers in a folder, claimed by renaming.
APP = """\
import os
from pathlib import Path

import missive
from missive.polling import PollingAdapter

HERE = Path(__file__).parent
processor = missive.Processor()
processor.set_dlq(missive.MemoryDLQ())


class Folder(PollingAdapter):
    capabilities = missive.Capabilities(delivery="at-least-once", competing_consumers=True)

    def open(self): ...

    def close(self): ...

    def receive(self, timeout):
        for path in sorted((HERE / "inbox").iterdir()):
            try:
                path.rename(HERE / "taken" / path.name)
            except FileNotFoundError:
                continue
            return [path.name.encode()]
        self.wait(0.05)
        return []

    def ack(self, message): ...

    def nack(self, message): ...


@processor.handle_for(missive.otherwise)
def handle(message, ctx):
    body = message.raw_data.decode()
    if body.startswith("crash"):
        os._exit(9)
    with (HERE / "journal").open("a") as journal:
        journal.write(f"{body} {os.getpid()}\\n")
    ctx.ack()


adapter = Folder(missive.RawMessage, processor)
"""


@pytest.fixture
def folder(project):
    """A project with the transport, and nothing in it."""
    (project / "folder.py").write_text(APP)
    (project / "inbox").mkdir()
    (project / "taken").mkdir()
    return project


def pids(process) -> list[int]:
    """Return the processes that were started, in order."""
    return [int(pid) for pid in re.findall(r"process \d+ \(pid (\d+)\) started", process.stderr)]


def health(process) -> dict:
    """Ask the supervisor for the health of all."""
    process.wait_for("/live and /ready", "stderr")
    port = re.search(r"http://127\.0\.0\.1:(\d+)/live", process.stderr)[1]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
        return json.load(answer)


def journal(folder) -> dict[str, int]:
    """Return what was handled, and by which process."""
    path = folder / "journal"
    lines = path.read_text().splitlines() if path.exists() else []
    return {line.split()[0]: int(line.split()[1]) for line in lines}


def send(folder, *names: str) -> None:
    """Have messages delivered."""
    for name in names:
        (folder / "inbox" / name).touch()


def is_gone(pid: int) -> bool:
    """Return whether a process has ended, also where nobody has asked for its exit code yet."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # it has ended meanwhile, or this system has no such files
        return False
    return status.rpartition(")")[2].split()[0] == "Z"


def test_processes_share_the_work_and_stop_together(start, folder):
    """Each handles some; a signal to the supervisor drains all of them, and none is left."""
    process = start("run", "folder:adapter", "--processes", 2, "--health-port", 0)
    process.wait_until(lambda: health(process)["ready"], "two processes that are ready")
    numbers = [f"m{number:04d}" for number in range(40)]
    send(folder, *numbers)
    process.wait_until(lambda: set(journal(folder)) == set(numbers), "everything handled")
    assert set(journal(folder).values()) <= set(pids(process))
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 0
    assert all(map(is_gone, pids(process)))
    assert process.stderr.count("capabilities  ") == 1  # said once for all
    assert re.search(r"\[0\] missive\.cli\.run: ended: ", process.stderr)
    assert re.search(r"\[1\] missive\.cli\.run: ended: ", process.stderr)


def test_a_process_that_is_killed_is_replaced(start, folder):
    """Whatever ends a process, another takes its place."""
    process = start("run", "folder:adapter", "--processes", 2)
    process.wait_until(lambda: len(pids(process)) == 2, "two processes")
    send(folder, "crash")
    process.wait_until(lambda: len(pids(process)) == 3, "a third process")
    assert "ended with 9; starting it again" in process.stderr
    send(folder, "after")
    process.wait_until(lambda: "after" in journal(folder), "a message handled after the crash")
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 0


def test_a_crash_loop_ends_with_the_error(start, folder):
    """A program whose every process fails is given up, and the exit code says why."""
    (folder / "failing.py").write_text(
        "from folder import *\n\n@processor.before_processing\ndef fail(ctx):\n    raise OSError\n"
    )
    process = start("run", "failing:adapter", "--processes", 1)
    assert process.ended(150) == 1  # five interpreters, one after the other
    assert "failed 5 times in a row" in process.stderr
    assert len(pids(process)) == 5


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("app:adapter",), "--processes cannot share standard input"),
        (("nowhere:adapter",), "there is no module nowhere"),
    ],
)
def test_what_cannot_run_in_processes_is_refused(start, folder, arguments, why):
    """A usage error of the program is told by the first process, and not tried again."""
    process = start("run", *arguments, "--processes", 2)
    assert process.ended() == 2
    assert why in process.stderr
    assert len(pids(process)) == 2


def test_a_process_is_recycled_after_so_many_messages(start, folder):
    """It drains and is replaced at once; no message is lost in between."""
    process = start("run", "folder:adapter", "--processes", 1, "--max-messages", 5)
    numbers = [f"m{number:04d}" for number in range(12)]
    send(folder, *numbers)
    process.wait_until(lambda: set(journal(folder)) == set(numbers), "everything handled")
    counts = [list(journal(folder).values()).count(pid) for pid in pids(process)]
    assert counts[:2] == [5, 5]
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 0


def test_a_run_without_a_supervisor_ends_at_its_limit(start, folder):
    """It exits with 0, for a service manager to start it again; so at the limit of memory."""
    send(folder, *"abcde")
    process = start("run", "folder:adapter", "--max-messages", 3)
    assert process.ended() == 0
    assert "3 messages are settled" in process.stderr
    process = start("run", "folder:adapter", "--max-memory", 1)
    assert process.ended() == 0
    assert re.search(r"\d+ MiB of memory are in use", process.stderr)
    assert resident_memory() > 1024 * 1024


def test_sighup_restarts_one_process_after_the_other(start, folder):
    """All are replaced, and the supervisor goes on."""
    process = start("run", "folder:adapter", "--processes", 2, "--health-port", 0)
    process.wait_until(lambda: health(process)["ready"], "a group that is ready")
    first = pids(process)
    process.popen.send_signal(signal.SIGHUP)
    process.wait_until(lambda: len(pids(process)) == 4, "two more processes")
    process.wait_until(lambda: health(process)["ready"], "a group that is ready again")
    assert all(map(is_gone, first))
    assert [one["restarts"] for one in health(process)["processes"]] == [1, 1]
    assert [one["state"] for one in health(process)["processes"]] == ["ready", "ready"]
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 0


def test_processes_whose_supervisor_is_killed_drain_and_end(start, folder):
    """Nothing is left behind, whatever became of the supervisor."""
    process = start("run", "folder:adapter", "--processes", 2)
    process.wait_until(lambda: len(pids(process)) == 2, "two processes")
    send(folder, "one")
    process.wait_until(lambda: "one" in journal(folder), "a message handled")
    process.popen.kill()
    process.wait_until(lambda: all(map(is_gone, pids(process))), "processes that have ended")
    process.popen.wait()


def test_metrics_of_all_processes_are_answered_by_the_supervisor(start, folder):
    """Counters add up, also over processes that were replaced."""
    pytest.importorskip("missive.prometheus")
    arguments = ["--processes", 2, "--metrics-port", 0, "--max-messages", 5]
    process = start("run", "folder:adapter", *arguments)
    process.wait_for("metrics on /metrics", "stderr")
    port = re.search(r"http://127\.0\.0\.1:(\d+)/live", process.stderr)[1]
    send(folder, *(f"m{number:04d}" for number in range(23)))

    def acked():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            found = re.search(r'settled_total\{outcome="acked"\} (\S+)', answer.read().decode())
        return found and float(found[1])

    process.wait_until(lambda: acked() == 23, "the messages of all processes in the metrics")
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 0


def test_check_warns_of_a_drain_that_outlasts_the_grace_period(missive, folder):
    """And of a transport that gives each process every message."""
    options = ["--check", "--drain-timeout", 30]
    done = missive("run", "folder:adapter", *options, "--grace-period", 30)
    assert "give --drain-timeout 25, or a grace period of 35 s" in done.stdout
    done = missive("run", "folder:adapter", *options, MISSIVE_GRACE_PERIOD="30")
    assert "the drain may take 30 s" in done.stdout
    done = missive("run", "folder:adapter", *options, "--grace-period", 35)
    assert "grace period" not in done.stdout
    done = missive("run", "app:adapter", "--check", "--processes", 2)
    assert done.returncode == 2
    (folder / "alone.py").write_text(
        "from folder import *\n\n"
        "class Alone(Folder):\n    capabilities = missive.Capabilities()\n\n"
        "adapter = Alone(missive.RawMessage, processor)\n"
    )
    done = missive("run", "alone:adapter", "--check", "--processes", 2)
    assert "each of them gets every message" in done.stdout


def test_logs_in_json_name_the_process(start, folder):
    """Every line is JSON, and those of a process have its number."""
    process = start("run", "folder:adapter", "--processes", 1, "--log-format", "json")
    process.wait_for('"event": "in effect"', "stderr")
    send(folder, "m1")
    process.wait_until(lambda: journal(folder), "a message handled")
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 0
    lines = [json.loads(line) for line in process.stderr.splitlines()]
    ended = [line for line in lines if line.get("message", "").startswith("ended: ")]
    assert [line["process"] for line in ended] == [0]
