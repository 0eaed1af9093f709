"""Ports of this machine for the servers that suites start."""

from __future__ import annotations

import socket
import time


def free_port() -> int:
    """Return a port that nobody listens to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_for_port(port: int, patience: float = 10.0) -> None:
    """Wait until somebody listens to a port.

    :param patience: for how long, in seconds.
    :raises OSError: nobody did by then.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
