"""The example runs as its docstring says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from patience import DEADLINE, eventually
from sqs_server import TestQueue

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/orders_from_sqs/orders_from_sqs.py"


def test_orders_are_shipped_in_order_for_each_customer(fifo: TestQueue, tmp_path: Path) -> None:
    """Each customer's orders are shipped in order, one that is tried again included."""
    for number in range(3):
        busy = {"busy": 1} if number == 1 else {}
        fifo.send(json.dumps({"id": number, **busy}), group="ada")
        fifo.send(json.dumps({"id": number}), group="ben")
    environment = {**os.environ, "QUEUE": fifo.name, "ENDPOINT": fifo.server.endpoint}
    log = tmp_path / "out"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, EXAMPLE], env=environment, stdout=out)
        try:
            eventually(lambda: log.read_text().count("shipped") == 6, "not all were shipped")
            eventually(fifo.is_empty, "messages were left")
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE) == 0
        finally:
            process.kill()
            process.wait(DEADLINE)
    lines = log.read_text().splitlines()
    for customer in ("ada", "ben"):
        mine = [line for line in lines if line.startswith(customer)]
        assert mine == [f"{customer}: order {number} is shipped" for number in range(3)]
