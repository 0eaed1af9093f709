"""The envelope of a message that came by HTTP."""

from __future__ import annotations

import pytest
from missive import Processor, RawMessage
from missive.adapters.wsgi import WSGIAdapter
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.wrappers import Request


@pytest.fixture
def got():
    """What handlers were given: message, headers, native object."""
    return []


@pytest.fixture
def collecting(got):
    """A processor that collects what its handler was given."""
    processor: Processor[RawMessage] = Processor()

    @processor.handle_for(lambda message: True)
    def handle(message, ctx):
        # Within the request, as a handler would.
        got.append((message, dict(message.headers), message.native))
        ctx.ack()

    return processor


def post(client_of, collecting, body=b"", headers=None, **options):
    """Post to an adapter with these options, which must take it."""
    inside = options.pop("inside", {})
    path = options.get("path", "/")
    with_close = WSGIAdapter(RawMessage, collecting, **options)
    assert client_of(with_close).post(body, path, headers, **inside).status == 200
    with_close.close()


def test_header_of_middleware(client_of, collecting, got):
    """A header that middleware added as plain text is given as it is."""
    post(client_of, collecting, inside={"HTTP_X_USER": "Жук"})
    assert got[0][1]["X-User"] == "Жук"


def test_native(client_of, collecting, got):
    """The native object is werkzeug's Request, made once, and its body can be read."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    post(client_of, collecting, b"a=1&b=%20", form)
    message, _, native = got[0]
    assert isinstance(native, Request)
    assert native is message.native
    assert native.form.to_dict() == {"a": "1", "b": " "}
    assert message.raw_data == b"a=1&b=%20"


def test_native_of_chunked(client_of, collecting, got):
    """The native request of a chunked body can be read too."""
    chunked = {
        "CONTENT_LENGTH": None,
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input_terminated": True,
    }
    post(client_of, collecting, b"abc", inside=chunked)
    native = got[0][2]
    assert native.get_data() == b"abc"
    assert "Transfer-Encoding" not in native.headers


def test_dispatcher(client_of, collecting, got):
    """Several processors share one server by werkzeug's DispatcherMiddleware."""
    other: Processor[RawMessage] = Processor()
    other.set_dlq(dlq := {})
    adapters = [WSGIAdapter(RawMessage, collecting), WSGIAdapter(RawMessage, other, path="/hook")]
    app = DispatcherMiddleware(adapters[0], {"/other": adapters[1]})
    assert client_of(app).post(b"one").json == {"result": "ack"}
    assert client_of(app).post(b"two", "/other/hook").json == {"result": "dlq"}
    assert client_of(app).post(b"three", "/other").status == 404
    assert [message.raw_data for message, *_ in got] == [b"one"]
    assert [message.source for message, _ in dlq.values()] == ["/other/hook"]
    for adapter in adapters:
        adapter.close()
