"""The example runs as its docstring says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from nats_server import NATSServer
from patience import DEADLINE, eventually

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/orders_from_nats/orders_from_nats.py"


def test_orders_are_shipped_and_cancelled(
    make_server: Callable[..., NATSServer], tmp_path: Path
) -> None:
    """Each order comes to the handler of its subject; a busy warehouse is asked again."""
    server = make_server()
    client = server.client()
    client.run(client.jetstream.add_stream(name="ORDERS", subjects=["orders.*"]))
    client.publish("orders.placed", json.dumps({"id": 1, "busy": 1}).encode(), b'{"id": 2}')
    client.publish("orders.cancelled", b'{"id": 3}')
    log = tmp_path / "out"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, EXAMPLE], env={**os.environ, "SERVERS": server.url}, stdout=out
        )
        try:
            eventually(lambda: log.read_text().count("\n") == 3, "not all were handled")
            eventually(lambda: client.remaining("ORDERS", "shipping") == 0, "messages are left")
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE) == 0
        finally:
            process.kill()
            process.wait(DEADLINE)
            client.close()
    assert sorted(log.read_text().splitlines()) == [
        "order 1 is shipped",
        "order 2 is shipped",
        "order 3 is cancelled",
    ]
