"""run() and stop(): the development server, and servers of another make."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from missive import ConfigurationError, Processor, RawMessage
from missive.adapters.wsgi import CannotListen, WSGIAdapter

DEADLINE = 10


@pytest.fixture
def adapter(processor):
    """An adapter to run."""
    return WSGIAdapter(RawMessage, processor, drain_timeout=DEADLINE)


@contextmanager
def running(adapter, **arguments):
    """Run an adapter in a thread, and stop it in the end; whatever run() raises is raised."""
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(adapter.run, **{"port": 0, **arguments})
        try:
            assert adapter.ready.wait(DEADLINE)
            yield run
        finally:
            adapter.stop()
            run.result(DEADLINE)


def post(address, body, path="/"):
    """POST a body; give status and body of the response."""
    connection = http.client.HTTPConnection(*address, timeout=DEADLINE)
    try:
        connection.request("POST", path, body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_run(adapter, caplog):
    """run() serves on loopback until stop(), and says that it is for development."""
    with running(adapter):
        host, port = adapter.address
        assert host == "127.0.0.1"
        assert "development" in caplog.text
        assert post((host, port), b"ack") == (200, b'{"result": "ack"}')
    assert adapter.address is None
    assert not adapter.ready.is_set()
    with pytest.raises(ConnectionError):
        post((host, port), b"ack")


def test_run_again(adapter, processor):
    """run() works again after stop(), with its hooks run anew."""
    hooks = []
    processor.before_processing(lambda ctx: hooks.append("before"))
    processor.after_processing(lambda ctx: hooks.append("after"))
    for _ in range(2):
        with running(adapter):
            assert post(adapter.address, b"ack")[0] == 200
    assert hooks == ["before", "after"] * 2


def test_stop_before_run(adapter, processor):
    """stop() before run() makes the next run() return at once, without hooks; only that one."""
    hooks = []
    processor.before_processing(lambda ctx: hooks.append("before"))
    adapter.stop()
    adapter.stop()
    adapter.run(port=0)
    assert hooks == []
    with running(adapter):
        assert post(adapter.address, b"ack")[0] == 200


def test_run_twice(adapter):
    """An adapter that runs already is refused a second run."""
    with running(adapter), pytest.raises(ConfigurationError, match="is running already"):
        adapter.run(port=0)


def test_address_in_use(adapter):
    """A port that is taken is an error that names it, with its cause."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=f"127.0.0.1 port {port}") as caught:
            adapter.run(port=port)
    assert isinstance(caught.value.__cause__, OSError)
    assert (caught.value.host, caught.value.port) == ("127.0.0.1", port)


@pytest.mark.parametrize("port", [-1, 99999, "http"])
def test_no_port(adapter, port):
    """What is no port is refused in the same way."""
    with pytest.raises(CannotListen):
        adapter.run(port=port)


def test_hook_fails(adapter, processor):
    """What a before-hook raises ends run()."""

    @processor.before_processing
    def connect(ctx):
        raise ConnectionError("no database")

    with pytest.raises(ConnectionError):
        adapter.run(port=0)
    assert adapter.address is None


def test_stop_lets_finish(adapter, processor):
    """stop() lets the message in flight finish and its answer go out; others are answered 503."""
    entered, release = threading.Event(), threading.Event()

    @processor.handle_for(lambda message: message.raw_data == b"wait")
    def hold(message, ctx):
        entered.set()
        assert release.wait(DEADLINE)
        ctx.ack()

    with ThreadPoolExecutor(1) as pool, running(adapter):
        address = adapter.address
        waiting = pool.submit(post, address, b"wait")
        assert entered.wait(DEADLINE)
        adapter.stop()
        assert post(address, b"ack")[0] == 503
        release.set()
        assert waiting.result(DEADLINE) == (200, b'{"result": "ack"}')


def test_stop_lets_the_answer_out(processor):
    """run() goes on until the answer to a message that is handled already is on its way."""

    class Slow(WSGIAdapter):
        def __call__(self, environ, start_response):
            answer = super().__call__(environ, start_response)
            handled.set()
            assert release.wait(DEADLINE)
            return answer

    handled, release = threading.Event(), threading.Event()
    adapter = Slow(RawMessage, processor, drain_timeout=DEADLINE)
    with ThreadPoolExecutor(1) as pool, running(adapter) as run:
        waiting = pool.submit(post, adapter.address, b"ack")
        assert handled.wait(DEADLINE)
        adapter.stop()
        assert not wait([run], timeout=0.2).done
        release.set()
        assert waiting.result(DEADLINE)[0] == 200
        run.result(DEADLINE)


def test_stop_after_a_reset(processor):
    """A sender that resets its connection does not keep run() until the drain timeout."""
    # Longer than the test may take, so that a response that is counted for ever fails it.
    adapter = WSGIAdapter(RawMessage, processor, drain_timeout=3 * DEADLINE)
    with running(adapter) as run:
        sender = socket.create_connection(adapter.address, DEADLINE)
        # A byte more than the body, so that the server, which has answered, waits for others.
        sender.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nack!")
        answer = b""
        while not answer.endswith(b"}"):
            answer += sender.recv(65536)
        # With a linger of 0 s, close() resets the connection.
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sender.close()
        adapter.stop()
        run.result(DEADLINE)


def test_stop_with_an_unclosed_response(adapter):
    """A response that another server drops unclosed does not keep run() from ending."""
    events = []

    def serve(app, *, host, port):
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/healthz"}
        parts = app(environ, lambda status, headers: events.append(status))
        assert b"".join(parts)
        del parts
        adapter.stop()
        try:
            threading.Event().wait(DEADLINE)
        except KeyboardInterrupt:
            events.append("interrupted")
            raise

    adapter.drain_timeout = 3 * DEADLINE
    adapter.run(port=0, server=serve)
    assert events == ["200 OK", "interrupted"]


def test_stop_in_a_handler(adapter, processor):
    """A handler may call stop(), and its own message is answered."""

    @processor.handle_for(lambda message: message.raw_data == b"stop")
    def stop(message, ctx):
        adapter.stop()
        ctx.ack()

    with running(adapter) as run:
        assert post(adapter.address, b"stop") == (200, b'{"result": "ack"}')
        run.result(DEADLINE)


def test_run_where_the_url_says(processor):
    """run() without arguments listens where the URL says."""
    adapter = WSGIAdapter.from_url("http://127.0.0.1:0/hooks", RawMessage, processor)
    with running(adapter, port=None):
        assert post(adapter.address, b"ack", "/hooks")[0] == 200


def test_other_server(adapter, client_of):
    """With server= run() calls that function with the application and the address."""
    calls = []

    def serve(app, *, host, port):
        calls.append((host, port, client_of(app).post(b"ack").status, adapter.ready.is_set()))

    adapter.run("localhost", 8123, serve)
    assert calls == [("localhost", 8123, 200, True)]


def test_other_server_fails(adapter, processor):
    """What the other server raises is raised, after the hooks have run."""
    hooks = []
    processor.after_processing(lambda ctx: hooks.append("after"))

    def serve(app, *, host, port):
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        adapter.run(server=serve)
    assert hooks == ["after"]


class Quiet(WSGIRequestHandler):
    """A handler of requests that logs none."""

    def log_message(self, *args):
        """Say nothing."""


def test_stop_other_server(adapter):
    """stop() ends another server that runs in the main thread, once its handlers have finished."""
    addresses = []

    def serve(app, *, host, port):
        with make_server(host, port, app, handler_class=Quiet) as server:
            addresses.append(server.server_address)
            serving.set()
            server.serve_forever()

    def use():
        assert serving.wait(DEADLINE)
        answers.append(post(addresses[0], b"ack"))
        adapter.stop()
        adapter.stop()

    serving, answers = threading.Event(), []
    former = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=use)
    thread.start()
    adapter.run(port=0, server=serve)
    thread.join(DEADLINE)
    assert answers == [(200, b'{"result": "ack"}')]
    assert signal.getsignal(signal.SIGINT) is former


def test_interrupt_of_another(adapter):
    """An interrupt that is not ours propagates from run()."""

    def serve(app, *, host, port):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        adapter.run(server=serve)


PROGRAM = """
import sys
from missive import Processor, RawMessage
from missive.adapters.wsgi import WSGIAdapter

processor = Processor()
processor.before_processing(lambda ctx: print("before", flush=True))
processor.after_processing(lambda ctx: print("after", flush=True))

@processor.handle_for(lambda message: True)
def handle(message, ctx):
    ctx.ack()

def serve(app, *, host, port):
    from wsgiref.simple_server import make_server
    with make_server(host, port, app) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()

class Telling(WSGIAdapter):
    @property
    def address(self):
        return self._address

    @address.setter
    def address(self, address):
        self._address = address
        if address is not None and "other" not in sys.argv:
            print(address[1], flush=True)

Telling(RawMessage, processor).run(port=0, server=serve if "other" in sys.argv else None)
print("returned", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as on POSIX")
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("server", ["development", "other"])
def test_signals(server, signum):
    """SIGTERM and SIGINT end run() in the main thread, after-hooks included."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, server],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "before\n"
            port = int(process.stdout.readline())
            assert post(("127.0.0.1", port), b"x")[0] == 200
            process.send_signal(signum)
            out, err = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
    assert out == "after\nreturned\n"
    assert "Traceback" not in err
    assert process.returncode == 0


def test_processor_is_typed():
    """A processor of a subclass of messages is served with that class."""
    processor: Processor[RawMessage] = Processor()
    assert WSGIAdapter(RawMessage, processor).processor is processor
