"""Webhooks: what a POST of 1 KB of JSON costs, called in process and served by real servers."""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from itertools import count
from pathlib import Path
from time import monotonic, perf_counter, sleep
from typing import Any

from instrument import Suite
from instrument.ports import free_port
from instrument.processes import processor_time

BODY = json.dumps({"event": "sign-in", "note": "x" * 985}).encode()
ANSWER = b'{"result": "ack"}'
HEADERS = [("Content-Type", "application/json"), ("Content-Length", str(len(ANSWER)))]
#: Connections that are served at once.
CONNECTIONS = 16
#: How many spells the requests to a server are sent in.
SPELLS = 5
#: How long a server may take to start, in seconds.
PATIENCE = 30.0

suite = Suite("wsgi", "WSGI", unit="µs a request", clock="cpu")

# The applications. Each reads the body whole and answers the same JSON.


def bare_application() -> Any:
    """Build an application of nothing but a function: the limit."""

    def application(environ: Any, start_response: Any) -> Iterable[bytes]:
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        start_response("200 OK", HEADERS.copy())
        return [ANSWER]

    return application


def werkzeug_application() -> Any:
    """Build the smallest application of werkzeug's Request and Response."""
    from werkzeug.wrappers import Request, Response

    def application(environ: Any, start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        if request.method != "POST" or request.path != "/":
            return Response(status=404)(environ, start_response)
        request.get_data()
        return Response(ANSWER, mimetype="application/json")(environ, start_response)

    return application


def falcon_application() -> Any:
    """Build an application of Falcon with one resource."""
    import falcon

    class Webhook:
        def on_post(self, request: Any, response: Any) -> None:
            request.bounded_stream.read()
            response.content_type = "application/json"
            response.data = ANSWER

    application = falcon.App()
    application.add_route("/", Webhook())
    return application


def flask_application() -> Any:
    """Build an application of Flask with one view."""
    import flask

    application = flask.Flask("webhooks")

    @application.post("/")
    def webhook() -> Any:
        flask.request.get_data()
        return flask.Response(ANSWER, mimetype="application/json")

    return application


def missive_application() -> Any:
    """Build the application of either Missive, with one handler that acks."""
    import missive
    from missive.adapters.wsgi import WSGIAdapter

    processor: Any = missive.Processor()

    @processor.handle_for(lambda message: True)
    def handle(message: Any, ctx: Any) -> None:
        ctx.ack()

    return WSGIAdapter(missive.RawMessage, processor).app


# In process.


def called(application: Any) -> Callable[[int], None]:
    """Call an application as a server does, with an environment made for each request."""
    base = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(BODY)),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost:8000",
        "HTTP_USER_AGENT": "bench",
        "HTTP_ACCEPT": "*/*",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    began: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        began.append(status)

    def call() -> bytes:
        iterable = application({**base, "wsgi.input": BytesIO(BODY)}, start_response)
        content = b"".join(iterable)
        with suppress(AttributeError):
            iterable.close()
        return content

    if json.loads(call()) != {"result": "ack"} or not began[0].startswith("200"):
        raise SystemExit(f"the application answers {began[0]}")

    def run(requests: int) -> None:
        for _ in range(requests):
            call()
        began.clear()

    return run


# Served.


@contextmanager
def served(server: str, factory: str) -> Iterator[tuple[int, int]]:
    """Serve the application that a function of this module builds, in a process of its own.

    :param server: ``gunicorn sync``, ``gunicorn gthread`` or ``waitress``.
    :param factory: the name of the function.
    :returns: the port, and the id of the process.
    """
    port = free_port()
    address = f"127.0.0.1:{port}"
    if server == "waitress":
        program = f"import waitress, wsgi; waitress.serve(wsgi.{factory}(), listen={address!r})"
        command = [sys.executable, "-c", program]
    else:
        command = [sys.executable, "-m", "gunicorn", "--bind", address, "--log-level=warning"]
        command += ["--threads=8"] if server.endswith("gthread") else []
        command.append(f"wsgi:{factory}()")
    with subprocess.Popen(command, cwd=Path(__file__).parent) as process:
        try:
            wait_for(port, process)
            yield port, process.pid
        finally:
            process.terminate()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until somebody listens."""
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        sleep(0.02)
    raise SystemExit(f"the server on port {port} does not listen")


def request(number: int) -> bytes:
    """Return a request with an id of its own."""
    return REQUEST.replace(b"\r\n\r\n", b"\r\nX-Id: %016d\r\n\r\n" % number, 1)


REQUEST = (
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
) + BODY


class Load:
    """Keeps a number of connections busy, each with one request at a time.

    It reads no more of HTTP than it must, so that the server is what is measured: a response ends
    with the one body that there is.

    :param port: where the server listens.
    :param status: what it is to answer.
    :param numbered: whether each request has an id of its own.

    :ivar latencies: how long each answer took from the first try to connect, or to send on, in seconds.
    """

    def __init__(self, port: int, status: int = 200, *, numbered: bool = False) -> None:
        self.latencies: list[float] = []
        self._address = ("127.0.0.1", port)
        self._status = b" %d " % status
        self._numbers = count() if numbered else None
        self._selector = selectors.DefaultSelector()
        self._received: dict[socket.socket, bytes] = {}
        self._sent: dict[socket.socket, float] = {}

    def run(self, requests: int) -> float:
        """Send so many requests; give the seconds until all were answered."""
        started = perf_counter()
        begun = min(CONNECTIONS, requests)
        for _ in range(begun):
            self._connect()
        answered = 0
        while answered < requests:
            for key, _ in self._selector.select(PATIENCE):
                connection: Any = key.fileobj
                received = connection.recv(65536)
                whole = self._received[connection] + received
                if not whole.rstrip().endswith(b"}"):
                    if not received:
                        raise SystemExit("the server closed a connection without an answer")
                    self._received[connection] = whole
                    continue
                if self._status not in whole[:16]:
                    raise SystemExit(f"the server answers {whole[:40]!r}")
                answered += 1
                self.latencies.append(perf_counter() - self._sent[connection])
                closes = b"connection: close" in whole[:-1].lower()
                if begun < requests:
                    begun += 1
                    if closes:
                        self._close(connection)
                        self._connect()
                    else:
                        self._send(connection, perf_counter())
                else:
                    self._close(connection)
        return perf_counter() - started

    def _connect(self) -> None:
        started = perf_counter()
        connection = socket.create_connection(self._address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(connection, selectors.EVENT_READ)
        self._send(connection, started)

    def _send(self, connection: socket.socket, started: float) -> None:
        self._received[connection], self._sent[connection] = b"", started
        connection.sendall(REQUEST if self._numbers is None else request(next(self._numbers)))

    def _close(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._received[connection], self._sent[connection]
        connection.close()


def variant(name: str, environment: str, kind: str, semantics: str, factory: Any) -> None:
    """Register an application, to be called in process or to be served."""

    @suite.variant(name, environment=environment, kind=kind, semantics=semantics)
    def prepare(server: str | None = None) -> Iterator[Callable[[int], Any]]:
        if server is None:
            yield called(factory())
            return
        with served(server, factory.__name__) as (port, pid):
            load = Load(port)
            load.run(10 * CONNECTIONS)  # warm

            def spell(requests: int) -> dict[str, float]:
                before = processor_time(pid)
                figures = {"seconds": load.run(requests)}
                after = processor_time(pid)
                if before is not None and after is not None:
                    figures["cpu"] = after - before  # of the server, and not of the load
                return figures

            def run(requests: int) -> dict[str, float]:
                # The best of several, as where the clock sizes them: a new connection for each
                # request makes some spells slower by half than others.
                spells = [spell(requests // SPELLS) for _ in range(SPELLS)]
                return {clock: SPELLS * min(each[clock] for each in spells) for clock in spells[0]}

            yield run


variant(
    "bare function",
    "limit",
    "limit",
    "reads the body by its length and answers; looks at nothing",
    bare_application,
)
variant(
    "werkzeug",
    "limit",
    "limit",
    "werkzeug's Request and Response, method and path compared; no routing",
    werkzeug_application,
)
variant("Falcon", "falcon", "peer", "one resource, the body read", falcon_application)
variant("Flask", "flask", "peer", "one view, the body read", flask_application)
variant(
    "Missive",
    "missive",
    "missive",
    "path, method, codings and lengths checked, exactly one handler must match and settle, 503 while"
    " it drains",
    missive_application,
)
variant(
    "missive 0.8.1",
    "former",
    "former",
    "Flask below; one handler must match; outcomes of equal messages can be mixed up",
    missive_application,
)

ALL = tuple(suite.variants)

suite.case("in process", ALL)
suite.target(
    "in process, of werkzeug",
    ("in process", "Missive"),
    ("in process", "werkzeug"),
    at_most=0.25,
)
for name in ("gunicorn sync", "waitress", "gunicorn gthread"):
    suite.case(
        name,
        ALL,
        parameters={"server": name},
        items=4000,
        quick_items=1500,
        quick=name == "gunicorn sync",
    )
    suite.target(
        f"{name}, requests a second of a bare function's",
        (name, "bare function", "seconds"),
        (name, "Missive", "seconds"),
        at_least=0.95,
    )
