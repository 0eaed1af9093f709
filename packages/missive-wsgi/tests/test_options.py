"""What an adapter may be given, and what it refuses with the remedy."""

from __future__ import annotations

import pytest
from missive import Adapter, ConfigurationError, Processor, RawMessage, Runnable, from_url
from missive.adapters.wsgi import WSGIAdapter


def test_kinds(processor):
    """A WSGIAdapter is an Adapter and Runnable; a request is answered, a nack by an error."""
    adapter = WSGIAdapter(RawMessage, processor)
    assert isinstance(adapter, Adapter)
    assert isinstance(adapter, Runnable)
    assert adapter.capabilities.delivery == "request-reply"
    assert adapter.capabilities.nack == "error-response"


def test_from_url(processor):
    """A URL says where to listen, the path, and options in its query."""
    adapter = from_url(
        "http://[::1]:9000/hooks?max_content_length=5&id_header=webhook-id&nack_status=503"
        "&retry_after=7&drain_timeout=2.5",
        RawMessage,
        processor,
        retry_after=8,
    )
    assert isinstance(adapter, WSGIAdapter)
    assert (adapter.host, adapter.port, adapter.path) == ("::1", 9000, "/hooks")
    assert (adapter.max_content_length, adapter.drain_timeout) == (5, 2.5)
    assert adapter.id_header == "webhook-id"


def test_from_url_with_an_escaped_path(client_of, processor):
    """The path of a URL is unescaped, as the path of a request is."""
    adapter = WSGIAdapter.from_url("http://localhost/a%20gr%C3%BCn%ff", RawMessage, processor)
    assert adapter.path == "/a grün\udcff"
    assert client_of(adapter).post(b"ack", "/a gr\xc3\xbcn\xff").status == 200
    adapter.close()


def test_from_short_url(processor):
    """Without host, port and path it is loopback, port 8000, and the root."""
    adapter = WSGIAdapter.from_url("http:", RawMessage, processor)
    assert (adapter.host, adapter.port, adapter.path) == ("127.0.0.1", 8000, "/")


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@localhost/",
        "http://localhost/#part",
        "http://localhost:99999/",
        "http://localhost:x/",
        "http://localhost/?verify=no",
        "http://localhost/?nack_status=many",
        "http://localhost/?nack_status=200",
    ],
)
def test_refused_url(url):
    """A URL that cannot be used is refused, without showing a password."""
    processor: Processor[RawMessage] = Processor()
    with pytest.raises(ConfigurationError) as caught:
        from_url(url, RawMessage, processor)
    assert "secret" not in str(caught.value)
