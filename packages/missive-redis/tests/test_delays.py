"""Delays on real servers: entries that are nacked with a delay of their own."""

from __future__ import annotations

from time import monotonic
from typing import Any

import missive
import pytest
import redis
from patience import eventually
from recorder import Recorder
from redis_server import RedisServer
from running import Running
from streams_helpers import adapter_of, add, pending

#: A delay that the test does not wait for, in seconds.
LONG = 3600.0
#: What a delayed entry has been idle for when it is due, in milliseconds.
DUE = 3650 * 86_400_000


def owner(client: redis.Redis) -> Any:
    """Return whom the one pending entry belongs to."""
    return client.xpending_range("orders", "billing", "-", "+", 1)[0]["consumer"]


def delay(client: redis.Redis, entry_id: bytes, idle: int, **options: Any) -> None:
    """Have an entry wait until its idle time is that of one that is due."""
    options = {"justid": True, **options}
    client.xclaim("orders", "billing", "missive-delayed", 0, [entry_id], idle=idle, **options)


def nack_first(delays: dict[bytes, float]) -> Any:
    """Return a handler that nacks the first delivery of each message with its delay."""

    def act(message: Any, ctx: Any) -> None:
        ctx.ack() if ctx.attempt > 1 else ctx.nack(delay=delays[message.raw_data])

    return act


def test_each_entry_has_a_delay_of_its_own(server: RedisServer, client: redis.Redis) -> None:
    """Entries are redelivered in the order in which their delays end, each once and counted."""
    delays = {b"late": 0.6, b"soon": 0.2, b"at once": 0.0}
    add(client, *delays)
    recorder = Recorder(nack_first(delays))
    with Running(adapter_of(server, recorder, retry_after=LONG)):
        recorder.wait_for(6)
        eventually(lambda: pending(client) == 0, "not all were acked")
    assert recorder.bodies[3:] == [b"at once", b"soon", b"late"]
    assert [message.delivery_count for message in recorder.messages] == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_delay_is_kept_and_not_waited_for_longer(
    server: RedisServer, client: redis.Redis, workers: int
) -> None:
    """A delay shorter and one longer than ``retry_after`` end when they should, not before."""
    seen: list[tuple[float, int]] = []

    def act(message: Any, ctx: Any) -> None:
        seen.append((monotonic(), ctx.attempt))
        ctx.ack() if ctx.attempt == 3 else ctx.nack(delay=(0.1, 0.7)[ctx.attempt - 1])

    add(client, b"x")
    recorder = Recorder(act)
    with Running(adapter_of(server, recorder, retry_after=0.4, workers=workers)):
        recorder.wait_for(3)
        eventually(lambda: pending(client) == 0, "it was not acked")
    (first, _), (second, _), (third, _) = seen
    assert [attempt for _, attempt in seen] == [1, 2, 3]
    assert second - first >= 0.1
    assert third - second >= 0.7


def test_a_delay_outlives_the_consumer(server: RedisServer, client: redis.Redis) -> None:
    """Another consumer does not take the entry before its time, and counts on from there."""
    (entry_id,) = add(client, b"x")
    first = Recorder(lambda message, ctx: ctx.nack(delay=LONG))
    with Running(adapter_of(server, first, retry_after=0.2)):
        first.wait_for(1)
        eventually(lambda: owner(client) == b"missive-delayed", "it is not delayed")
    second = Recorder()
    with Running(adapter_of(server, second, retry_after=0.2)):
        add(client, b"y")
        second.wait_for(1)
        assert owner(client) == b"missive-delayed"
        delay(client, entry_id, DUE)
        second.wait_for(2)
        eventually(lambda: pending(client) == 0, "it was not acked")
    assert second.bodies == [b"y", b"x"]
    assert [message.delivery_count for message in second.messages] == [1, 2]


def test_an_entry_that_was_delayed_since_it_was_found_waits(
    server: RedisServer, client: redis.Redis
) -> None:
    """A consumer that found it due before another one had it leaves it delayed, with its count."""
    adapter = adapter_of(server, Recorder(), retry_after=1)
    adapter._session.begin(b"me")
    (entry_id,) = add(client, b"x")
    link = adapter._open_link()
    adapter._session.progress.prepare(link)
    client.xreadgroup("billing", "dead", {"orders": ">"})
    client.xclaim("orders", "billing", "dead", 0, [entry_id], idle=60_000, justid=True)
    adapter._redelivery._look_at = 0.0
    adapter._redelivery.look(link)
    delay(client, entry_id, DUE - 60_000, retrycount=2)
    assert adapter._redelivery.claim(link) is None
    entry: Any = client.xpending_range("orders", "billing", "-", "+", 1)[0]
    assert entry["consumer"] == b"missive-delayed"
    assert entry["time_since_delivered"] >= DUE - 60_000
    assert entry["times_delivered"] == 2
    link.close()


def test_many_delayed_entries_are_not_looked_at_before_their_time(
    server: RedisServer, client: redis.Redis
) -> None:
    """New entries go on beside a thousand that are delayed for an hour."""
    add(client, *[b"later"] * 1000)
    recorder = Recorder(lambda m, ctx: ctx.ack() if m.raw_data == b"new" else ctx.nack(delay=LONG))
    with Running(adapter_of(server, recorder, retry_after=0.05)):
        recorder.wait_for(1000)
        add(client, b"new")
        recorder.wait_for(1001)
        eventually(lambda: pending(client) == 1000, "the new one was not acked")
    assert recorder.bodies[-1] == b"new"


def test_a_retry_is_delayed_by_the_server(server: RedisServer, client: redis.Redis) -> None:
    """A handler with a policy has its attempts without a store, and then a dead letter."""
    dlq: dict[Any, Any] = {}
    attempts: list[int] = []

    def fail(message: Any, ctx: Any) -> None:
        attempts.append(ctx.attempt)
        raise LookupError("no such customer")

    recorder = Recorder(fail)
    recorder.processor.retry = missive.Retry(attempts=3, delay=0.05, jitter=0.0)
    recorder.processor.set_dlq(dlq)
    add(client, b"x")
    with Running(adapter_of(server, recorder)):
        eventually(lambda: dlq and pending(client) == 0, "it is no dead letter")
    assert attempts == [1, 2, 3]


def test_more_attempts_than_deliveries_are_refused(server: RedisServer) -> None:
    """A policy that max_deliveries would cut short is refused when the run begins."""
    recorder = Recorder()
    recorder.processor.retry = missive.Retry(attempts=6)
    with pytest.raises(missive.ConfigurationError, match="max_deliveries=6 or more"):
        adapter_of(server, recorder).run()
