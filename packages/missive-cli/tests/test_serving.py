"""``missive run --from http://...``: a processor as webhooks."""

from __future__ import annotations

import re
import signal
import urllib.request

import pytest

pytest.importorskip("missive.adapters.wsgi")

OPTIONS = ("run", "app:processor", "--from", "http://127.0.0.1:{port}/hooks", "--message", "json")


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def post(port: int, body: bytes) -> tuple[int, bytes]:
    """Send a webhook; gives status and body of the answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/hooks", data=body, method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status, answer.read()


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
    return process


@pytest.mark.parametrize("workers", [(), ("--workers", 3)])
def test_serves_on_waitress_where_it_is_installed(start, free_port, workers):
    """Webhooks are handled, by a server that is fit for production, until a signal."""
    pytest.importorskip("waitress")
    process = serve(start, free_port, *workers)
    status, body = post(free_port, b'{"label": "greet", "name": "Ada"}')
    assert (status, body) == (200, b'{"result": "ack"}')
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 0
    assert process.stdout == "hello Ada\n"
    assert "development alone" not in process.stderr


def test_serves_with_a_warning_where_it_is_not(start, project, free_port):
    """Without waitress the adapter's own server does, and says what it is good for."""
    (project / "waitress.py").write_text("raise ImportError('hidden')\n")
    process = serve(start, free_port)
    assert post(free_port, b'{"label": "greet", "name": "Ada"}')[0] == 200
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 0
    assert "for development alone" in process.stderr


@pytest.mark.parametrize("waitress", [True, False])
def test_an_address_that_is_taken_is_one_line(start, missive, project, free_port, waitress):
    """A port that another program has is one line, and exit code 3."""
    if waitress:
        pytest.importorskip("waitress")
    else:
        (project / "waitress.py").write_text("raise ImportError('hidden')\n")
    serve(start, free_port)
    done = missive(*[arg.format(port=free_port) for arg in OPTIONS])
    assert done.returncode == 3
    last = done.stderr.splitlines()[-1]
    assert last.startswith("missive: ")
    assert "Traceback" not in done.stderr


def test_a_handler_that_hangs_does_not_keep_the_server(start, free_port):
    """At the drain deadline the process ends with exit code 4, whatever a handler does."""
    import threading

    process = serve(start, free_port, "--drain-timeout", 0.2)

    def send() -> None:
        try:
            post(free_port, b'{"label": "wait", "for": "/nowhere/at/all"}')
        except OSError:  # the server goes away before it has answered
            return

    sender = threading.Thread(target=send)
    sender.start()
    process.wait_for("waiting")
    process.popen.send_signal(signal.SIGTERM)
    assert process.ended() == 4
    sender.join()
