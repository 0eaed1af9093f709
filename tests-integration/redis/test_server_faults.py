"""A server that dies, stands still, fails over, or comes back empty."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import missive
import pytest
import redis
from missive.adapters.redis import RedisStreamsAdapter, consumer
from patience import DEADLINE, eventually
from recorder import Recorder
from redis_server import RedisServer
from running import Running

pytestmark = pytest.mark.faults

RESUMED = 10.0


class Producer:
    """Adds messages in a thread of its own, and knows which of them the server confirmed."""

    def __init__(self, server: RedisServer) -> None:
        self.confirmed: list[bytes] = []
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Producer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(DEADLINE)

    def _run(self) -> None:
        number = 0
        client = self._server.client(socket_timeout=1, retry=None)
        while not self._stop.is_set():
            number += 1
            body = b"%d" % number
            with suppress(redis.RedisError):
                client.xadd("orders", {"data": body})
                self.confirmed.append(body)
        client.close()


def adapter_of(server: RedisServer, recorder: Recorder, **options: Any) -> Any:
    """Make an adapter for the stream ``orders``."""
    options = {"retry_after": 1.0, **options}
    return RedisStreamsAdapter(
        missive.RawMessage, recorder.processor, "orders", "billing", url=server.url, **options
    )


@pytest.mark.parametrize("end", ["kill", "stop"])
@pytest.mark.parametrize("workers", [1, 4])
def test_nothing_is_lost_when_the_server_restarts_under_load(
    make_server: Callable[..., RedisServer], end: str, workers: int
) -> None:
    """With an append-only file that is always synced, what was confirmed is handled and acked."""
    server = make_server(appendonly="yes", appendfsync="always")
    recorder = Recorder()
    with Running(adapter_of(server, recorder, workers=workers)), Producer(server) as producer:
        for _ in range(2):
            seen = len(recorder.messages)
            eventually(lambda: len(recorder.messages) > seen + 100, "nothing came")  # noqa: B023
            getattr(server, end)()
            server.start()
            seen = len(recorder.messages)
            eventually(
                lambda: len(recorder.messages) > seen + 100,  # noqa: B023
                "it did not go on",
                RESUMED,
            )
    with Running(adapter_of(server, recorder)), server.client() as client:
        eventually(
            lambda: (group := client.xinfo_groups("orders")[0])["pending"] == group["lag"] == 0,
            "something is stuck",
        )
    assert set(recorder.bodies) >= set(producer.confirmed)


def test_nothing_is_lost_when_the_server_stands_still(
    make_server: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server whose process is stopped for a while, and then goes on, is connected to again."""
    monkeypatch.setattr(consumer, "GRACE", 0.5)
    server = make_server()
    recorder = Recorder()
    adapter = adapter_of(server, recorder)
    with Running(adapter), Producer(server) as producer:
        eventually(lambda: len(recorder.messages) > 100, "nothing came")
        server.pause()
        eventually(lambda: not adapter.ready.is_set(), "it was not noticed")
        server.resume()
        seen = len(recorder.messages)
        eventually(lambda: len(recorder.messages) > seen + 100, "it did not go on", RESUMED)
    with Running(adapter_of(server, recorder)), server.client() as client:
        eventually(
            lambda: (group := client.xinfo_groups("orders")[0])["pending"] == group["lag"] == 0,
            "something is stuck",
        )
    assert set(recorder.bodies) >= set(producer.confirmed)


def test_a_server_that_comes_back_empty_is_read_from_again(
    make_server: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    """Without persistence the group is gone too; it is created again, and a log line says so."""
    server = make_server()
    recorder = Recorder()
    adapter = adapter_of(server, recorder)
    with Running(adapter):
        with server.client() as client:
            client.xadd("orders", {"data": "before"})
        recorder.wait_for(1)
        server.kill()
        server.start()
        with server.client() as client:
            client.xadd("orders", {"data": "after"})
        eventually(lambda: recorder.bodies == [b"before", b"after"], "it did not go on", RESUMED)
    assert "the group billing of the stream orders was gone; created again" in caplog.text


def test_a_server_that_became_a_replica_is_waited_for(
    make_server: Callable[..., RedisServer],
) -> None:
    """READONLY means a failover: the adapter turns unready, and goes on once it can write."""
    server = make_server()
    recorder = Recorder()
    adapter = adapter_of(server, recorder)
    with Running(adapter), server.client() as client:
        client.xadd("orders", {"data": "before"})
        recorder.wait_for(1)
        client.replicaof("127.0.0.1", 1)
        client.client_kill_filter(_type="normal", skipme=True)

        def refused() -> int:
            stats = client.info("commandstats").get("cmdstat_xack", {})
            return int(stats.get("rejected_calls", 0))

        eventually(lambda: refused() >= 2, "it did not try to write")
        assert not adapter.ready.is_set()
        client.replicaof("no", "one")
        client.xadd("orders", {"data": "after"})
        eventually(lambda: recorder.bodies == [b"before", b"after"], "it did not go on", RESUMED)


def test_a_full_server_is_waited_for(
    make_server: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    """A server that refuses writes for want of memory is asked again until it has some."""
    server = make_server(maxmemory="1", **{"maxmemory-policy": "noeviction"})
    recorder = Recorder()
    adapter = adapter_of(server, recorder)
    with Running(adapter, wait=False), server.client() as client:
        eventually(lambda: "cannot connect" in caplog.text, "it does not try")
        assert "Redis cannot serve now: OOM: its memory is full" in caplog.text
        assert not adapter.ready.is_set()
        client.config_set("maxmemory", 0)
        client.xadd("orders", {"data": "x"})
        recorder.wait_for(1)


def test_the_log_says_once_why_redis_cannot_serve(
    make_server: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    """One line with what Redis said and what it means, however often it is tried."""
    server = make_server(**{"min-replicas-to-write": "1"})
    recorder = Recorder()
    with server.client() as client, Running(adapter_of(server, recorder), wait=False):

        def refused() -> int:
            stats = client.info("commandstats").get("cmdstat_xgroup|create", {})
            return int(stats.get("rejected_calls", 0))

        eventually(lambda: refused() >= 4, "it does not try")
        client.config_set("min-replicas-to-write", 0)
        client.xadd("orders", {"data": "x"})
        recorder.wait_for(1)
    assert caplog.text.count("Redis cannot serve now: NOREPLICAS: it has fewer replicas") == 1


def test_a_server_that_is_loading_is_waited_for(
    make_server: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    """A server that starts answers LOADING until it has read its data, and serves then."""
    server = make_server()
    with server.client() as client:
        client.xadd("orders", {"data": "x"})
        client.mset({f"key-{number}": "" for number in range(1000)})
        client.save()
    server.stop()
    server.options["key-load-delay"] = "2000"  # µs for each key
    server.options["loading-process-events-interval-bytes"] = "1024"
    starting = threading.Thread(target=server.start)
    starting.start()
    eventually(lambda: is_listening(server), "the server does not listen")
    recorder = Recorder()
    with Running(adapter_of(server, recorder), wait=False):
        eventually(lambda: "cannot connect (LOADING" in caplog.text, "it was not told")
        starting.join()
        recorder.wait_for(1)


def is_listening(server: RedisServer) -> bool:
    """Whether the server takes connections, whatever it answers."""
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
        return True
    return False
