"""The proxy: it passes bytes on, as badly as it is told to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from missive.conformance import Proxy

DEADLINE = 10.0


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """Return the address of a server that sends back what it gets."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with connection:
            try:
                while chunk := connection.recv(4096):
                    connection.sendall(chunk)
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[:2]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def proxy(echo: tuple[str, int]) -> Iterator[Proxy]:
    """Return a proxy before that server."""
    with Proxy(*echo) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    """Return a connection through that proxy, over which something has come already."""
    with socket.create_connection(proxy.address, DEADLINE) as client:
        client.sendall(b"hello")
        assert read(client, 5) == b"hello"
        yield client


def read(client: socket.socket, count: int) -> bytes:
    """Read so many bytes."""
    came = b""
    while len(came) < count:
        chunk = client.recv(count - len(came))
        assert chunk, f"the connection ended after {len(came)} of {count} bytes"
        came += chunk
    return came


def test_it_passes_bytes_on(client: socket.socket) -> None:
    """What goes in comes out, in order, in both directions."""
    body = bytes(range(256)) * 1000
    threading.Thread(target=client.sendall, args=(body,), daemon=True).start()
    assert read(client, len(body)) == body


def test_slices_are_single_bytes(client: socket.socket, proxy: Proxy) -> None:
    """Told to slice, it sends every byte by itself, and still all of them."""
    proxy.sliced = True
    for _ in range(100):  # a reader that is slow finds them together
        sizes: list[int] = []
        client.sendall(b"x" * 300)
        while sum(sizes) < 300:
            sizes.append(len(client.recv(4096)))
        if len(sizes) > 1:
            return
    raise AssertionError("what was sent as one was always read as one")


def test_a_reset_is_a_reset(client: socket.socket, proxy: Proxy) -> None:
    """A reset cuts each connection with an error, and leaves the way for new ones open."""
    assert proxy.reset() == 1
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with socket.create_connection(proxy.address, DEADLINE) as another:
        another.sendall(b"again")
        assert read(another, 5) == b"again"
    assert proxy.accepted == 2


def test_a_stalled_connection_says_nothing(client: socket.socket, proxy: Proxy) -> None:
    """While it is stalled nothing passes and nothing is refused; then the bytes are there."""
    proxy.stall()
    client.sendall(b"into the void")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)
    with socket.create_connection(proxy.address, DEADLINE) as another:
        another.settimeout(0.2)
        with pytest.raises(TimeoutError):
            another.recv(1)
    client.settimeout(DEADLINE)
    proxy.resume(forget=False)
    assert read(client, 13) == b"into the void"


def test_a_forgotten_connection_stays_dead(client: socket.socket, proxy: Proxy) -> None:
    """After a stall that is forgotten, the old connection is cut and a new one works."""
    proxy.stall()
    proxy.resume()
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_a_server_that_is_down_ends_the_connection(proxy: Proxy) -> None:
    """Where nothing listens behind it, a connection is accepted and closed."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = unused.getsockname()[:2]
    with Proxy(*address) as lonely, socket.create_connection(lonely.address, DEADLINE) as client:
        assert client.recv(1) == b""


def test_close_ends_everything(client: socket.socket, proxy: Proxy) -> None:
    """After close() there are no connections and no threads of the proxy's own."""
    proxy.close()
    proxy.close()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(proxy.address, DEADLINE)
    assert not [one for one in threading.enumerate() if one.name == "missive-proxy"]
