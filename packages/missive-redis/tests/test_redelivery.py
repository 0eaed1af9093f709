"""Redelivery on real servers: what is due and cannot be delivered any more."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis
from patience import eventually
from recorder import Recorder
from redis_server import RedisServer
from running import Running
from streams_helpers import adapter_of, add, pending


def delete(client: redis.Redis, ids: list[bytes]) -> None:
    """Delete entries one by one."""
    client.xdel("orders", *ids)


def trim(client: redis.Redis, ids: list[bytes]) -> None:
    """Trim the stream to what is behind these entries."""
    client.xtrim("orders", maxlen=client.xlen("orders") - len(ids), approximate=False)


@pytest.mark.parametrize("remove", [delete, trim])
def test_pending_entries_that_were_deleted_are_reported(
    server: RedisServer,
    client: redis.Redis,
    caplog: pytest.LogCaptureFixture,
    remove: Callable[[redis.Redis, list[bytes]], None],
) -> None:
    """One line says how many are lost, and so does the status; those that are there are handled."""
    ids = add(client, *[b"%d" % number for number in range(100)])
    client.xgroup_create("orders", "billing", "0")
    client.xreadgroup("billing", "dead", {"orders": ">"})
    remove(client, ids[:70])
    recorder = Recorder()
    adapter = adapter_of(server, recorder, retry_after=0.2)
    with Running(adapter):
        recorder.wait_for(30)
        eventually(lambda: pending(client) == 0, "something stays pending")
        eventually(lambda: "are lost" in caplog.text, "nothing is said")
        assert adapter.status().vanished == 70
    lines = [record.message for record in caplog.records if "are lost" in record.message]
    assert len(lines) == 1
    assert lines[0].startswith("70 pending entries of the group billing were deleted or trimmed")
    assert sorted(recorder.bodies) == sorted(b"%d" % number for number in range(70, 100))


def test_an_entry_that_another_consumer_claimed_first_is_not_lost(
    server: RedisServer, client: redis.Redis
) -> None:
    """Nor is one that another has acked and deleted since it was found to be due."""
    adapter = adapter_of(server, Recorder(), retry_after=1)
    adapter._session.begin(b"me")
    ids = add(client, b"1", b"2")
    link = adapter._open_link()
    adapter._session.progress.prepare(link)
    client.xreadgroup("billing", "dead", {"orders": ">"})
    client.xclaim("orders", "billing", "dead", 0, ids, idle=60_000, justid=True)
    adapter._redelivery._look_at = 0.0
    adapter._redelivery.look(link)
    client.xclaim("orders", "billing", "other", 0, [ids[0]], justid=True)
    client.xack("orders", "billing", ids[1])
    client.xdel("orders", ids[1])
    assert adapter._redelivery.claim(link) is None
    assert adapter.status().vanished == 0
    link.close()
