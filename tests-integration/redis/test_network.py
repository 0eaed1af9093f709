"""Connections that are cut, reset, delayed, or dead without anybody being told."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import missive
import pytest
import redis
from missive.adapters.redis import RedisPubSubAdapter, RedisStreamsAdapter, consumer
from patience import DEADLINE, eventually
from proxy import Proxy
from recorder import Recorder
from redis_server import RedisServer
from running import Running

pytestmark = pytest.mark.faults

#: Within so many seconds the work goes on after a fault.
RESUMED = 10.0


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    """Return a proxy before the server."""
    with Proxy(server.port) as proxy:
        yield proxy


def add(client: redis.Redis, numbers: range) -> list[bytes]:
    """Add an entry for each number, and give their bodies."""
    bodies = [b"%d" % number for number in numbers]
    for body in bodies:
        client.xadd("orders", {"data": body})
    return bodies


def stream_adapter(proxy: Proxy, recorder: Recorder, **options: Any) -> Any:
    """Make an adapter that reads through the proxy."""
    options = {"retry_after": 2.0, **options}
    url = f"redis://127.0.0.1:{proxy.port}"
    return RedisStreamsAdapter(
        missive.RawMessage, recorder.processor, "orders", "billing", url=url, **options
    )


FAULTS: list[Callable[[Proxy], None]] = [Proxy.cut, Proxy.reset, Proxy.freeze]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("workers", [1, 4])
def test_streams_go_on_after_a_fault_under_load(
    proxy: Proxy,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Proxy], None],
    workers: int,
) -> None:
    """Nothing is lost when the connection fails again and again in the middle of the work."""
    monkeypatch.setattr(consumer, "GRACE", 0.5)
    recorder = Recorder()
    with Running(stream_adapter(proxy, recorder, workers=workers)):
        for turn in range(3):
            bodies = add(client, range(1000 * turn, 1000 * turn + 1000))
            eventually(lambda: recorder.bodies, "nothing came")
            fault(proxy)
            bodies += add(client, range(1000 * turn + 900, 1000 * turn + 1000))
            eventually(
                lambda: set(recorder.bodies) >= set(bodies),  # noqa: B023
                "it did not go on",
                seconds=RESUMED,
            )
        eventually(
            lambda: client.xpending("orders", "billing")["pending"] == 0,
            "something is stuck",
        )


@pytest.mark.parametrize("fault", FAULTS)
def test_an_idle_stream_adapter_notices_a_fault(
    proxy: Proxy,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Proxy], None],
) -> None:
    """A connection that died while nothing happened is missed, and opened again."""
    monkeypatch.setattr(consumer, "GRACE", 0.5)
    recorder = Recorder()
    adapter = stream_adapter(proxy, recorder)
    with Running(adapter):
        eventually(lambda: adapter._session.consumer.is_reading, "it does not read")
        fault(proxy)
        eventually(lambda: adapter.status().reconnections, "it was not noticed", RESUMED)
        (body,) = add(client, range(1))
        eventually(lambda: recorder.bodies == [body], "it did not go on", RESUMED)


def test_what_a_lost_answer_held_is_delivered_at_once(
    proxy: Proxy, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries that the server gave to a connection that was dead by then need not wait for long."""
    monkeypatch.setattr(consumer, "GRACE", 0.5)
    recorder = Recorder()
    adapter = stream_adapter(proxy, recorder, retry_after=3600.0)
    with Running(adapter):
        eventually(lambda: client.info("clients")["blocked_clients"], "no read waits")
        proxy.freeze()
        bodies = add(client, range(10))
        eventually(
            lambda: client.xpending("orders", "billing")["pending"],
            "the server gave nothing to the dead connection",
        )
        eventually(lambda: sorted(recorder.bodies) == sorted(bodies), "they did not come", RESUMED)
    assert client.xpending("orders", "billing")["pending"] == 0


def test_acks_that_could_not_be_sent_are_sent_on_the_next_connection(
    proxy: Proxy, client: redis.Redis
) -> None:
    """What was settled while the connection was down is not delivered again."""
    recorder = Recorder()

    def act(message: Any, ctx: Any) -> None:
        if message.raw_data == b"5":
            proxy.cut()
        ctx.ack()

    recorder.act = act
    bodies = add(client, range(10))
    with Running(stream_adapter(proxy, recorder, retry_after=1.0)):
        recorder.wait_for(10)
        eventually(lambda: client.xpending("orders", "billing")["pending"] == 0, "not acked")
    assert recorder.bodies == bodies


def test_a_run_begins_clean_after_one_that_ended_without_a_connection(
    proxy: Proxy, client: redis.Redis
) -> None:
    """What the first run had in flight comes to the second like what anybody had who died."""
    outages = [True]

    def act(message: Any, ctx: Any) -> None:
        if message.raw_data == b"1" and outages:
            outages.clear()
            adapter._ledger.unsent_since -= DEADLINE  # overdue, so that the loss is found in time
            proxy.cut()
            raise LookupError("no such thing")
        ctx.ack()

    recorder = Recorder(act)
    adapter = stream_adapter(proxy, recorder, retry_after=0.3)
    add(client, range(2))
    with Running(adapter) as running:
        assert isinstance(running.fails(), LookupError)
        with Running(adapter):
            eventually(lambda: client.xpending("orders", "billing")["pending"] == 0, "it is kept")
    assert recorder.bodies == [b"0", b"1", b"1"]


@pytest.mark.parametrize("workers", [1, 4])
def test_a_slow_network_delays_and_loses_nothing(
    proxy: Proxy, client: redis.Redis, workers: int
) -> None:
    """With every packet late, everything is handled once and acked."""
    proxy.delay(0.05)
    recorder = Recorder()
    bodies = add(client, range(500))
    with Running(stream_adapter(proxy, recorder, workers=workers)):
        recorder.wait_for(500)
    assert sorted(recorder.bodies) == sorted(bodies)
    assert client.xpending("orders", "billing")["pending"] == 0


def test_stop_is_not_held_up_by_a_dead_connection(proxy: Proxy) -> None:
    """A run that is stopped while its connection is half-open ends."""
    adapter = stream_adapter(proxy, Recorder())
    with Running(adapter):
        eventually(lambda: adapter._session.consumer.is_reading, "it does not read")
        proxy.freeze()


@pytest.mark.parametrize("fault", FAULTS)
def test_pubsub_goes_on_after_a_fault_and_logs_the_gap(
    proxy: Proxy,
    client: redis.Redis,
    caplog: pytest.LogCaptureFixture,
    fault: Callable[[Proxy], None],
) -> None:
    """A dead connection is missed, the channels are subscribed to again, and the gap is logged."""
    recorder = Recorder()
    adapter = RedisPubSubAdapter(
        missive.RawMessage,
        recorder.processor,
        "news",
        url=f"redis://127.0.0.1:{proxy.port}",
        health_check_interval=0.3,
    )
    with caplog.at_level(logging.WARNING), Running(adapter):
        client.publish("news", b"before")
        recorder.wait_for(1)
        fault(proxy)
        eventually(lambda: adapter.status().reconnections, "it was not noticed", RESUMED)
        assert adapter.ready.wait(DEADLINE)
        client.publish("news", b"after")
        eventually(lambda: recorder.bodies[-1] == b"after", "it did not go on", RESUMED)
    (seconds,) = re.findall(r"a gap of (\d+\.\d+) s", caplog.text)
    assert float(seconds) > 0
    assert recorder.bodies == [b"before", b"after"]


def test_an_idle_pubsub_connection_is_kept(proxy: Proxy, server: RedisServer) -> None:
    """PINGs that are answered show that all is well, and lead to no reconnection."""
    adapter = RedisPubSubAdapter(
        missive.RawMessage,
        Recorder().processor,
        "news",
        url=f"redis://127.0.0.1:{proxy.port}",
        health_check_interval=0.05,
    )
    adapter.poll_timeout = 0.02

    def pings() -> int:
        with server.client() as client:
            stats = client.info("commandstats").get("cmdstat_ping", {"calls": 0})
        return int(stats["calls"])

    begun = pings()
    with Running(adapter):
        eventually(lambda: pings() >= begun + 5, "no PINGs")
    assert adapter.status().reconnections == 0
    assert proxy.accepted == 1
