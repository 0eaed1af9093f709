"""Senders that retry, servers that are killed, and strangers that send what they like."""

from __future__ import annotations

import http.client
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from time import monotonic, sleep

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DEADLINE = 60.0

concurrent_servers = pytest.mark.parametrize(
    "running_server", ["gunicorn-gthread", "waitress", "uwsgi", "development"], indirect=True
)


class Sender:
    """A sender of webhooks: it sends each event again until it is answered 2xx.

    :param server: the server to send to.
    """

    #: What is to become of the events, in turn.
    COMMANDS = ("ack", "raise", "again", "unknown")

    def __init__(self, server) -> None:
        self.server = server
        self.up = threading.Event()
        self.up.set()
        self.enough = threading.Event()
        self.delivered: list[tuple[str, str]] = []
        self.retries = 0

    def run(self, number: int) -> None:
        """Send events until there are enough, each of them through to the end."""
        for count in itertools.count():
            if self.enough.is_set():
                return
            command = self.COMMANDS[count % len(self.COMMANDS)]
            name = f"{number}-{count}"
            while not self.is_taken(f"{command} {name}", name):
                self.retries += 1
                assert self.up.wait(DEADLINE)
            self.delivered.append((command, name))

    def is_taken(self, body: str, name: str) -> bool:
        """Send an event once; tell whether the answer was 2xx."""
        try:
            status, _ = self.server.request("POST", "/", body.encode(), **{"X-Id": name})
        except (OSError, http.client.HTTPException):
            return False
        return 200 <= status < 300

    def wait_for(self, more: int) -> None:
        """Wait until so many events more are delivered."""
        goal, deadline = len(self.delivered) + more, monotonic() + DEADLINE
        while len(self.delivered) < goal:
            assert monotonic() < deadline, self.server.log
            sleep(0.005)  # the senders go on meanwhile: this paces kills, and decides nothing


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.soak)])
@pytest.mark.parametrize("server", ["gunicorn-gthread", "waitress"], indirect=True)
def test_killed_under_load(server, kills):
    """Of all events sent to a server that is killed again and again none is lost."""
    sender = Sender(server)
    with ThreadPoolExecutor(8) as pool:
        runs = [pool.submit(sender.run, number) for number in range(8)]
        try:
            for _ in range(kills):
                sender.wait_for(40)
                sender.up.clear()
                server.kill()
                server.start()
                sender.up.set()
            sender.wait_for(40)
        finally:
            sender.enough.set()
            sender.up.set()
        for run in runs:
            run.result(DEADLINE)
    server.stop()
    handled, dead = set(server.handled), set(server.dead)
    assert sender.retries > 0
    for command, name in sender.delivered:
        assert name in (handled if command in ("ack", "again") else dead), (command, name)
    assert len(sender.delivered) >= 40 * (kills + 1)


HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"


def request_of(body: bytes, *headers: bytes, head: bytes = HEAD) -> bytes:
    """Put a request together."""
    return head + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


BAD = b"ack BAD"
TOKENS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-", min_size=1, max_size=12)
LENGTH = b"Content-Length: %d" % len(BAD)
WHOLE = request_of(BAD, LENGTH)


def requests_of(header: bytes, values: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Requests with a header whose value is drawn, and no other length."""
    return values.map(lambda value: request_of(BAD, header + b": " + value))


#: Requests that no handler may see, each for a reason of its own.
bad_requests = st.one_of(
    # Some servers make a request of nearly anything, so no command may come about.
    st.binary(max_size=400).filter(lambda noise: b"ack" not in noise),
    st.integers(0, len(WHOLE) - 1).map(lambda end: WHOLE[:end]),
    requests_of(
        b"Content-Length",
        st.one_of(
            st.integers(max_value=-1).map(lambda number: b"%d" % number),
            st.integers(len(BAD) + 1, 10**40).map(lambda number: b"%d" % number),
            st.sampled_from([b"+7", b"7x", b"0x7", b"7 7", b"7,8", b"7.0", b"1e1", b"\xb2", b"_7"]),
        ),
    ),
    requests_of(
        b"Transfer-Encoding",
        st.sampled_from([b"gzip", b"chunked, gzip", b"xchunked", b"\x0bchunked", b"identity, x"]),
    ),
    # Invalid chunks, or without an end.
    st.sampled_from([b"-7", b"7x", b"0x7", b"g", b"", b"f" * 30, b"7", b"ff"]).map(
        lambda size: request_of(size + b"\r\n" + BAD, b"Transfer-Encoding: chunked")
    ),
    # A length twice, and both of them wrong.
    st.integers(len(BAD) + 1, 99).map(
        lambda other: request_of(BAD, b"Content-Length: %d" % other, b"Content-Length: %d" % other)
    ),
    TOKENS.filter(lambda method: method != "POST").map(
        lambda method: WHOLE.replace(b"POST", method.encode(), 1)
    ),
    st.text(max_size=30).map(
        lambda path: WHOLE.replace(b" / ", f" /x{path} ".encode("utf-8", "replace"), 1)
    ),
    # Servers may take //, /. and the like for the root; nothing else leads there by a detour.
    st.sampled_from(
        [b"//x", b"/./x", b"/../x", b"/%2e%2e/x", b"/%2fx", b"/%00", b"/%0d%0aX: y", b"*"]
    ).map(lambda path: WHOLE.replace(b" / ", b" " + path + b" ", 1)),
    # A header that goes on to the next line must not be taken for two.
    st.sampled_from(
        [b"X-A: b\r\n Content-Length: 7", b"Content-Length\r\n: 7", b": 7", b"\x007: 7"]
    ).map(lambda header: request_of(BAD, header, b"Content-Encoding: gzip")),
)


@concurrent_servers
@settings(max_examples=1000, suppress_health_check=list(HealthCheck))
@given(request=bad_requests)
def test_garbage(running_server, request):
    """Whatever a stranger sends, no handler sees it, and no traceback comes back."""
    running_server.forget("handled")
    answer = running_server.exchange(request)
    assert b"Traceback" not in answer
    assert b".py" not in answer
    assert b'"ack"' not in answer
    assert not running_server.lines("handled")


@concurrent_servers
def test_after_garbage(shared):
    """A server that got garbage on some connections serves others, with no error of ours."""
    for request in (b"\x00" * 100, WHOLE[:-3], request_of(BAD, b"Content-Length: -1")):
        shared.exchange(request)
    assert shared.request("POST", "/", b"ack good")[0] == 200
    assert shared.handled == ["good"]
    frames = [line for line in shared.log.splitlines() if line.startswith('  File "')]
    assert not [frame for frame in frames if "/missive/" in frame]


def test_ten_gigabytes(shared):
    """A body of 10 GB is refused when it is announced."""
    with closing(shared.connect()) as connection:
        connection.sendall(request_of(b"", b"Content-Length: 10737418240"))
        assert b" 413 " in connection.recv(65536).split(b"\r\n")[0]
    assert shared.lines("handled") == []


def test_slow_bodies(server):
    """Bodies that come slowly hold up nobody else, and are not handled when they break off."""
    slow = 1 if server.name == "gunicorn-sync" else 5
    connections = [server.connect() for _ in range(slow)]
    for connection in connections:
        connection.sendall(request_of(b"ack slow", b"Content-Length: 100"))
    for number in range(10):
        assert server.request("POST", "/", b"ack quick-%d" % number)[0] == 200
    for connection in connections:
        connection.sendall(b".")
        connection.close()
    server.stop()
    assert server.handled == [f"quick-{number}" for number in range(10)]


def test_slow_body_that_ends(shared):
    """A body that comes in pieces is handled whole."""
    with closing(shared.connect()) as connection:
        connection.sendall(request_of(b"ack pie", b"Content-Length: 10"))
        assert shared.request("GET", "/healthz")[0] == 200
        connection.sendall(b"ces")
        assert b" 200 " in connection.recv(65536).split(b"\r\n")[0]
    assert shared.lines("handled") == ["pieces 10"]
