"""Groups and their members on real servers: what is asked, created and removed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import redis
from missive.adapters.redis import members
from patience import DEADLINE, eventually
from recorder import Recorder
from redis_server import RedisServer
from running import Running
from streams_helpers import adapter_of, add, pending


def names(client: redis.Redis) -> set[bytes]:
    """Return the names of the group's consumers."""
    return {consumer["name"] for consumer in client.xinfo_consumers("orders", "billing")}


def test_no_probe_settles_an_entry(server: RedisServer, client: redis.Redis) -> None:
    """An entry with the lowest id there is stays pending when further consumers start."""
    for _ in range(3):
        client.xadd("orders", {"data": "x"}, id="0-*")
    refuser, taker = Recorder(lambda message, ctx: ctx.nack()), Recorder()
    with Running(adapter_of(server, refuser, retry_after=0.1, trim=True, max_deliveries=10_000)):
        refuser.wait_for(3)
    assert pending(client) == 3
    with Running(adapter_of(server, taker, retry_after=0.1, trim=True, max_deliveries=10_000)):
        taker.wait_for(3)
    assert {message.native.entry_id for message in taker.messages} == {b"0-1", b"0-2", b"0-3"}


def test_a_full_server_is_read_from(make_server: Callable[..., RedisServer]) -> None:
    """Where the group exists nothing is created, so consumers make room on a server without any."""
    server = make_server()
    with server.client() as client:
        bodies = add(client, b"1", b"2", b"3")
        client.xgroup_create("orders", "billing", "0")
        client.config_set("maxmemory", "1")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            add(client, b"4")
        recorder = Recorder()
        with Running(adapter_of(server, recorder, trim=True)):
            recorder.wait_for(len(bodies))
        assert pending(client) == 0


def test_a_user_who_may_not_create_reads_a_group_that_exists(
    server: RedisServer, client: redis.Redis
) -> None:
    """Permission to create is needed by nobody who creates nothing."""
    add(client, b"x")
    client.xgroup_create("orders", "billing", "0")
    client.acl_setuser(
        "clerk", reset=True, enabled=True, nopass=True, keys=["*"], commands=["+@all", "-xgroup"]
    )
    recorder = Recorder()
    with Running(adapter_of(server, recorder, url=server.url.replace("//", "//clerk:@"))):
        recorder.wait_for(1)
    assert pending(client) == 0
    client.acl_deluser("clerk")


FORKING = """
import os, sys, time, redis, missive
from missive.adapters.redis import RedisStreamsAdapter

processor = missive.Processor()

@processor.handle_for(missive.otherwise)
def handle(message, ctx):
    client = redis.Redis.from_url(sys.argv[1])
    client.rpush("names", adapter.consumer)
    deadline = time.monotonic() + 20
    while client.llen("names") < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    ctx.ack()
    adapter.stop()

adapter = RedisStreamsAdapter(
    missive.RawMessage, processor, "orders", "billing", url=sys.argv[1], batch_size=1
)
children = []
for _ in range(2):
    children.append(os.fork())
    if not children[-1]:
        adapter.run()
        os._exit(0)
sys.exit(max(os.waitpid(child, 0)[1] for child in children))
"""


def test_an_adapter_that_was_built_before_a_fork_is_one_consumer_in_each_child(
    server: RedisServer, client: redis.Redis
) -> None:
    """Who a consumer is is decided where it runs, so that no child takes what its sibling has."""
    add(client, b"1", b"2")
    subprocess.run([sys.executable, "-c", FORKING, server.url], check=True, timeout=DEADLINE * 3)
    assert len(set(client.lrange("names", 0, -1))) == 2
    assert pending(client) == 0
    assert names(client) == set()


def test_each_run_is_a_consumer_of_its_own(server: RedisServer, client: redis.Redis) -> None:
    """The name is unique, and tells where the consumer runs."""
    adapter, seen = adapter_of(server, Recorder()), set()
    assert adapter.consumer is None
    for _ in range(2):
        with Running(adapter):
            assert str(os.getpid()) in adapter.consumer
            seen.add(adapter.consumer)
    assert len(seen) == 2


def test_names_of_dead_consumers_are_removed(
    server: RedisServer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once nothing is pending for them; one with something pending is not forgotten with it."""
    monkeypatch.setattr(members, "IDLE_READS", 0)
    add(client, b"1", b"2")
    client.xgroup_create("orders", "billing", "0")
    client.xreadgroup("billing", "dead", {"orders": ">"}, count=1)
    client.xgroup_createconsumer("orders", "billing", "idle")
    recorder = Recorder()
    with Running(adapter_of(server, recorder, retry_after=0.2)) as running:
        recorder.wait_for(2)
        own = running.adapter.consumer.encode()
        eventually(lambda: names(client) == {own}, "they are still there")
    assert sorted(recorder.bodies) == [b"1", b"2"]


def test_a_consumer_is_not_removed_with_what_it_was_given_meanwhile(
    server: RedisServer, client: redis.Redis
) -> None:
    """A name that seemed idle keeps what it read since."""
    adapter = adapter_of(server, Recorder(), consumer="mine")
    adapter._session.begin(b"me")
    link = adapter._open_link()
    adapter._session.progress.prepare(link)
    add(client, b"x")
    client.xreadgroup("billing", "other", {"orders": ">"})
    assert not adapter._session.members._remove(link, b"orders", b"other")
    assert pending(client) == 1
    link.close()


def test_names_stay_where_the_user_may_not_run_scripts(
    server: RedisServer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user with no more than the needed permissions is asked for no other, and leaves all the same."""
    monkeypatch.setattr(members, "IDLE_READS", 0)
    add(client, b"x")
    client.xgroup_create("orders", "billing", "0")
    client.xgroup_createconsumer("orders", "billing", "idle")
    client.acl_setuser(
        "clerk", reset=True, enabled=True, nopass=True, keys=["*"], commands=["+@all", "-eval"]
    )
    adapter = adapter_of(
        server, Recorder(), retry_after=0.05, url=server.url.replace("//", "//clerk:@")
    )
    with Running(adapter):
        eventually(lambda: not adapter._session.members._may_remove, "it did not try")
    assert names(client) == {b"idle"}
    client.acl_deluser("clerk")
