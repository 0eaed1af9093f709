"""Bodies: whole and within the limit, or not at all."""

from __future__ import annotations

import gzip
import os
import tracemalloc

import pytest
from missive import Processor, RawMessage

from webhook_suite import make_adapter

LIMIT = 10
GZIP = {"Content-Encoding": "gzip"}


@pytest.fixture
def handled():
    """The bodies that the handler saw."""
    return []


@pytest.fixture
def adapter(handled):
    """An adapter that takes up to LIMIT bytes."""
    processor: Processor[RawMessage] = Processor()

    @processor.handle_for(lambda message: True)
    def handle(message, ctx):
        handled.append(message.raw_data)
        ctx.ack()

    adapter = make_adapter(RawMessage, processor, max_content_length=LIMIT)
    yield adapter
    adapter.close()


@pytest.fixture
def client(client_of, adapter):
    """A client of that adapter."""
    return client_of(adapter)


def test_all_bytes(client_of, adapter, handled):
    """All 256 byte values pass unchanged."""
    roomy = make_adapter(RawMessage, adapter.processor, max_content_length=256)
    assert client_of(roomy).post(bytes(range(256))).status == 200
    roomy.close()
    assert handled == [bytes(range(256))]


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", " GZip "])
def test_gzip(client, handled, coding):
    """A compressed body is handled as if it had been sent plainly."""
    adapter = make_adapter(RawMessage, client.app.processor, max_content_length=100)
    client.app.close()
    client.app = adapter
    assert client.post(gzip.compress(b"abc"), headers={"Content-Encoding": coding}).status == 200
    two_members = gzip.compress(b"abc") + gzip.compress(b"def")
    assert client.post(two_members, headers=GZIP).status == 200
    assert handled == [b"abc", b"abcdef"]
    adapter.close()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"plain",
        gzip.compress(b"abc")[:-1],
        gzip.compress(b"abc")[:-8] + b"\0" * 8,
        gzip.compress(b"abc") + b"rest",
    ],
    ids=["empty", "plain", "cut short", "damaged", "with a rest"],
)
def test_bad_gzip(client_of, adapter, handled, body):
    """A body that is not gzip from end to end is answered 400."""
    roomy = make_adapter(RawMessage, adapter.processor, max_content_length=100)
    assert client_of(roomy).post(body, headers=GZIP).status == 400
    assert handled == []
    roomy.close()


def test_gzip_limits(client_of, adapter, handled):
    """The limit holds before and after decompression, and a bomb is not unpacked."""
    limited = make_adapter(RawMessage, adapter.processor, max_content_length=10_000)
    client = client_of(limited)
    assert client.post(gzip.compress(b"x" * 10_000), headers=GZIP).status == 200
    handled.clear()
    assert client.post(gzip.compress(b"x" * 10_001), headers=GZIP).status == 413
    assert client.post(os.urandom(10_001), headers=GZIP).status == 413
    assert client.unread == 10_001
    bomb = gzip.compress(b"\0" * 9_000_000)
    assert len(bomb) < 10_000
    tracemalloc.start()
    try:
        assert client.post(bomb, headers=GZIP).status == 413
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert handled == []
    limited.close()


@pytest.mark.parametrize("length", [0, 1, LIMIT])
def test_whole(client, handled, length):
    """A body up to the limit is handled whole; an empty one too."""
    assert client.post(b"x" * length).status == 200
    assert handled == [b"x" * length]


@pytest.mark.parametrize("length", ["11", "10737418240", "9" * 5000])
def test_too_large(client, handled, length):
    """A length over the limit is answered 413 before anything is read."""
    assert client.post(b"x" * 11, CONTENT_LENGTH=length).status == 413
    assert client.unread == 11
    assert handled == []


@pytest.mark.parametrize("length", ["-1", "+3", "3,3", "0x3", "3.0", "\xb2", "1_0"])
def test_bad_length(client, handled, length):
    """A length that is no number is answered 400 before anything is read."""
    assert client.post(b"abc", CONTENT_LENGTH=length).status == 400
    assert client.unread == 3
    assert handled == []


def test_short(client, handled):
    """A body that ends before its length is answered 400."""
    assert client.post(b"abc", CONTENT_LENGTH="4").status == 400
    assert handled == []


CHUNKED = {
    "CONTENT_LENGTH": None,
    "HTTP_TRANSFER_ENCODING": "chunked",
    "wsgi.input_terminated": True,
}


def test_chunked(client, handled):
    """A chunked body is read to its end, which the server tells."""
    assert client.post(b"0123456789", **CHUNKED).status == 200
    assert handled == [b"0123456789"]


def test_chunked_too_large(client, handled):
    """A chunked body over the limit is answered 413."""
    assert client.post(b"0123456789ABC", **CHUNKED).status == 413
    assert handled == []


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"SERVER_PROTOCOL": "HTTP/1.0"}, 400),
        ({"CONTENT_LENGTH": "3"}, 400),
        ({"HTTP_TRANSFER_ENCODING": "gzip, chunked"}, 501),
    ],
)
def test_transfer_codings(client, handled, changes, status):
    """Chunks in HTTP/1.0 or beside a length are answered 400, another coding 501."""
    assert client.post(b"abc", **{**CHUNKED, **changes}).status == status
    assert handled == []


def test_no_length_in_http_2(client, handled):
    """In HTTP/2 a body needs no length: it is read to its end, which the server tells."""
    two = {"CONTENT_LENGTH": None, "SERVER_PROTOCOL": "HTTP/2", "wsgi.input_terminated": True}
    assert client.post(b"abc", **two).status == 200
    assert handled == [b"abc"]
