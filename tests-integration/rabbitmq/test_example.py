"""The program that was written for missive 0.8.1, as it is."""

from __future__ import annotations

import importlib.util
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from missive.dlq.sqlite import SQLiteDLQ
from patience import DEADLINE, eventually
from rabbitmq_server import Client, RabbitMQServer

EXAMPLE = (
    Path(__file__).resolve().parents[2] / "examples/orders_from_rabbitmq/orders_from_rabbitmq.py"
)


def loaded_as_main() -> Any:
    """Load the example under the name that its classes are pickled with."""
    spec = importlib.util.spec_from_file_location("orders_from_rabbitmq", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_program_of_the_original_runs_as_it_is(
    server: RabbitMQServer, client: Client, tmp_path: Path, monkeypatch: Any
) -> None:
    """Pickled messages, class matchers, a session in the hooks and SQLiteDLQ work unchanged."""
    monkeypatch.setenv("DLQ", str(tmp_path / "unused.db"))
    module = loaded_as_main()
    module.processor.dlq.close()
    events = [module.Placed(1, 10), module.Placed(2, -1), module.Placed(3, 5), module.Cancelled(1)]
    for event in events:
        type(event).__module__ = "__main__"  # as a publisher of this program's classes has them
    bodies = []
    main = sys.modules["__main__"]
    for cls in (module.Placed, module.Cancelled):
        monkeypatch.setattr(main, cls.__name__, cls, raising=False)
    bodies = [pickle.dumps(event) for event in events]
    queue = client.queue()
    client.publish(queue, *bodies, b"no pickle")
    environment = {
        **os.environ,
        "AMQP_URL": server.url,
        "QUEUE": queue,
        "DATABASE": str(tmp_path / "shop.db"),
        "DLQ": str(tmp_path / "letters.db"),
    }
    process = subprocess.Popen([sys.executable, EXAMPLE], env=environment)
    try:
        eventually((tmp_path / "letters.db").exists, "the program did not start")
        with SQLiteDLQ(tmp_path / "letters.db") as dlq:
            eventually(lambda: len(dlq) == 2, "not both letters came")
            reasons = [reason for _, reason in dlq.values()]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
    assert "order 2 has a total below zero" in reasons
    with sqlite3.connect(tmp_path / "shop.db") as database:
        assert database.execute("SELECT * FROM orders").fetchall() == [(3, 5)]
    database.close()
    assert client.drained(queue) == []
