"""The page as a program of its own."""

from __future__ import annotations

import threading
from urllib.request import urlopen

import pytest
from missive import ConfigurationError, MemoryDLQ
from missive.web import DeadLetterApp
from missive.web.serving import listening
from page_tools import DEADLINE, letter


def test_it_is_served_to_many_at_once() -> None:
    """Several browsers are answered at once, and a slow one keeps nobody waiting."""
    store = MemoryDLQ()
    store.put(letter(1))
    with listening(DeadLetterApp(store), "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.port}/letters"
        import socket

        with socket.create_connection(("127.0.0.1", server.port), DEADLINE) as slow:
            slow.sendall(b"GET / HTTP/1.0\r\n")
            pages: list[bytes] = []

            def look() -> None:
                with urlopen(address, timeout=DEADLINE) as answer:
                    pages.append(answer.read())

            threads = [threading.Thread(target=look) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(DEADLINE)
    assert len(pages) == 4
    assert all(b"order-1" in page for page in pages)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "example.org"])
def test_an_open_page_is_not_served_to_others(host: str) -> None:
    """Unless people have to log in, it listens on this machine alone."""
    with pytest.raises(ConfigurationError, match="no login is required"):
        DeadLetterApp(MemoryDLQ()).run(host, 0)


def test_an_address_that_is_taken_is_said() -> None:
    """The error names the address and what to do."""
    with (
        listening(DeadLetterApp(MemoryDLQ()), "127.0.0.1", 0) as server,
        pytest.raises(ConfigurationError, match=f"port {server.port}: choose another"),
        listening(DeadLetterApp(MemoryDLQ()), "127.0.0.1", server.port),
    ):
        pass
