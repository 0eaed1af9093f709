"""A real cluster, by URL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import missive
import pytest
from patience import eventually
from recorder import Recorder
from redis_server import RedisServer
from running import Running
from servers import free_port

pytestmark = pytest.mark.faults

SLOTS = 16384


@pytest.fixture
def nodes(make_server: Callable[..., RedisServer]) -> Iterator[list[RedisServer]]:
    """Return two nodes that share the slots."""
    servers = [
        make_server(
            **{
                "cluster-enabled": "yes",
                "cluster-port": str(free_port()),
                "cluster-config-file": f"nodes-{number}.conf",
                "cluster-node-timeout": "2000",
            }
        )
        for number in (1, 2)
    ]
    clients = [server.client() for server in servers]
    clients[0].execute_command("CLUSTER ADDSLOTSRANGE", 0, SLOTS // 2)
    clients[1].execute_command("CLUSTER ADDSLOTSRANGE", SLOTS // 2 + 1, SLOTS - 1)
    bus = servers[1].options["cluster-port"]
    clients[0].execute_command("CLUSTER MEET", "127.0.0.1", servers[1].port, bus)
    for client in clients:
        eventually(lambda: is_ok(client), "the cluster does not form")  # noqa: B023
    yield servers
    for client in clients:
        client.close()


def is_ok(client: Any) -> bool:
    """Return whether a node takes its cluster for whole."""
    return bool(client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")


def owner(nodes: list[RedisServer], key: str) -> int:
    """Return which node serves a key."""
    with nodes[0].client() as client:
        return int(client.execute_command("CLUSTER KEYSLOT", key) > SLOTS // 2)


def adapter_of(nodes: list[RedisServer], recorder: Recorder, query: str) -> Any:
    """Make an adapter that is told of the first node alone."""
    url = f"redis+cluster://127.0.0.1:{nodes[0].port}?{query}"
    return missive.from_url(url, missive.RawMessage, recorder.processor)


@pytest.mark.parametrize("key", ["{a}orders", "{b}orders"])
def test_streams_are_read_from_the_node_that_serves_them(
    nodes: list[RedisServer], key: str
) -> None:
    """Whichever it is, and whichever the URL names."""
    recorder = Recorder()
    with nodes[owner(nodes, key)].client() as client:
        client.xadd(key, {"data": "x"})
        with Running(adapter_of(nodes, recorder, f"streams={key}&group=billing")):
            recorder.wait_for(1)
        assert client.xpending(key, "billing")["pending"] == 0


def test_a_slot_that_moves_is_followed(nodes: list[RedisServer]) -> None:
    """The adapter goes on with the node that serves the stream by then."""
    key, recorder = "orders", Recorder()
    old, new = (nodes[owner(nodes, key)], nodes[1 - owner(nodes, key)])
    with old.client() as source, new.client() as target:
        slot = source.execute_command("CLUSTER KEYSLOT", key)
        with Running(adapter_of(nodes, recorder, f"streams={key}&group=billing")):
            source.xadd(key, {"data": "before"})
            recorder.wait_for(1)
            eventually(lambda: source.xpending(key, "billing")["pending"] == 0, "not acked")
            ids = [
                str(client.execute_command("CLUSTER MYID"), "ascii") for client in (source, target)
            ]
            target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[0])
            source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[1])
            source.execute_command("MIGRATE", "127.0.0.1", new.port, key, 0, 5000)
            for client in (target, source):
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[1])
            target.xadd(key, {"data": "after"})
            eventually(lambda: recorder.bodies == [b"before", b"after"], "it did not follow")


def test_pubsub_listens_to_any_node(nodes: list[RedisServer]) -> None:
    """What is published at another node of the cluster comes too."""
    recorder = Recorder()
    with Running(adapter_of(nodes, recorder, "channels=c")), nodes[1].client() as client:
        eventually(lambda: client.publish("c", "x") >= 0 and recorder.bodies, "nothing came")


def test_a_node_that_is_away_is_passed_over(nodes: list[RedisServer]) -> None:
    """The nodes of the URL are asked in turn."""
    recorder = Recorder()
    key = next(key for key in ("a", "b", "c", "d", "e") if owner(nodes, key) == 1)
    url = (
        f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{nodes[0].port}"
        f"?streams={key}&group=billing"
    )
    adapter: Any = missive.from_url(url, missive.RawMessage, recorder.processor)
    with nodes[1].client() as client:
        client.xadd(key, {"data": "x"})
        with Running(adapter):
            recorder.wait_for(1)
