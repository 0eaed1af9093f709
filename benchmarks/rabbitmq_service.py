"""A RabbitMQ server for the suite that needs one, on ports and in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from instrument.ports import free_port

#: Where Debian has the server's own script; that on the path may be one that changes the user.
DEBIAN = "/usr/lib/rabbitmq/bin/rabbitmq-server"


@contextmanager
def rabbitmq_service() -> Iterator[dict[str, Any]]:
    """Run a server, and give its URL as the parameter ``url``.

    The server is ``$MISSIVE_RABBITMQ_SERVER``, that of Debian, or from the path.
    """
    installed = DEBIAN if Path(DEBIAN).exists() else shutil.which("rabbitmq-server")
    program = os.environ.get("MISSIVE_RABBITMQ_SERVER") or installed
    if program is None:
        raise SystemExit("no RabbitMQ server: install it, or set MISSIVE_RABBITMQ_SERVER")
    port, distribution, mapper = free_port(), free_port(), free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder, "rabbitmq.conf").write_text(f"listeners.tcp.local = 127.0.0.1:{port}\n")
        Path(folder, "plugins").write_text("[].")
        environment = {
            **os.environ,
            "HOME": folder,
            "RABBITMQ_NODENAME": f"benchmark{port}@localhost",
            "RABBITMQ_MNESIA_BASE": f"{folder}/data",
            "RABBITMQ_LOG_BASE": f"{folder}/logs",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none",
            "ERL_EPMD_PORT": str(mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        quiet = subprocess.DEVNULL
        server = subprocess.Popen(
            [program], env=environment, stdin=quiet, stdout=quiet, stderr=quiet
        )
        try:
            _wait_for(port)
            yield {"url": f"amqp://guest:guest@127.0.0.1:{port}/"}
        finally:
            # The server is the script's child, and its port mapper nobody's.
            for process in _processes_with(f"ERL_EPMD_PORT={mapper}"):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGTERM)
            server.wait(60)


def _processes_with(setting: str) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if setting.encode() in Path(path, "environ").read_bytes().split(b"\0"):
                yield int(path.name)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 90
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.settimeout(5)
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                if connection.recv(1) == b"\x01":
                    return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError("the RabbitMQ server does not start")
        time.sleep(0.05)
