"""Start servers of the tests' own, on ports that stay theirs."""

from __future__ import annotations

import os
import random
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from patience import eventually

#: Below the ports that a system gives to clients and to those who ask for port 0: 32768 and up on
#: Linux (ip_local_port_range), 49152 and up on macOS. So nobody takes the port of a server that is
#: down for a while.
PORTS = range(10_000, 32_768)
#: hypothesis gives the tests' own random numbers the same seed in every process.
_CHANCE = random.SystemRandom()


def free_port() -> int:
    """Return a port of the loopback that nobody listens to."""
    while True:
        port = _CHANCE.choice(PORTS)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


def start_server(
    command: Sequence[str | Path],
    serves: Callable[[], object],
    log: Path | None = None,
    **options: Any,
) -> subprocess.Popen[bytes]:
    """Start a server, again if it ends at once; return its process when it serves.

    :param command: the program and its arguments.
    :param serves: whether it serves by now.
    :param log: where what it writes is added, if that is kept.
    :param options: of :class:`subprocess.Popen`.
    :raises AssertionError: it ended each time, or it does not serve within the deadline. The end of
        its log is in the text.
    """
    for _ in range(3):
        with Path(log or os.devnull).open("ab") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **options
            )
        if _comes_to_serve(process, serves, log):
            return process
    raise AssertionError(f"{command[0]} ended with {process.returncode}: {_end_of(log)}")


def _comes_to_serve(
    process: subprocess.Popen[bytes], serves: Callable[[], object], log: Path | None
) -> bool:
    """Wait until a server serves; return False if it ends instead."""
    try:
        eventually(lambda: serves() or process.poll() is not None, "it does not serve")
    except AssertionError as error:
        process.terminate()
        raise AssertionError(f"{error}: {_end_of(log)}") from error
    return process.poll() is None


def _end_of(log: Path | None) -> str:
    if log is None:
        return "its log is not kept"
    return log.read_text(encoding="utf-8", errors="replace")[-3000:]
