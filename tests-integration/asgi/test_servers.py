"""The ASGI adapter under real servers, alone and mounted into FastAPI."""

from __future__ import annotations

import http.client
import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest
from missive.dlq.sqlite import SQLiteDLQ
from patience import DEADLINE, eventually
from servers import free_port

HERE = Path(__file__).parent
UVICORN = ["-m", "uvicorn", "--port={port}", "--log-level=warning"]
HYPERCORN = ["-m", "hypercorn", "--bind=127.0.0.1:{port}", "--graceful-timeout=30"]
#: The command lines of the servers, by name, and where the application is.
COMMANDS = {
    "uvicorn": ([*UVICORN, "webhook_app:application"], "/"),
    "uvicorn-fastapi": ([*UVICORN, "--http=h11", "mounted_app:mounted"], "/hooks/"),
    "hypercorn": ([*HYPERCORN, "webhook_app:application"], "/"),
}
INBOXES = {
    "uvicorn": ([*UVICORN, "webhook_app:inbox"], "/"),
    "hypercorn": ([*HYPERCORN, "webhook_app:inbox"], "/"),
}


class WebServer:
    """A server of the application, and what it wrote.

    :param command: its command line, and the path of the application.
    :param folder: where it writes.
    """

    def __init__(self, command: tuple[list[str], str], folder: Path) -> None:
        self._words, self.path = command
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with self.folder.joinpath("log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *(word.format(port=self.port) for word in self._words)],
                cwd=HERE,
                env={**os.environ, "MISSIVE_WEBHOOKS": str(self.folder), "PYTHONPATH": str(HERE)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually(self._answers, "the server does not answer")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        with suppress(OSError, http.client.HTTPException):
            return self.request("GET", "healthz")[0] == 200
        return False

    def request(
        self, method: str, path: str = "", body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes]:
        """Send one request on a connection of its own; return status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        with closing(connection):
            connection.request(method, self.path + path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()

    def connect(self) -> socket.socket:
        """Open a connection to speak HTTP by hand."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)

    def begin_stop(self) -> None:
        """Ask the server to end."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        """Wait until the server has ended."""
        if self._process is not None:
            self._process.wait(DEADLINE)
            self._process = None

    def kill(self) -> None:
        """Kill the server."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self.wait()

    def lines(self, file: str) -> list[str]:
        """Return the lines of a file that the server wrote."""
        path = self.folder / file
        return path.read_text().splitlines() if path.exists() else []

    @property
    def log(self) -> str:
        """What the server said."""
        return self.folder.joinpath("log").read_text(errors="replace")


def serve(command: tuple[list[str], str], folder: Path) -> Iterator[WebServer]:
    """Start a server, and kill it in the end."""
    for module in (command[0][1], "fastapi"):
        if importlib.util.find_spec(module) is None:
            if os.environ.get("CI") == "true":
                pytest.fail(f"{module} is not installed")
            pytest.skip(f"{module} is not installed")
    server = WebServer(command, folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(params=COMMANDS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WebServer]:
    """Each kind of server in turn."""
    yield from serve(COMMANDS[request.param], tmp_path)


@pytest.fixture(params=INBOXES)
def inbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WebServer]:
    """Each kind of server in turn, with an inbox."""
    yield from serve(INBOXES[request.param], tmp_path)


def test_messages_and_hooks(server: WebServer) -> None:
    """Messages are answered by what became of them, chunked ones too; the hooks run once each."""
    assert server.request("POST", body=b"ack one") == (200, b'{"result": "ack"}')
    assert server.request("POST", body=b"plain two") == (200, b'{"result": "ack"}')
    assert server.request("POST", body=b"fail three", **{"X-Id": "3"}) == (
        200,
        b'{"result": "dlq"}',
    )
    assert server.request("POST", "other", b"ack")[0] == 404
    assert server.request("HEAD", "healthz") == (200, b"")
    assert server.request("POST", body=b"x" * 65537)[0] == 413
    with closing(server.connect()) as connection:
        connection.sendall(
            f"POST {server.path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            "Connection: close\r\n\r\n3\r\nack\r\n5\r\n four\r\n0\r\n\r\n".encode()
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    server.begin_stop()
    server.wait()
    assert server.lines("handled") == ["one", "two", "four"]
    assert [line.split()[0] for line in server.lines("hooks")] == ["before", "after"]
    with SQLiteDLQ(server.folder / "dlq.sqlite") as store:
        (letter,) = store.letters()
        assert (letter.id, letter.source) == (b"3", server.path)


def test_a_sender_that_goes_away(server: WebServer) -> None:
    """Half a body is never handled; a sender that does not wait for its answer hurts nobody."""
    with closing(server.connect()) as connection:
        connection.sendall(
            f"POST {server.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nack h".encode()
        )
    with closing(server.connect()) as connection:
        connection.sendall(
            f"POST {server.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nwait one".encode()
        )
        eventually(lambda: server.lines("begun"), "the message is not handled")
    server.folder.joinpath("go").touch()
    eventually(lambda: server.lines("handled") == ["one"], "the message was lost")
    assert server.request("POST", body=b"ack two")[0] == 200


def test_a_graceful_stop(server: WebServer) -> None:
    """What is in flight when the server is asked to stop is handled and answered."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.request, "POST", body=b"wait one")
        eventually(lambda: server.lines("begun"), "the message is not handled")
        server.begin_stop()
        server.folder.joinpath("go").touch()
        assert waiting.result(DEADLINE) == (200, b'{"result": "ack"}')
    server.wait()
    assert [line.split()[0] for line in server.lines("hooks")] == ["before", "after"]


def test_inbox(inbox: WebServer) -> None:
    """Messages are stored and answered 202 while a handler hangs, and handled after a kill."""
    stored = (202, b'{"result": "deferred"}')
    for name in ("one", "two", "one"):
        assert inbox.request("POST", body=f"wait {name}".encode(), **{"X-Id": name}) == stored
    eventually(lambda: len(inbox.lines("begun")) == 2, "the messages are not handled")
    for number in range(20):
        assert inbox.request("POST", body=b"ack %d" % number, **{"X-Id": f"{number}"}) == stored
    inbox.kill()
    with SQLiteDLQ(inbox.folder / "dlq.sqlite") as store:
        left = {letter.id.decode() for letter in store.letters(state="deferred")}
        for id in left:
            claim = store.claim_of(id.encode())
            if claim is not None:  # of the process that was killed
                store.release(claim)
    inbox.folder.joinpath("go").touch()
    inbox.start()
    sent = {"one", "two", *(str(number) for number in range(20))}
    eventually(lambda: set(inbox.lines("handled")) == sent, "messages were lost")
    assert inbox.request("POST", body=b"ack 3", **{"X-Id": "3"}) == stored
    inbox.begin_stop()
    inbox.wait()
    handled = inbox.lines("handled")
    assert all(handled.count(name) == 1 for name in sent - left)
    with SQLiteDLQ(inbox.folder / "dlq.sqlite") as store:
        assert store.counts() == (0, 0, 0, 0)
