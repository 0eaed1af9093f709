"""A server that stands in for SQS, for tests: moto, as a child on a free port of this machine."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
from botocore.config import Config
from patience import DEADLINE
from servers import start_server

REGION = "eu-west-1"
#: What boto3 finds where the tests do not say otherwise.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


#: Only clients may be used by several threads at once.
_SESSION_LOCK = threading.Lock()


@functools.lru_cache(maxsize=1)
def _session() -> Any:
    """Return the session of all clients of the tests: each new one reads the services' models anew."""
    return boto3.session.Session()


def is_installed() -> bool:
    """Return whether moto's server is here."""
    return all(map(importlib.util.find_spec, ("moto", "flask", "flask_cors")))


class SQSServer:
    """A server of moto's, which forgets everything when it is stopped.

    :param folder: where its log goes.
    """

    def __init__(self, folder: Path) -> None:
        self._log = folder / "moto.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def endpoint(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and return when it answers."""
        # Port 0 lets the system choose one that nobody has; moto logs which.
        command = [sys.executable, "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        self._log.unlink(missing_ok=True)
        self._process = start_server(command, self._answers, self._log)

    def _answers(self) -> bool:
        said = self._log.read_text(encoding="utf-8")
        found = re.search(r"Running on http://127\.0\.0\.1:(\d+)", said)
        if found is None:
            return False
        self.port = int(found[1])
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0):
                return True
        except OSError:
            return False

    def stop(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(DEADLINE)

    def enforce_permissions(self, *, on: bool) -> None:
        """Have it check credentials and policies from now on, or no longer."""
        request = urllib.request.Request(
            f"{self.endpoint}/moto-api/reset-auth",
            b"0" if on else b"inf",  # how many calls are free of that
            {"Content-Type": "text/plain"},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            answer.read()

    def boto(self, service: str = "sqs", **options: Any) -> Any:
        """Return a client of boto3's."""
        given = {
            "region_name": REGION,
            "endpoint_url": self.endpoint,
            "aws_access_key_id": "testing",
            "aws_secret_access_key": "testing",
            "config": Config(max_pool_connections=50),
            **options,
        }
        with _SESSION_LOCK:
            return _session().client(service, **given)


class Gate:
    """A way to the server that can be shut, as if SQS could not be reached.

    :param port: of the server.

    :ivar endpoint: where to connect to; the same when it is opened again.
    """

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._listener = self._listen(0)
        self._address: tuple[str, int] = self._listener.getsockname()[:2]
        self.endpoint = "http://{}:{}".format(*self._address)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._start()

    def _listen(self, port: int) -> socket.socket:
        return socket.create_server(("127.0.0.1", port))

    def _start(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        """Cut what is connected, and let nothing more connect."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def open(self) -> None:
        """Let connections pass again."""
        self._listener = self._listen(self._address[1])
        self._start()

    close = shut

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection(self._server)
            except OSError:  # shut
                return
            with self._lock:
                self._open |= {client, server}
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                target.sendall(chunk)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._open -= {source, target}
        source.close()


class TestQueue:
    """A queue of a test's own.

    :param server: the server.
    :param fifo: whether it is a FIFO queue.
    :param attributes: more attributes of the queue.

    :ivar name: its name.
    :ivar url: its URL.
    """

    __test__ = False

    def __init__(self, server: SQSServer, *, fifo: bool = False, **attributes: str) -> None:
        self.server = server
        self.client = server.boto()
        self.name = f"test-{uuid4().hex}" + (".fifo" if fifo else "")
        if fifo:
            attributes = {"FifoQueue": "true", **attributes}
        self._attributes = attributes
        self.url = self.create()

    def create(self) -> str:
        """Create it, again if it was deleted."""
        found = self.client.create_queue(QueueName=self.name, Attributes=self._attributes)
        return str(found["QueueUrl"])

    def delete(self) -> None:
        """Delete it."""
        self.client.delete_queue(QueueUrl=self.url)

    def send(
        self,
        *bodies: str,
        group: str | None = None,
        attributes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Send messages, in order."""
        for first in range(0, len(bodies), 10):
            entries: list[dict[str, Any]] = []
            for number, body in enumerate(bodies[first : first + 10]):
                entry: dict[str, Any] = {"Id": str(number), "MessageBody": body}
                if attributes:
                    entry["MessageAttributes"] = attributes
                if group is not None:
                    entry |= {"MessageGroupId": group, "MessageDeduplicationId": uuid4().hex}
                entries.append(entry)
            answer = self.client.send_message_batch(QueueUrl=self.url, Entries=entries)
            assert not answer.get("Failed"), answer["Failed"]

    def counts(self) -> tuple[int, int]:
        """Return how many messages wait, and how many were received and not settled."""
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=list(names))
        waiting, in_flight = (int(found["Attributes"][name]) for name in names)
        return waiting, in_flight

    def is_empty(self) -> bool:
        """Return whether nothing is left in it."""
        return self.counts() == (0, 0)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()
