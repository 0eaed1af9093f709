"""``missive run --processes``: the command in several processes, under a supervisor."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

from .group_health import GroupHealth
from .logs import command_logger
from .member import VARIABLE, Member
from .reloading import executed
from .running import Probes
from .supervisor import Exited, Supervisor
from .systemd import Service
from .telemetry import load_prometheus

logger = command_logger("missive.cli.processes")

#: How long a process may take to end beyond its own drain deadline, in seconds.
PATIENCE = 5.0
#: What the service manager tells the supervisor alone.
_OWN = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")


def run_processes(count: int, drain_timeout: float, probes: Probes) -> int:
    """Run this very command in several processes until all have ended; return the exit code.

    :param drain_timeout: how long each may drain, in seconds.
    :param probes: where the health of all is told, and their metrics.
    :raises click.UsageError: the health cannot be told there.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="missive-")))
        prometheus: Any = None
        if probes.metrics:
            prometheus = load_prometheus()
            shared = folder / "metrics"
            shared.mkdir()
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(shared)
        group = _Group(folder, prometheus)
        supervisor = Supervisor(count, group, drain_timeout + PATIENCE)
        group.supervisor = supervisor
        _take_signals(supervisor)
        health = GroupHealth(supervisor.slots, folder, lambda: supervisor.stopped_at is not None)
        stack.enter_context(probes.answer(health, getattr(prometheus, "expose", None)))
        stack.enter_context(Service(supervisor, health))
        code = supervisor.run()
        logger.info("all %d processes have ended", count)
        return code


def _take_signals(supervisor: Supervisor) -> None:
    def stop(signum: int, frame: FrameType | None) -> None:
        supervisor.stop()

    def restart(signum: int, frame: FrameType | None) -> None:
        supervisor.restart()

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, stop)
    if hasattr(signal, "SIGHUP"):  # not on Windows
        signal.signal(signal.SIGHUP, restart)


class _Group:
    """The processes of one supervisor.

    Each is executed afresh, never forked, so that no thread, lock or connection is inherited. It
    has a session of its own: Ctrl-C reaches the supervisor alone, which then stops it.

    :param folder: where they leave what the supervisor reads.
    :param prometheus: where they share metrics; None where they do not.
    """

    supervisor: Supervisor

    def __init__(self, folder: Path, prometheus: Any) -> None:
        self._folder = folder
        self._prometheus = prometheus
        self._command = executed()

    def start(self, number: int, starts: int) -> subprocess.Popen[bytes]:
        """Start a process, whose end is told to the supervisor."""
        member = Member(number, starts, self._folder)
        environment = {name: v for name, v in os.environ.items() if name not in _OWN}
        child = subprocess.Popen(
            self._command,
            env={**environment, VARIABLE: member.variable()},
            # Held open by this process alone: how it learns that this one is gone.
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        threading.Thread(target=self._wait, args=(number, child), daemon=True).start()
        return child

    def _wait(self, number: int, child: subprocess.Popen[bytes]) -> None:
        code = child.wait()
        assert child.stdin is not None
        child.stdin.close()
        self.supervisor.events.put(Exited(number, code))

    def _said(self, number: int, pid: int) -> dict[str, Any]:
        return Member(number, 0, self._folder).said(pid)

    def is_ready(self, number: int, pid: int) -> bool:
        """Return whether a process says that it is ready."""
        return self._said(number, pid).get("ready") is True

    def is_live(self, number: int, pid: int) -> bool:
        """Return whether a process says nothing, or that it is live."""
        return self._said(number, pid).get("live") is not False

    def forget(self, number: int) -> None:
        """Drop what a process that has ended said of its present state."""
        Member(number, 0, self._folder).health_file.unlink(missing_ok=True)
        if self._prometheus is not None:
            self._prometheus.forget_process(number)
