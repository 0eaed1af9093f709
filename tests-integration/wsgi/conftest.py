"""Real WSGI servers, each in processes of its own."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from time import monotonic, sleep

import pytest
from missive.dlq.sqlite import SQLiteDLQ
from servers import free_port
from webhook_suite.needs import need

HERE = Path(__file__).parent
DEADLINE = 60.0


GUNICORN = [
    "-m",
    "gunicorn",
    "--bind=127.0.0.1:{port}",
    "--workers=2",
    "--log-level=warning",
    "--graceful-timeout=10",
]
#: The command lines of the servers, by name; a first word with a dash is given to Python.
COMMANDS = {
    "gunicorn-sync": [*GUNICORN, "webhook_app:application"],
    "gunicorn-gthread": [*GUNICORN, "--threads=8", "webhook_app:application"],
    "gunicorn-preload": [*GUNICORN, "--threads=8", "--preload", "webhook_app:application"],
    "waitress": [
        "-m",
        "waitress",
        "--listen=127.0.0.1:{port}",
        "--threads=8",
        "webhook_app:application",
    ],
    "waitress-run": [
        "-c",
        "import webhook_app, waitress as w; webhook_app.application.run(port={port}, server=w.serve)",
    ],
    "development": ["-c", "import webhook_app; webhook_app.application.run(port={port})"],
    "uwsgi": [
        "uwsgi",
        "--http-socket=127.0.0.1:{port}",
        "--module=webhook_app:application",
        "--master",
        "--processes=2",
        "--threads=8",
        "--enable-threads",
        # It forks by other means than os.fork, which the store of dead letters does not outlive.
        "--lazy-apps",
        # It closes a connection without saying so.
        "--add-header=Connection: close",
        "--die-on-term",
        "--listen=100",
        "--disable-logging",
    ],
}
MODULES = {
    "gunicorn": "gunicorn",
    "waitress": "waitress",
    "uwsgi": "pyuwsgi",
    "development": "werkzeug",
}


class WebServer:
    """A server of the application, and what its processes wrote.

    :param name: one of COMMANDS.
    :param folder: where they write.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        program, *arguments = [word.format(port=self.port) for word in COMMANDS[self.name]]
        python = Path(sysconfig.get_path("scripts"))
        command = [sys.executable, program, *arguments]
        if not program.startswith("-"):
            command = [str(python / program), *arguments]
        with self.folder.joinpath("log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=HERE,
                env={
                    **os.environ,
                    "MISSIVE_WEBHOOKS": str(self.folder),
                    "PYTHONPATH": str(HERE),
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_until_it_answers()

    def wait_until_it_answers(self) -> None:
        """Ask for /healthz until there is an answer."""
        deadline = monotonic() + DEADLINE
        while monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, self.log
            with suppress(OSError, http.client.HTTPException):
                if self.request("GET", "/healthz")[0] == 200 and self._is_loaded():
                    return
            sleep(0.02)  # nothing tells us when another's server has begun to listen
        raise AssertionError(f"{self.name} does not answer: {self.log}")

    def _is_loaded(self) -> bool:
        """Return whether uWSGI, which must not be stopped while it loads, has loaded in each worker."""
        return self.name != "uwsgi" or self.log.count("WSGI app 0") % 2 == 0

    def request(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes]:
        """Send one request on a connection of its own; give status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        with closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()

    def connect(self) -> socket.socket:
        """Open a connection to speak HTTP, or something like it, by hand."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)

    def exchange(self, request: bytes) -> bytes:
        """Send bytes and nothing more; give all that comes back, also where not all was wanted."""
        answer = b""
        with closing(self.connect()) as connection:
            with suppress(ConnectionError):
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
            with suppress(ConnectionError):
                while received := connection.recv(65536):
                    answer += received
        return answer

    def stop(self) -> None:
        """Ask the server to end, and wait until it has."""
        if self._process is not None:
            # waitress-serve leaves SIGTERM to Python, which ends without any clean-up by it.
            self._process.send_signal(signal.SIGINT if self.name == "waitress" else signal.SIGTERM)
            self._process.wait(DEADLINE)
            self._process = None

    def kill(self) -> None:
        """Kill the server with all of its processes."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(DEADLINE)
            self._process = None

    def lines(self, file: str) -> list[str]:
        """Return the lines of a file that the processes wrote."""
        path = self.folder / file
        return path.read_text().splitlines() if path.exists() else []

    def forget(self, file: str) -> None:
        """Remove a file that the processes wrote."""
        self.folder.joinpath(file).unlink(missing_ok=True)

    @property
    def handled(self) -> list[str]:
        """The ids of the messages that were handled well, one for each time."""
        return [line.split()[0] for line in self.lines("handled")]

    @property
    def dead(self) -> list[str]:
        """The ids of the dead letters."""
        with closing(SQLiteDLQ(self.folder / "dlq.sqlite")) as dlq:
            return [letter.id.decode() for letter in dlq.letters()]

    @property
    def log(self) -> str:
        """What the server said."""
        return self.folder.joinpath("log").read_text(errors="replace")


def serve(name: str, folder: Path) -> Iterator[WebServer]:
    """Start a server, and kill it in the end."""
    need(MODULES[name.partition("-")[0]])
    server = WebServer(name, folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(params=COMMANDS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WebServer]:
    """Each kind of server in turn, to be stopped, killed and looked into."""
    yield from serve(request.param, tmp_path)


@pytest.fixture(scope="session", params=COMMANDS)
def running_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebServer]:
    """Each kind of server in turn, which several tests share."""
    yield from serve(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def shared(running_server: WebServer) -> WebServer:
    """A server that other tests used, with nothing in its file of handled messages."""
    running_server.forget("handled")
    return running_server
