"""``missive run --reload``."""

from __future__ import annotations

import os
import signal

import pytest

SPEAKING = """\
import os

import missive

processor = missive.Processor()


class Waiting(missive.PollingAdapter[missive.RawMessage]):
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


def test_without_watchfiles_it_names_the_package(missive, refused, project):
    """Where watchfiles is not installed, one line says what to install."""
    (project / "watchfiles.py").write_text("raise ImportError('hidden')\n")
    assert "pip install watchfiles" in refused(missive("run", "app:adapter", "--reload"))
