"""Groups that are deleted under their consumers: what is lost with them is found again."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
import redis
from missive.adapters.redis import progress
from patience import DEADLINE, eventually
from recorder import Recorder
from redis_server import RedisServer
from running import Running
from streams_helpers import adapter_of, add, pending


def settle_until(adapter: Any, client: redis.Redis, count: int) -> None:
    """Wait until so many are pending, and the adapter reads."""
    eventually(
        lambda: pending(client) == count and adapter._session.consumer.is_reading,
        "not all is acked",
    )


@pytest.mark.parametrize("start", ["0", "$"])
def test_nacked_entries_outlive_their_group(
    server: RedisServer, client: redis.Redis, start: str
) -> None:
    """Each is redelivered, with its count, and nothing that was settled does."""

    def act(message: Any, ctx: Any) -> None:
        if message.raw_data.startswith(b"bad") and message.delivery_count == 1:
            ctx.nack()
        else:
            ctx.ack()

    recorder = Recorder(act)
    adapter = adapter_of(server, recorder, start=start, retry_after=2)
    with Running(adapter):
        add(client, *[b"%s %d" % (kind, i) for i in range(50) for kind in (b"good", b"bad")])
        recorder.wait_for(100)
        settle_until(adapter, client, 50)
        client.xgroup_destroy("orders", "billing")
        add(client, b"after")
        recorder.wait_for(151)
        settle_until(adapter, client, 0)
    handled = Counter(recorder.bodies)
    assert {handled[b"bad %d" % i] for i in range(50)} == {2}
    assert {handled[b"good %d" % i] for i in range(50)} == {1}
    assert handled[b"after"] == 1
    counts = [message.delivery_count for message in recorder.messages if b"bad" in message.raw_data]
    assert sorted(counts) == [1] * 50 + [2] * 50


@pytest.mark.parametrize("start", ["0", "$"])
def test_entries_in_flight_outlive_their_group(
    server: RedisServer, client: redis.Redis, start: str
) -> None:
    """What a worker has while the group is deleted is handled once, and acked in the new one."""
    go_on = threading.Event()

    def act(message: Any, ctx: Any) -> None:
        if message.raw_data == b"slow":
            assert go_on.wait(DEADLINE)
        ctx.ack()

    recorder = Recorder(act)
    adapter = adapter_of(server, recorder, start=start, workers=2)
    with Running(adapter):
        add(client, b"1", b"slow", b"2")
        recorder.wait_for(3)
        settle_until(adapter, client, 1)
        client.xgroup_destroy("orders", "billing")
        add(client, b"after")
        recorder.wait_for(4)
        assert pending(client) >= 1
        go_on.set()
        settle_until(adapter, client, 0)
    assert sorted(recorder.bodies) == [b"1", b"2", b"after", b"slow"]


@pytest.mark.parametrize("start", ["0", "$"])
def test_what_another_consumer_had_outlives_its_group(
    server: RedisServer, client: redis.Redis, start: str
) -> None:
    """Also where that consumer is no more: its entries were not settled by anybody."""
    recorder = Recorder()
    adapter = adapter_of(server, recorder, start=start)
    with Running(adapter):
        add(client, b"1")
        recorder.wait_for(1)
        settle_until(adapter, client, 0)
        with client.pipeline() as pipeline:
            for body in (b"other 1", b"other 2"):
                pipeline.xadd("orders", {"data": body})
            pipeline.xreadgroup("billing", "other", {"orders": ">"})
            pipeline.execute()
        add(client, b"2")
        recorder.wait_for(2)
        settle_until(adapter, client, 2)
        client.xgroup_destroy("orders", "billing")
        recorder.wait_for(4)
        settle_until(adapter, client, 0)
    assert recorder.bodies == [b"1", b"2", b"other 1", b"other 2"]


def test_what_was_settled_is_not_handled_again_where_the_server_told_its_place(
    server: RedisServer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is too much to remember needs no remembering once every consumer has settled it."""
    monkeypatch.setattr(progress, "SETTLED_MANY", 10)
    recorder = Recorder()
    adapter = adapter_of(server, recorder, batch_size=5)
    with Running(adapter):
        add(client, *[b"%d" % number for number in range(200)])
        recorder.wait_for(200)
        settle_until(adapter, client, 0)
        assert sum(len(ids) for _, ids in adapter._session.progress._settled) <= 20
        client.xgroup_destroy("orders", "billing")
        add(client, b"after")
        eventually(lambda: b"after" in recorder.bodies, "it does not read")
    assert len(recorder.bodies) == 201


def test_what_was_settled_of_a_stream_that_was_there_before_is_not_handled_again(
    server: RedisServer, client: redis.Redis
) -> None:
    """Entries that were added before the run began are as well known as those after it."""
    add(client, *[b"%d" % number for number in range(500)])
    recorder = Recorder()
    adapter = adapter_of(server, recorder)
    with Running(adapter):
        recorder.wait_for(500)
        settle_until(adapter, client, 0)
        client.xgroup_destroy("orders", "billing")
        add(client, b"after")
        eventually(lambda: b"after" in recorder.bodies, "it does not read")
    assert len(recorder.bodies) == 501


@pytest.mark.parametrize("count", [1, 3, 4])
def test_a_stream_that_is_made_anew_is_read_from_its_beginning(
    server: RedisServer, client: redis.Redis, count: int
) -> None:
    """Also where its ids are those of entries that were settled in the one before."""
    recorder = Recorder()
    adapter = adapter_of(server, recorder, start="$")
    with Running(adapter):
        for number in range(1, 5):
            client.xadd("orders", {"data": b"old"}, id=f"1-{number}")
        recorder.wait_for(4)
        settle_until(adapter, client, 0)
        with client.pipeline() as pipeline:
            pipeline.delete("orders")
            for number in range(1, count + 1):
                pipeline.xadd("orders", {"data": b"new"}, id=f"1-{number}")
            pipeline.execute()
        recorder.wait_for(4 + count)
    assert recorder.bodies == [b"old"] * 4 + [b"new"] * count


def test_a_group_that_is_set_back_by_hand_delivers_all_again(
    server: RedisServer, client: redis.Redis
) -> None:
    """What an operator wants handled again is, also after the group was deleted once."""
    recorder = Recorder()
    adapter = adapter_of(server, recorder)
    with Running(adapter):
        add(client, b"1", b"2")
        recorder.wait_for(2)
        client.xgroup_destroy("orders", "billing")
        add(client, b"3")
        recorder.wait_for(3)
        settle_until(adapter, client, 0)
        client.xgroup_setid("orders", "billing", "0")
        add(client, b"4")
        recorder.wait_for(7)
    assert recorder.bodies == [b"1", b"2", b"3", b"1", b"2", b"3", b"4"]
