"""The envelope of a message that came by HTTP."""

from __future__ import annotations

import pytest
from missive import MemoryDLQ, Processor, RawMessage, route_on_header

from webhook_suite import make_adapter


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
    with_close = make_adapter(RawMessage, collecting, **options)
    assert client_of(with_close).post(body, path, headers, **inside).status == 200
    with_close.close()


def test_headers(client_of, collecting, got):
    """The headers are the request's, whatever the case of the name."""
    post(client_of, collecting, b"x", {"X-GitHub-Event": "push", "Content-Type": "text/plain"})
    message = got[0][0]
    assert message.headers["x-github-event"] == "push"
    assert message.headers["CONTENT-TYPE"] == "text/plain"
    assert message.headers["Content-Length"] == "1"
    assert "X-Other" not in message.headers


def test_header_bytes(client_of, collecting, got):
    """Headers are UTF-8, and no byte of one that is not is lost."""
    post(client_of, collecting, headers={"X-Name": "gr\xc3\xbcn", "X-Raw": "\xff"})
    headers = got[0][1]
    assert headers["X-Name"] == "grün"
    assert headers["X-Raw"].encode("utf-8", "surrogateescape") == b"\xff"


def test_source(client_of, collecting, got):
    """The source is the path, with what the application is mounted on."""
    post(client_of, collecting, path="/hooks")
    post(client_of, collecting, path="/hooks", inside={"SCRIPT_NAME": "/gr\xc3\xbcn"})
    assert [message.source for message, *_ in got] == ["/hooks", "/grün/hooks"]


def test_message_id(client_of, collecting, got):
    """The message id is that of the sender's header, byte for byte, whenever it is sent."""
    for value in ("72d3162e-cc78", "72d3162e-cc78", "gr\xc3\xbcn\xff"):
        post(
            client_of,
            collecting,
            headers={"x-github-delivery": value},
            id_header="X-GitHub-Delivery",
        )
    ids = [message.message_id for message, *_ in got]
    assert ids == [b"72d3162e-cc78", b"72d3162e-cc78", b"gr\xc3\xbcn\xff"]


@pytest.mark.parametrize("headers", [{}, {"webhook-id": ""}])
def test_no_message_id(client_of, collecting, got, headers):
    """Without an id, or with an empty one, each message gets one of its own."""
    for _ in range(2):
        post(client_of, collecting, headers=headers, id_header="webhook-id")
    first, second = (message.message_id for message, *_ in got)
    assert len(first) == 16
    assert first != second


def test_redelivered_webhook_is_one_dead_letter(client_of):
    """A webhook that is sent again after a failure is the same dead letter, failed twice."""
    processor: Processor[RawMessage] = Processor()
    processor.set_dlq(dlq := MemoryDLQ())
    adapter = make_adapter(RawMessage, processor, id_header="webhook-id")
    for _ in range(2):
        client_of(adapter).post(b"body", headers={"webhook-id": "evt_1"})
    (letter,) = dlq.letters()
    assert (letter.id, letter.failures, letter.source) == (b"evt_1", 2, "/")
    assert letter.headers["Webhook-Id"] == "evt_1"
    adapter.close()


def test_route_on_header(client_of):
    """Messages can be routed by a header."""
    processor: Processor[RawMessage] = Processor()
    by_event = route_on_header("X-GitHub-Event")
    pushes = []

    @processor.handle_for(by_event("push"))
    def push(message, ctx):
        pushes.append(message)
        ctx.ack()

    adapter = make_adapter(RawMessage, processor)
    assert client_of(adapter).post(b"", headers={"X-GitHub-Event": "push"}).status == 200
    assert client_of(adapter).post(b"", headers={"X-GitHub-Event": "ping"}).status == 500
    assert len(pushes) == 1
    adapter.close()
