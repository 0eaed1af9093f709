"""A project to run the command in, and the command as a process of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import queue
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import IO, Any

import pytest

#: How long anything may take before a test gives up, in seconds.
DEADLINE = 60.0

APP = '''\
"""A processor as a user would write it."""

import sys
import time
from pathlib import Path

import missive
from missive.adapters.stdin import StdinAdapter

by_label = missive.route_on_json("label")

processor: missive.Processor[missive.JSONMessage] = missive.Processor()


@processor.handle_for(by_label("greet"))
def greet(message, ctx):
    print("hello", message.get_json()["name"], flush=True)
    ctx.ack()


@processor.handle_for(by_label("break"))
def fail(message, ctx):
    raise ValueError(message.get_json()["why"])


@processor.handle_for(by_label("wait"))
def wait(message, ctx):
    print("waiting", flush=True)
    while not Path(message.get_json()["for"]).exists():
        time.sleep(0.01)
    print("through", flush=True)
    ctx.ack()


@processor.handle_for(by_label("exit"))
def leave(message, ctx):
    sys.exit(7)


adapter = StdinAdapter(missive.JSONMessage, processor)


class Order(missive.JSONMessage):
    """A message class of the user's own."""


not_an_adapter = 42
'''

KEPT = """\
from app import adapter, processor

processor.set_dlq({})
"""


class Process:
    """The command, running; its output is read as it comes.

    :param args: the arguments.
    :param cwd: the folder to run it in.
    :param env: more environment variables.
    """

    def __init__(self, args: tuple[str, ...], cwd: Path, env: dict[str, str]) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "missive.cli", *args],
            cwd=cwd,
            env={**os.environ, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.popen.stdin is not None
        self.stdin: IO[bytes] = self.popen.stdin
        self._seen = {"stdout": "", "stderr": ""}
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._readers = [
            threading.Thread(target=self._read, args=(name,), daemon=True) for name in self._seen
        ]
        for reader in self._readers:
            reader.start()

    @property
    def stdout(self) -> str:
        """What it has written to standard output."""
        return self._seen["stdout"]

    @property
    def stderr(self) -> str:
        """What it has written to standard error."""
        return self._seen["stderr"]

    def _read(self, name: str) -> None:
        with getattr(self.popen, name) as stream:
            for line in stream:
                self._seen[name] += line.decode("utf-8", "replace")
                self._news.put(None)

    def send(self, *lines: str) -> None:
        """Write lines to its standard input."""
        for line in lines:
            self.stdin.write(line.encode() + b"\n")
        self.stdin.flush()

    def wait_for(self, text: str, stream: str = "stdout") -> None:
        """Wait until it has written a text."""
        self.wait_until(lambda: text in self._seen[stream], f"{text!r} on {stream}")

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something holds, looking whenever it writes and ten times a second."""
        deadline = monotonic() + DEADLINE
        while not condition():
            if monotonic() > deadline:
                pytest.fail(f"no {what}; stdout: {self.stdout!r}, stderr: {self.stderr!r}")
            try:
                self._news.get(timeout=0.1)
            except queue.Empty:
                continue

    def ended(self, deadline: float = DEADLINE) -> int:
        """Wait for its end, and give the exit code."""
        code = self.popen.wait(deadline)
        for reader in self._readers:
            reader.join(DEADLINE)
        return code

    def close(self) -> None:
        """Kill it, if it still runs."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        for reader in self._readers:
            reader.join(DEADLINE)
        try:
            self.stdin.close()
        except BrokenPipeError:
            return


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with ``app.py`` in it, and ``kept.py``: the same with a DLQ."""
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "kept.py").write_text(KEPT)
    return tmp_path


@pytest.fixture
def missive(project: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command: runs to its end in the project, and gives exit code and output."""

    def call(*args: object, input: str = "", **env: str) -> Any:  # noqa: A002 - as in run
        return subprocess.run(
            [sys.executable, "-m", "missive.cli", *map(str, args)],
            cwd=project,
            env={**os.environ, **env},
            input=input,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    return call


@pytest.fixture
def start(project: Path) -> Iterator[Callable[..., Process]]:
    """Start the command in the project and leave it running, to the end of the test at most."""
    started: list[Process] = []

    def begin(*args: object, **env: str) -> Process:
        process = Process(tuple(map(str, args)), project, env)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.close()


@pytest.fixture
def terminal(project: Path) -> Callable[..., tuple[int, str]]:
    """The command on a pseudo-terminal: gives the exit code and all that the terminal showed."""

    def call(
        *args: object, answer: str = "", columns: int = 120, until: str = ""
    ) -> tuple[int, str]:
        """Run to the end; the answer is typed once a question stands there.

        A command that ends by itself never is interrupted once it shows ``until``.
        """
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-m", "missive.cli", *map(str, args)],
            cwd=project,
            # COLUMNS, which the tools around a test may set, would hide the terminal's own width.
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns)},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        watch = threading.Timer(DEADLINE, process.kill)
        watch.start()
        shown = ""
        try:
            while True:
                shown += os.read(ours, 4096).decode("utf-8", "replace")
                if answer and shown.rstrip().endswith("]:"):
                    os.write(ours, answer.encode())
                    answer = ""
                if until and until in shown:
                    process.send_signal(signal.SIGINT)
                    until = ""
        except OSError:  # how Linux says that nobody has the terminal open any more
            code = process.wait()
        finally:
            watch.cancel()
            os.close(ours)
        return code, shown.replace("\r\n", "\n")

    return call


@pytest.fixture
def refused() -> Callable[[subprocess.CompletedProcess[str]], str]:
    """Check that a command ended as a usage error: one line, exit code 2; gives the line."""

    def check(done: subprocess.CompletedProcess[Any]) -> str:
        lines = done.stderr.splitlines()
        assert done.returncode == 2, done.stderr
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("missive: ")
        assert not done.stdout
        return str(lines[0])

    return check
