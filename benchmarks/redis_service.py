"""A Redis server for the suites that need one, on a free loopback port, without a disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from instrument.ports import free_port, wait_for_port


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
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        command += ["--save", "", "--appendonly", "no"]
        # A backlog is as large as a suite makes it.
        command += ["--client-output-buffer-limit", "pubsub 0 0 0"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            try:
                wait_for_port(port)
                yield {"url": f"redis://127.0.0.1:{port}"}
            finally:
                server.terminate()
