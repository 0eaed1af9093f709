"""A stand-in for SQS that costs next to nothing, behind the kit's proxy, which adds latency.

moto spends tens of milliseconds on a poll of ten messages; what is measured here is how latency is
hidden. As a program it serves until its standard input ends.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

#: How long each call takes, in seconds.
LATENCY = 0.02
#: In how many pieces a call crosses the proxy: boto3 sends a request's headers and body apart.
PIECES = 3
PROXY = Path(__file__).parents[1] / "packages/missive-conformance/src/missive/conformance/proxy.py"


class Queue:
    """Ten messages a poll, for as long as there are some."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self.waiting = 0
        self.deleted = 0

    def answer(self, call: str, asked: Any) -> Any:
        """Answer one call."""
        with self._lock:
            if call == "ReceiveMessage":
                count = min(self.waiting, asked["MaxNumberOfMessages"])
                self.waiting -= count
                return {"Messages": [self._message() for _ in range(count)]}
            if call == "DeleteMessageBatch":
                self.deleted += len(asked["Entries"])
                return {"Successful": [{"Id": each["Id"]} for each in asked["Entries"]]}
            if call == "SendMessage":  # so many messages as the body says
                self.waiting, self.deleted = int(asked["MessageBody"]), 0
                return {"MessageId": "0", "MD5OfMessageBody": "0"}
            counts = {"ApproximateNumberOfMessages": str(self.waiting)}
            return {"Attributes": {**counts, "ApproximateNumberOfMessagesDelayed": "0"}}

    def _message(self) -> dict[str, Any]:
        number = str(next(self._numbers))
        attributes = {"ApproximateReceiveCount": "1", "SentTimestamp": "1700000000000"}
        return {
            "MessageId": number,
            "ReceiptHandle": number,
            "Body": "x" * 100,
            "Attributes": attributes,
        }


QUEUE = Queue()


class Handler(BaseHTTPRequestHandler):
    """Answers calls in the JSON protocol of SQS."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a response is one piece
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Answer a call."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        call = self.headers["X-Amz-Target"].partition(".")[2]
        body = json.dumps(QUEUE.answer(call, asked)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing."""


@contextmanager
def sqs_service() -> Iterator[dict[str, Any]]:
    """Run the stand-in in a process of its own, and give its address as the parameter ``url``."""
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield {"url": f"http://127.0.0.1:{int(server.stdout.readline())}"}
        finally:
            server.stdin.close()


class Service(ThreadingHTTPServer):
    """Serves until its process ends."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has left."""


def load_proxy() -> Any:
    """Load the proxy of the kit, which needs nothing of the rest of it."""
    spec = importlib.util.spec_from_file_location("proxy", PROXY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Proxy


if __name__ == "__main__":
    service = Service(("127.0.0.1", 0), Handler)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    with load_proxy()("127.0.0.1", service.server_address[1]) as between:
        between.latency = LATENCY / PIECES
        sys.stdout.write(f"{between.address[1]}\n")
        sys.stdout.flush()
        sys.stdin.read()
