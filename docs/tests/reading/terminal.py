"""A terminal: a real bash on a pseudo-terminal, typed into and read from."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from collections.abc import Mapping
from pathlib import Path

#: What bash says whenever it is ready for the next command, with the status of the last.
READY = re.compile(r"\x01(\d+)\x02")
#: How long anything may take, in seconds: pip downloads among it.
DEADLINE = 120.0


class TerminalError(AssertionError):
    """What the terminal showed is not what the page says."""


class Terminal:
    """One terminal of a reader.

    :param folder: where it is opened.
    :param environment: the environment variables.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.shown = ""
        self.running = False
        self._fd, child = pty.openpty()
        attributes = termios.tcgetattr(child)
        attributes[1] &= ~termios.OPOST  # no carriage returns
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(child, termios.TCSANOW, attributes)
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "--noediting", "-i"],
            cwd=folder,
            env={
                **environment,
                "PS1": "",
                "PS2": "",
                "PROMPT_COMMAND": r'printf "\1%s\2" $?',
                "VIRTUAL_ENV_DISABLE_PROMPT": "1",
                "TERM": "dumb",
                "COLUMNS": "80",
                "LINES": "40",
            },
            stdin=child,
            stdout=child,
            stderr=child,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(child)
        self.status = 0
        self._wait_ready()
        self.shown = ""

    def type(self, command: str) -> None:
        """Type a command, and do not wait for it."""
        if self.running:
            raise TerminalError(f"cannot type {command!r}: the last command still runs")
        self.shown = ""
        self.running = True
        self._write(command + "\n")

    def run(self, command: str) -> str:
        """Type a command, wait until it has finished, and return what it showed."""
        self.type(command)
        self._wait_ready()
        return self.shown

    def interrupt(self) -> str:
        """Press Ctrl-C, wait until the command has finished, and return what it showed."""
        self._write("\x03")
        self._wait_ready()
        return self.shown.replace("^C", "")

    def wait_for(self, pattern: re.Pattern[str]) -> None:
        """Wait until what is shown matches a pattern.

        :raises TerminalError: the command ended before, or time is over.
        """
        deadline = time.monotonic() + DEADLINE
        while not pattern.fullmatch(tidy(self.shown)):
            if not self.running:
                raise TerminalError(f"the command ended (status {self.status}):\n{self.shown}")
            self._read(deadline)

    def close(self) -> None:
        """End the shell, and whatever runs in it."""
        self._shell.send_signal(signal.SIGHUP)
        os.close(self._fd)
        try:
            self._shell.wait(10)
        except subprocess.TimeoutExpired:
            self._shell.kill()
            self._shell.wait()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + DEADLINE
        while True:
            found = READY.search(self.shown)
            if found:
                return
            self._read(deadline)
            if not self.running and self.status >= 0:
                return

    def _read(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._fd], [], [], left)[0]:
            raise TerminalError(f"nothing more came in {DEADLINE:g} s; so far:\n{self.shown}")
        try:
            chunk = os.read(self._fd, 65536)
        except OSError as error:
            raise TerminalError(f"the shell is gone; it showed:\n{self.shown}") from error
        self.shown += chunk.decode("utf-8", "replace")
        ready = READY.search(self.shown)
        if ready:
            self.status = int(ready.group(1))
            self.running = False
            self.shown = self.shown[: ready.start()] + self.shown[ready.end() :]

    def _write(self, text: str) -> None:
        os.write(self._fd, text.encode())


def _take_terminal() -> None:
    import fcntl

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def tidy(text: str) -> str:
    """Return text as a reader compares it: without spaces at line ends and lines around."""
    return "\n".join(line.rstrip() for line in text.replace("\r", "").split("\n")).strip("\n")
