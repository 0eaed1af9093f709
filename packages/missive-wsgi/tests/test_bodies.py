"""Reading bodies: whole and within the limit, or not at all."""

from __future__ import annotations

import gzip
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from missive import Processor, RawMessage
from missive.adapters.wsgi import WSGIAdapter

LIMIT = 10


class Trickle(BytesIO):
    """A stream that gives a byte at a time, as a slow sender's does."""

    def read(self, size=-1):
        return super().read(min(size, 1))


class Broken(BytesIO):
    """A stream of a sender that goes away."""

    def read(self, size=-1):
        if self.tell():
            raise ConnectionResetError
        return super().read(min(size, 1))


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

    adapter = WSGIAdapter(RawMessage, processor, max_content_length=LIMIT)
    yield adapter
    adapter.close()


@pytest.fixture
def client(client_of, adapter):
    """A client of that adapter."""
    return client_of(adapter)


CHUNKED = {"CONTENT_LENGTH": None, "HTTP_TRANSFER_ENCODING": "chunked"}


@pytest.mark.parametrize("length", [0, 1, LIMIT])
def test_whole(client, handled, length):
    """A body up to the limit is handled whole; an empty one too."""
    assert client.post(b"x" * length).status == 200
    assert handled == [b"x" * length]


def test_trickle(client_of, adapter, handled):
    """A body that comes byte by byte is waited for."""
    assert client_of(adapter, Trickle).post(b"0123456789").status == 200
    assert handled == [b"0123456789"]


@pytest.mark.parametrize("length", ["11", "10737418240", "9" * 5000])
def test_too_large(client, handled, length):
    """A length over the limit is answered 413 before anything is read."""
    assert client.post(b"x" * 11, CONTENT_LENGTH=length).status == 413
    assert client.unread == 11
    assert handled == []


@pytest.mark.parametrize("length", ["-1", "+3", " 3", "3 ", "3,3", "0x3", "3.0", "٣", "²", "1_0"])
def test_bad_length(client, handled, length):
    """A length that is no number is answered 400 before anything is read."""
    assert client.post(b"abc", CONTENT_LENGTH=length).status == 400
    assert client.unread == 3
    assert handled == []


def test_short(client, handled):
    """A body that ends before its length is answered 400."""
    assert client.post(b"abc", CONTENT_LENGTH="4").status == 400
    assert handled == []


def test_sender_goes_away(client_of, adapter, handled):
    """A body whose sender goes away is answered 400, never handled half."""
    assert client_of(adapter, Broken).post(b"abc").status == 400
    assert client_of(adapter, Broken).post(b"abc", **CHUNKED, **TERMINATED).status == 400
    assert handled == []


def test_only_the_length_is_read(client, handled):
    """What follows the body on the connection is not the message's."""
    assert client.post(b"abcdef", CONTENT_LENGTH="3").status == 200
    assert handled == [b"abc"]
    assert client.unread == 3


GZIP = {"Content-Encoding": "gzip"}


def test_gzip_envelope(client_of):
    """Headers and native request of a compressed body are those of the decompressed one."""
    processor: Processor[RawMessage] = Processor()
    got = []

    @processor.handle_for(lambda message: True)
    def handle(message, ctx):
        got.append((message.headers, message.native.get_data()))
        ctx.ack()

    adapter = WSGIAdapter(RawMessage, processor)
    assert client_of(adapter).post(gzip.compress(b"abc"), headers=GZIP).status == 200
    ((headers, data),) = got
    assert ("Content-Encoding" in headers, headers["Content-Length"], data) == (False, "3", b"abc")
    adapter.close()


TERMINATED = {"wsgi.input_terminated": True}


def test_chunked(client, handled):
    """A chunked body is read to its end where the server tells the end."""
    assert client.post(b"0123456789", **CHUNKED, **TERMINATED).status == 200
    assert handled == [b"0123456789"]


@pytest.mark.parametrize("protocol", ["HTTP/1.0", "HTTP/0.9"])
def test_chunked_before_http_1_1(client, handled, protocol):
    """Chunks in HTTP/1.0, which servers may leave undecoded, are answered 400."""
    answer = client.post(b"", SERVER_PROTOCOL=protocol, **CHUNKED, **TERMINATED)
    assert answer.status == 400
    assert handled == []


def test_chunked_too_large(client, handled):
    """A chunked body is read one byte past the limit at most, and answered 413."""
    assert client.post(b"0123456789ABC", **CHUNKED, **TERMINATED).status == 413
    assert client.unread == 2
    assert handled == []


def test_chunked_without_end(client, handled):
    """A chunked body whose end the server does not tell is answered 411."""
    assert client.post(b"abc", **CHUNKED).status == 411
    assert handled == []


def test_chunked_and_length(client, handled):
    """Chunks and a length together are answered 400: two readers could disagree."""
    answer = client.post(b"abc", HTTP_TRANSFER_ENCODING="chunked", **TERMINATED)
    assert answer.status == 400
    assert handled == []


def test_other_transfer_coding(client, handled):
    """A transfer coding other than chunked is answered 501."""
    answer = client.post(
        b"abc", CONTENT_LENGTH=None, HTTP_TRANSFER_ENCODING="gzip, chunked", **TERMINATED
    )
    assert answer.status == 501
    assert handled == []


@pytest.mark.parametrize("absent", [None, ""])
def test_no_length_in_http_1(client, handled, absent):
    """In HTTP/1 neither length nor chunks means an empty body."""
    assert client.post(b"rest", CONTENT_LENGTH=absent).status == 200
    assert handled == [b""]
    assert client.unread == 4


def test_no_length_in_http_2(client, handled):
    """In HTTP/2 a body needs no length: it is read to the end if the server tells it, else 411."""
    two = {"CONTENT_LENGTH": None, "SERVER_PROTOCOL": "HTTP/2"}
    assert client.post(b"abc", **two).status == 411
    assert client.post(b"abc", **two, **TERMINATED).status == 200
    assert handled == [b"abc"]


@given(body=st.binary(max_size=2 * LIMIT), length=st.integers(0, 2 * LIMIT))
def test_whole_or_not_at_all(body, length):
    """Whatever is declared and sent, the handler sees just the declared bytes or is not called."""
    handled = []
    processor: Processor[RawMessage] = Processor()

    @processor.handle_for(lambda message: True)
    def handle(message, ctx):
        handled.append(message.raw_data)
        ctx.ack()

    adapter = WSGIAdapter(RawMessage, processor, max_content_length=LIMIT)
    statuses = []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "CONTENT_LENGTH": str(length),
        "wsgi.input": BytesIO(body),
    }
    adapter(environ, lambda status, headers: statuses.append(int(status[:3])))
    expected = 413 if length > LIMIT else 400 if length > len(body) else 200
    assert statuses == [expected]
    assert handled == ([body[:length]] if expected == 200 else [])
    adapter.close()
