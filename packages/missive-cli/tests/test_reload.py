"""``missive run --reload``."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import sysconfig
import zipapp
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

SPEAKING = """\
import os

import missive

processor = missive.Processor()


class Waiting(missive.polling.PollingAdapter[missive.RawMessage]):
    def open(self):
        print("{word}", os.getpid(), flush=True)

    def close(self): ...

    def receive(self, timeout):
        self.wait(timeout)
        return ()

    def ack(self, message): ...

    def nack(self, message): ...


adapter = Waiting(missive.RawMessage, processor)
"""


def test_starts_again_when_a_file_changes(start, project):
    """A change of a Python file starts the program anew, with the new code; a signal ends it all."""
    pytest.importorskip("watchfiles")
    program = project / "speaking.py"
    program.write_text(SPEAKING.format(word="first"))
    process = start("run", "speaking:adapter", "--reload", PYTHONDONTWRITEBYTECODE="1")
    process.wait_for("first")
    program.write_text(SPEAKING.format(word="another"))
    process.wait_for("another")
    first = int(process.stdout.split()[1])
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 0


def test_a_program_that_is_broken_for_a_while_comes_back(start, project):
    """An error in the code is told, and the next change is tried again."""
    pytest.importorskip("watchfiles")
    program = project / "speaking.py"
    program.write_text("1 / 0\n")
    process = start("run", "speaking:adapter", "--reload", PYTHONDONTWRITEBYTECODE="1")
    process.wait_for("ZeroDivisionError", "stderr")
    program.write_text(SPEAKING.format(word="mended"))
    process.wait_for("mended")
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 0


SLOW = """\
import threading
from pathlib import Path

import missive
from speaking import Waiting


class Slow(Waiting):
    given = False

    def receive(self, timeout):
        if self.given:
            return super().receive(timeout)
        self.given = True
        return [missive.Delivery(b"")]

    def ack(self, message):
        print("acked", flush=True)


processor = missive.Processor()


@processor.handle_for(missive.otherwise)
def handle(message, ctx):
    print("handling", flush=True)
    while not Path("go.txt").exists():
        threading.Event().wait(0.01)
    ctx.ack()


adapter = Slow(missive.RawMessage, processor)
"""

#: Makes a terminal its own, and becomes the command.
IN_TERMINAL = """\
import os, fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
import sys
os.execv(sys.executable, [sys.executable, "-m", "missive.cli", *sys.argv[1:]])
"""


class Shown:
    """What a terminal shows, read as it comes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.text = ""

    def wait_for(self, text: str) -> None:
        """Read until a text was shown."""
        deadline = monotonic() + 30
        while text not in self.text:
            assert select.select([self._descriptor], [], [], deadline - monotonic())[0], self.text
            self.text += os.read(self._descriptor, 4096).decode()


def test_ctrl_c_in_a_terminal_drains(project):
    """Ctrl-C, which a terminal sends to both processes, lets the message in flight be finished."""
    pytest.importorskip("watchfiles")
    (project / "speaking.py").write_text(SPEAKING.format(word="ready"))
    (project / "slow.py").write_text(SLOW)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", IN_TERMINAL, "run", "slow:adapter", "--reload"],
        cwd=project,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    try:
        os.close(theirs)
        shown = Shown(ours)
        shown.wait_for("handling")
        os.write(ours, b"\x03")
        shown.wait_for("waiting for the program to end")
        (project / "go.txt").touch()
        shown.wait_for("acked")
        assert process.wait(30) == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(ours)


def test_an_interrupt_of_its_own_is_passed_on(start, project):
    """SIGINT to the reloading process alone, without a terminal, stops its child too."""
    pytest.importorskip("watchfiles")
    (project / "speaking.py").write_text(SPEAKING.format(word="ready"))
    process = start("run", "speaking:adapter", "--reload", PYTHONDONTWRITEBYTECODE="1")
    process.wait_for("ready")
    process.popen.send_signal(signal.SIGINT)
    assert process.ended() == 0


def test_without_watchfiles_it_names_the_package(missive, refused, project):
    """Where watchfiles is not installed, one line says what to install."""
    (project / "watchfiles.py").write_text("raise ImportError('hidden')\n")
    assert "pip install watchfiles" in refused(missive("run", "app:adapter", "--reload"))


REPORTING = """\
import sys

import missive
from speaking import Waiting


class Reporting(Waiting):
    def open(self):
        print(
            "optimize", sys.flags.optimize, "utf8", sys.flags.utf8_mode, "options", sys.warnoptions,
            sys._xoptions, "click", sys.modules["click"].__file__, flush=True,
        )


adapter = Reporting(missive.RawMessage, missive.Processor())
"""


def test_the_child_is_what_was_executed(project):
    """Interpreter options hold in the child too, and it imports what the parent imports."""
    pytest.importorskip("watchfiles")
    (project / "speaking.py").write_text(SPEAKING.format(word="ready"))
    (project / "reporting.py").write_text(REPORTING)
    # A module of the user's that would break the command if it were run as -m missive.cli.
    (project / "click.py").write_text("raise RuntimeError('the wrong click')\n")
    script = Path(sysconfig.get_path("scripts")) / "missive"
    options = ["-O", "-X", "utf8=1", "-W", "error::ResourceWarning"]
    process = subprocess.Popen(
        [sys.executable, *options, script, "run", "reporting:adapter", "--reload"],
        cwd=project,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        told = process.stdout.readline().decode()
        assert "optimize 1 utf8 1 options ['error::ResourceWarning'] {'utf8': '1'}" in told
        assert str(project / "click.py") not in told
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_zipapp_reloads(project, tmp_path):
    """A program that was packed into a zipapp runs itself again."""
    pytest.importorskip("watchfiles")
    (project / "speaking.py").write_text(SPEAKING.format(word="ready"))
    packed = tmp_path / "packed"
    packed.mkdir()
    (packed / "__main__.py").write_text("from missive.cli import main\nmain()\n")
    zipapp.create_archive(packed, tmp_path / "command.pyz")
    process = subprocess.Popen(
        [sys.executable, tmp_path / "command.pyz", "run", "speaking:adapter", "--reload"],
        cwd=project,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"ready")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()
