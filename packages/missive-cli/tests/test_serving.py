"""``missive run --from http://...``: a processor as webhooks."""

from __future__ import annotations

import re
import signal
import socket
import urllib.request

import pytest
from servers import free_port

pytest.importorskip("missive.adapters.wsgi")

FROM = "http://127.0.0.1:{}/hooks{}"
OPTIONS = ("run", "app:processor", "--from", "http://127.0.0.1:{port}/hooks", "--message", "json")

HOOKED = """\
from app import processor


@processor.before_processing
def connect(ctx):
    raise ConnectionRefusedError(111, "Connection refused")
"""


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    return free_port()


def post(port: int, body: bytes) -> tuple[int, bytes]:
    """Send a webhook; gives status and body of the answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/hooks", data=body, method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status, answer.read()


def exchange(port: int, request: bytes) -> bytes:
    """Send bytes on a connection of its own; gives the first that come back."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        return connection.recv(65536)


def serve(start, port: int, *more: object, **env: str):
    """Start serving, and wait until it is ready."""
    args = [str(arg).format(port=port) for arg in OPTIONS]
    process = start(*args, "--health-port", 0, *more, **env)
    process.wait_for("/live and /ready", "stderr")
    found = re.search(r"http://127\.0\.0\.1:(\d+)/live", process.stderr)
    assert found is not None
    health = f"http://127.0.0.1:{found[1]}/ready"

    def ready() -> bool:
        try:
            with urllib.request.urlopen(health, timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    process.wait_until(ready, "server that is ready")
    process.wait_for("erving on http", "stderr")
    return process


def test_ends_with_the_same_report_as_the_others(start, port):
    """A run of webhooks says in the end how many it received, and what became of them."""
    process = serve(start, port)
    post(port, b'{"label": "greet", "name": "Ada"}')
    post(port, b'{"label": "greet", "name": "Grace"}')
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 0
    assert "ended: 2 received, 2 acked, 0 nacked, 0 dead-lettered" in process.stderr


@pytest.mark.parametrize("workers", [(), ("--workers", 3)])
def test_serves_on_waitress_where_it_is_installed(start, port, workers):
    """Webhooks are handled, by a server that is fit for production, until a signal."""
    pytest.importorskip("waitress")
    process = serve(start, port, *workers)
    status, body = post(port, b'{"label": "greet", "name": "Ada"}')
    assert (status, body) == (200, b'{"result": "ack"}')
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 0
    assert process.stdout == "hello Ada\n"
    assert "development only" not in process.stderr
    assert f"workers       {workers[1] if workers else 4}\n" in process.stderr


def test_a_body_that_is_too_long_is_refused_unread(start, port):
    """Waitress takes bodies up to the adapter's limit, and for far longer ones it does not wait."""
    pytest.importorskip("waitress")
    serve(start, port, "--from", FROM.format(port, "?max_content_length=2000"))
    for length, status in [(2000, 200), (2001, 413), (100_000, 413), (10**12, 413)]:
        body = b'{"label": "greet", "name": "Ada"}'.ljust(min(length, 2001))
        answer = exchange(
            port,
            b"POST /hooks HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (length, body),
        )
        assert int(answer.split()[1]) == status


def test_chunks_are_taken_up_to_the_limit(start, port):
    """The framing of chunks does not count for the adapter's limit."""
    pytest.importorskip("waitress")
    serve(start, port, "--from", FROM.format(port, "?max_content_length=2000"))
    for length, status in [(2000, 200), (2001, 413), (10_000, 413)]:
        body = b'{"label": "greet", "name": "Ada"}'.ljust(length)
        chunks = [body[begin : begin + 64] for begin in range(0, length, 64)] + [b""]
        answer = exchange(
            port,
            b"POST /hooks HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks),
        )
        assert int(answer.split()[1]) == status


def test_serves_with_a_warning_where_it_is_not(start, project, port):
    """Without waitress the adapter's own server does, and says what it is good for."""
    (project / "waitress.py").write_text("raise ImportError('hidden')\n")
    process = serve(start, port)
    assert post(port, b'{"label": "greet", "name": "Ada"}')[0] == 200
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 0
    assert "for development only" in process.stderr


@pytest.mark.parametrize("waitress", [True, False])
def test_an_address_that_is_taken_is_one_line(start, missive, project, port, waitress):
    """A port that another program has is one line, and exit code 3."""
    if waitress:
        pytest.importorskip("waitress")
    else:
        (project / "waitress.py").write_text("raise ImportError('hidden')\n")
    serve(start, port)
    done = missive(*[arg.format(port=port) for arg in OPTIONS])
    assert done.returncode == 3
    last = done.stderr.splitlines()[-1]
    assert last.startswith("missive: ")
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in last
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("waitress", [True, False])
@pytest.mark.parametrize("host", ["nohost.invalid", "a..b"])
def test_a_host_that_has_no_address_is_one_line(missive, project, port, waitress, host):
    """A host that cannot be resolved is one line that names it, and exit code 3."""
    if waitress:
        pytest.importorskip("waitress")
    else:
        (project / "waitress.py").write_text("raise ImportError('hidden')\n")
    url = f"http://{host}:{port}/"
    done = missive("run", "app:processor", "--from", url, "--message", "json")
    assert done.returncode == 3, done.stderr
    assert f"cannot listen on {host} port {port}: " in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("waitress", [True, False])
def test_a_hook_that_fails_is_not_the_servers_fault(missive, project, port, waitress):
    """A before-hook that fails, by an OSError too, ends the run with exit code 1 and its place."""
    if waitress:
        pytest.importorskip("waitress")
    else:
        (project / "waitress.py").write_text("raise ImportError('hidden')\n")
    (project / "hooked.py").write_text(HOOKED)
    url = FROM.format(port, "")
    done = missive("run", "hooked:processor", "--from", url, "--message", "json")
    assert done.returncode == 1, done.stderr
    last = done.stderr.splitlines()[-1]
    assert "ConnectionRefusedError" in last
    assert "hooked.py:6" in last


def test_what_only_a_polled_transport_has_is_refused(missive, refused, port):
    """A limit of what is fetched ahead is refused, since senders are answered one by one."""
    line = refused(missive(*[arg.format(port=port) for arg in OPTIONS], "--max-in-flight", 3))
    assert "--max-in-flight" in line
    assert "--workers" in line


def test_workers_without_waitress_are_refused(missive, refused, project, port):
    """A number of workers that no server would heed is refused, with the remedy."""
    (project / "waitress.py").write_text("raise ImportError('hidden')\n")
    line = refused(missive(*[arg.format(port=port) for arg in OPTIONS], "--workers", 3))
    assert "pip install waitress" in line


def test_a_handler_that_hangs_does_not_keep_the_server(start, port):
    """At the drain deadline the process ends with exit code 4, whatever a handler does."""
    import threading

    process = serve(start, port, "--drain-timeout", 0.2)

    def send() -> None:
        try:
            post(port, b'{"label": "wait", "for": "/nowhere/at/all"}')
        except OSError:  # the server goes away before it has answered
            return

    sender = threading.Thread(target=send)
    sender.start()
    process.wait_for("waiting")
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 4
    sender.join()
