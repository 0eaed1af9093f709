"""A Redis server for the suites that need one, on a free loopback port, without a disk."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def redis_service() -> Iterator[dict[str, Any]]:
    """Run a server, and give its URL as the parameter ``url``.

    The server is ``$MISSIVE_REDIS_SERVER``, or ``redis-server`` or ``valkey-server`` on the path.
    """
    program = (
        os.environ.get("MISSIVE_REDIS_SERVER")
        or shutil.which("redis-server")
        or shutil.which("valkey-server")
    )
    if program is None:
        raise SystemExit("no Redis server: install redis-server, or set MISSIVE_REDIS_SERVER")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        command += ["--save", "", "--appendonly", "no"]
        # A backlog is as large as a suite makes it.
        command += ["--client-output-buffer-limit", "pubsub 0 0 0"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            try:
                _wait_for(port)
                yield {"url": f"redis://127.0.0.1:{port}"}
            finally:
                server.terminate()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
