"""What only a WSGI application meets: exits in a server's thread, and greedy servers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from missive import Processor, RawMessage
from missive.adapters.wsgi import WSGIAdapter


@pytest.fixture
def client(client_of, processor):
    """A client of an adapter without options."""
    adapter = WSGIAdapter(RawMessage, processor)
    yield client_of(adapter)
    adapter.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_exit_passes_through(client_of, error):
    """KeyboardInterrupt and SystemExit are the server's business, and leave nothing in flight."""
    processor: Processor[RawMessage] = Processor()
    processor.set_dlq(dlq := {})

    @processor.handle_for(lambda message: True)
    def handle(message, ctx):
        ctx.ack()
        raise error

    adapter = WSGIAdapter(RawMessage, processor)
    with pytest.raises(error):
        client_of(adapter).post(b"")
    assert not dlq
    adapter.close()  # would wait for a message in flight


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_exit_in_a_servers_thread(client_of, error, caplog):
    """In a thread of the server, which nobody would hear of it from, an exit is answered 500."""
    processor: Processor[RawMessage] = Processor()
    processor.set_dlq(dlq := {})

    @processor.handle_for(lambda message: True)
    def handle(message, ctx):
        ctx.ack()
        raise error

    adapter = WSGIAdapter(RawMessage, processor)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client_of(adapter).post, b"").result()
    assert (answer.status, answer.json) == (500, {"result": "error"})
    assert error.__name__ in caplog.text
    assert not dlq
    adapter.close()  # would wait for a message in flight


def test_exit_in_a_before_hook(client_of, processor):
    """A before-hook that exits in a thread of the server leaves no sender and no probe waiting."""

    @processor.before_processing
    def leave(ctx):
        raise SystemExit

    adapter = WSGIAdapter(RawMessage, processor)
    client = client_of(adapter)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(client.post, b"ack").result().status == 500
        assert pool.submit(client.get, "/readyz").result().status == 503
    adapter.close()


def test_responses_are_fresh(client):
    """What a server does to the headers of one response shows in no other."""

    def greedy(environ, start_response):
        def start(status, headers, exc_info=None):
            start_response(status, headers[:])
            headers.clear()

        return client.app(environ, start)

    other = type(client)(greedy)
    assert other.post(b"ack").headers["Content-Type"]
    assert other.post(b"ack").headers["Content-Type"]


def test_app_is_the_adapter(client):
    """The attribute app names the application, which is the adapter."""
    assert client.app.app is client.app
