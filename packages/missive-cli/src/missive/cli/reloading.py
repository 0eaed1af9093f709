"""Reloading: runs the command again whenever a Python file changes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import click

from .logs import command_logger
from .stopping import STOPS
from .systemd import Notifier

logger = command_logger("missive.cli.reloading")

#: How long the child has to drain before it is killed, beyond its own drain deadline; in seconds.
PATIENCE = 5.0


#: In the environment of the child, which runs what it is told to rather than reload again.
CHILD = "MISSIVE_RELOADED"


def run_reloading(folder: Path, drain_timeout: float) -> int:
    """Run this very command in a child process, and anew after each change below a folder.

    A child that ends by itself with an error is started again at the next change; one that ends
    well ends this too.

    :param folder: what is watched.
    :param drain_timeout: how long the child may drain, in seconds.
    :returns: the exit code of the last child.
    :raises click.UsageError: watchfiles is not installed.
    """
    try:
        import watchfiles
    except ImportError as error:
        raise click.UsageError("--reload needs watchfiles; pip install watchfiles") from error
    reloader = _Reloader(executed(), drain_timeout + PATIENCE)
    changes: Any = watchfiles.watch(
        folder,
        watch_filter=watchfiles.PythonFilter(),
        stop_event=reloader.stopped,
        rust_timeout=200,
        yield_on_timeout=True,
        raise_interrupt=False,
    )
    return reloader.run(changes)


def is_child() -> bool:
    """Return whether :func:`run_reloading` started this process.

    The mark is removed, so that no process that this one starts inherits it.
    """
    return os.environ.pop(CHILD, None) is not None


def executed() -> list[str]:
    """Return the command line that this process was executed with.

    Interpreter options such as ``-O`` and ``-X``, and what was run (a script, a module, a zipapp)
    decide which code is imported, so the child has to have the same.
    """
    return [sys.executable or sys.orig_argv[0], *sys.orig_argv[1:]]


class _Reloader:
    """One child process at a time."""

    def __init__(self, command: list[str], patience: float) -> None:
        self._command = command
        self._patience = patience
        self._child: subprocess.Popen[bytes] | None = None
        self._notifier = Notifier.of(os.environ)
        self._told = False  # whether the child has the signal that stopped this already
        self.stopped = threading.Event()

    def run(self, changes: Iterable[set[Any]]) -> int:
        for signum in (signal.SIGINT, *STOPS):
            signal.signal(signum, self._on_signal)
        self._start()
        for changed in changes:
            code = self._code()
            if changed:
                names = sorted({Path(path).name for _, path in changed})
                logger.warning("%s changed; starting again", ", ".join(names[:3]))
                if self._notifier is not None:
                    self._notifier.reloading()
                self._stop()
                self._start()
            elif code == 0:
                return 0
        return self._stop()

    def _start(self) -> None:
        if not self.stopped.is_set():
            # The parent has the service manager's watchdog in its name; its child answers for it.
            inherited = {name: v for name, v in os.environ.items() if name != "WATCHDOG_PID"}
            self._child = subprocess.Popen(self._command, env={**inherited, CHILD: "1"})

    def _code(self) -> int | None:
        return self._child.poll() if self._child is not None else None

    def _stop(self) -> int:
        """Stop the child, and give its exit code."""
        child = self._child
        if child is None:
            return 0
        if child.poll() is None:
            if not self._told:
                child.terminate()
            logger.info("waiting for the program to end, %g s at most", self._patience)
            try:
                child.wait(self._patience)
            except subprocess.TimeoutExpired:
                child.kill()
        code = child.wait()
        return code if code >= 0 else 128 - code

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        # A second signal would end the child without a drain.
        self._told |= signum == signal.SIGINT and _is_terminals_job()
        self.stopped.set()


def _is_terminals_job() -> bool:
    """Return whether Ctrl-C reaches the child too: this is what runs in a terminal's foreground."""
    if sys.platform == "win32":
        return True
    try:
        with Path("/dev/tty").open("rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:  # there is no terminal, so somebody signalled this process
        return False
