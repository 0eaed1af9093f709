"""The application under real servers."""

from __future__ import annotations

import gzip
import http.client
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from missive.dlq.sqlite import SQLiteDLQ

THREADS = 32

#: For each command the status and the result that answer it.
ANSWERS = {
    "ack": (200, "ack"),
    "nack": (503, "nack"),
    "raise": (200, "dlq"),
    "leave": (200, "dlq"),
    "unknown": (200, "dlq"),
}


@pytest.mark.parametrize(
    "requests", [25, pytest.param(1000, marks=pytest.mark.soak)], ids=["quick", "soak"]
)
def test_each_response_is_of_its_own_message(server, requests):
    """Of many mixed messages at once each is answered by its own outcome, and settled by it."""

    def send(thread: int) -> list[str]:
        wrong = []
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        with closing(connection):
            for index in range(requests):
                name = f"{thread}-{index}"
                command = list(ANSWERS)[(thread + index) % len(ANSWERS)]
                body = f"{command} {name} ".encode().ljust(16 + 37 * (index % 11), b".")
                connection.request("POST", "/", body, {"X-Id": name})
                response = connection.getresponse()
                answer = (response.status, json.loads(response.read())["result"])
                if answer != ANSWERS[command]:
                    wrong.append(f"{command} {name}: {answer}")
        return wrong

    with ThreadPoolExecutor(THREADS) as pool:
        assert [wrong for wrongs in pool.map(send, range(THREADS)) for wrong in wrongs] == []
    server.stop()

    expected: dict[str, set[str]] = {"ack": set(), "dlq": set(), "nack": set()}
    for thread in range(THREADS):
        for index in range(requests):
            command = list(ANSWERS)[(thread + index) % len(ANSWERS)]
            expected[ANSWERS[command][1]].add(f"{thread}-{index}")
    assert Counter(server.handled) == Counter(expected["ack"])
    assert Counter(server.dead) == Counter(expected["dlq"])

    begun, ended = (
        Counter(line.split()[1] for line in server.lines("hooks") if line.startswith(when))
        for when in ("before", "after")
    )
    assert 1 <= len(begun) <= 2  # of two processes those that had messages
    assert begun == ended
    assert set(begun.values()) == {1}
    assert "Traceback" not in server.log


def test_chunks(shared):
    """A chunked body is handled whole, refused if too long, and refused where nobody dechunks."""
    requests = [(b"ack chunked " + b"." * 5000, 200), (b"ack long " + b"." * 65536, 413)]
    if shared.name == "uwsgi":  # version 2.0 leaves chunks to its own API
        requests = [(b"ack chunked", 411)]
    for body, status in requests:
        chunks = [body[start : start + 1000] for start in range(0, len(body), 1000)] + [b""]
        answer = shared.exchange(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
        )
        assert int(answer.split()[1]) == status
    assert shared.lines("handled") == ([] if shared.name == "uwsgi" else ["chunked 5012"])


def test_chunks_in_http_1_0(shared):
    """Chunks in HTTP/1.0 are faulty framing: they are refused under every server."""
    answer = shared.exchange(
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nack old\r\n0\r\n\r\n"
    )
    assert answer.split()[1] == b"400"
    assert shared.lines("handled") == []


@pytest.mark.parametrize("other", [b"first", b"second"])
def test_repeated_id(shared, other):
    """An id that is sent twice is refused by every server, also where both are the same."""
    answer = shared.exchange(
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nX-Id: first\r\nX-Id: "
        + other
        + b"\r\n\r\nack twice"
    )
    assert answer.split()[1] == b"400"
    assert shared.lines("handled") == []


def test_repeated_headers(shared):
    """The values of another header that is sent twice arrive as one, joined by commas."""
    answer = shared.exchange(
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nX-Note: one\r\nX-Note: two"
        b"\r\n\r\nnote note"
    )
    assert answer.split()[1] == b"200"
    (line,) = shared.lines("handled")
    name, note = line.split(" ", 1)
    assert (name, [part.strip() for part in note.split(",")]) == ("note", ["one", "two"])


def test_compressed(shared):
    """A compressed body is handled decompressed, and a bomb refused."""
    body = gzip.compress(b"ack compressed " + b"." * 5000)
    headers = {"Content-Encoding": "gzip"}
    assert shared.request("POST", "/", body, **headers)[0] == 200
    bomb = gzip.compress(b"ack bomb " + b"." * 10_000_000)
    assert len(bomb) < 65536
    assert shared.request("POST", "/", bomb, **headers)[0] == 413
    assert shared.lines("handled") == ["compressed 5015"]


def test_health(shared):
    """The probes are answered."""
    assert shared.request("GET", "/healthz") == (200, b'{"status": "ok"}')
    assert shared.request("GET", "/readyz") == (200, b'{"status": "ok"}')


def test_headers_arrive(shared):
    """An id that is not ASCII is the dead letter's, byte for byte."""
    assert shared.request("POST", "/", b"leave it", **{"X-Id": "gr\xfcn"})[0] == 200
    assert shared.request("POST", "/", b"leave it", **{"X-Id": "plain"})[0] == 200
    with closing(SQLiteDLQ(shared.folder / "dlq.sqlite")) as dlq:
        assert {b"gr\xfcn", b"plain"} <= set(dlq)


@pytest.mark.parametrize(
    "running_server",
    ["gunicorn-gthread", "waitress", "waitress-run", "development"],
    indirect=True,
)
def test_exits_do_not_use_the_server_up(shared):
    """More exits in handlers than a server has threads are each answered, and it goes on."""
    for number in range(20):
        answer = shared.request("POST", "/", f"exit {number}".encode())
        assert answer == (500, b'{"result": "error"}')
    assert shared.request("POST", "/", b"ack after-exits")[0] == 200
