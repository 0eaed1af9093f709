"""A failover that Sentinel conducts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import missive
import pytest
from missive.adapters.redis import RedisPubSubAdapter, RedisStreamsAdapter
from patience import DEADLINE, eventually
from recorder import Recorder
from redis.sentinel import Sentinel
from redis_server import RedisServer
from running import Running
from servers import free_port

pytestmark = pytest.mark.faults


class SentinelServer(RedisServer):
    """A Sentinel that watches one master, and is alone to decide."""

    def __init__(self, program: str, folder: Path, master: RedisServer) -> None:
        super().__init__(program, folder)
        self.options = {}
        configuration = folder / "sentinel.conf"
        configuration.write_text(
            f"sentinel monitor main 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds main 300\n"
            "sentinel failover-timeout main 3000\n"
        )
        self.arguments = [str(configuration), "--sentinel"]


@pytest.fixture
def group(make_server: Callable[..., RedisServer], program: str, tmp_path: Path) -> Any:
    """Return a master, its replica, and a client that asks a Sentinel which of them is which."""
    master, replica = make_server(), make_server()
    with replica.client() as client:
        client.replicaof("127.0.0.1", master.port)
        eventually(
            lambda: client.info("replication")["master_link_status"] == "up", "no replication"
        )
    watcher = SentinelServer(program, tmp_path, master)
    watcher.start()
    sentinel = Sentinel([("127.0.0.1", watcher.port)], socket_timeout=1)
    with watcher.client() as client:
        eventually(lambda: client.sentinel_slaves("main"), "the Sentinel does not know the replica")
    yield master, sentinel.master_for("main"), watcher
    watcher.stop()


def test_streams_go_on_with_the_new_master(group: Any) -> None:
    """A client of Sentinel leads to whichever server is the master by then."""
    master, client, _ = group
    recorder = Recorder()
    adapter: Any = RedisStreamsAdapter(
        missive.RawMessage, recorder.processor, "orders", "billing", client=client, retry_after=1
    )
    with Running(adapter):
        client.xadd("orders", {"data": "before"})
        recorder.wait_for(1)
        assert client.wait(1, 5000) == 1
        master.kill()
        eventually(lambda: adapter.status().reconnections, "it was not noticed")
        eventually(adapter.ready.is_set, "it did not go on", DEADLINE)
        client.xadd("orders", {"data": "after"})
        eventually(lambda: b"after" in recorder.bodies, "it does not read")
    assert set(recorder.bodies) == {b"before", b"after"}


def test_pubsub_goes_on_with_the_new_master(group: Any) -> None:
    """A client of Sentinel leads to whichever server is the master by then."""
    master, client, _ = group
    recorder = Recorder()
    adapter: Any = RedisPubSubAdapter(missive.RawMessage, recorder.processor, "c", client=client)
    with Running(adapter):
        master.kill()
        eventually(lambda: adapter.status().reconnections, "it was not noticed")
        eventually(adapter.ready.is_set, "it did not go on", DEADLINE)
        client.publish("c", b"after")
        eventually(lambda: recorder.bodies == [b"after"], "it does not listen")


@pytest.mark.parametrize("query", ["streams=orders&group=billing&retry_after=1", "channels=orders"])
def test_sentinels_are_named_by_a_url(group: Any, query: str) -> None:
    """The adapter goes on with the new master, and passes over a Sentinel that is away."""
    master, client, watcher = group
    recorder = Recorder()
    url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{watcher.port}/main/0?{query}"
    adapter: Any = missive.from_url(url, missive.RawMessage, recorder.processor)

    def say(body: str) -> None:
        if "streams" in query:
            client.xadd("orders", {"data": body})
        else:
            client.publish("orders", body)

    with Running(adapter):
        say("before")
        recorder.wait_for(1)
        assert client.wait(1, 5000) == 1
        master.kill()
        eventually(lambda: adapter.status().reconnections, "it was not noticed")
        eventually(adapter.ready.is_set, "it did not go on", DEADLINE)
        say("after")
        eventually(lambda: b"after" in recorder.bodies, "it does not read")
    assert set(recorder.bodies) == {b"before", b"after"}
