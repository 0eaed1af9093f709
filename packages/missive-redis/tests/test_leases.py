"""Leases: entries in flight stay their consumer's, whatever happens."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import redis
from missive.adapters.redis.consumer import Consumer
from patience import DEADLINE, eventually
from recorder import Recorder
from redis_server import RedisServer
from running import Running
from streams_helpers import adapter_of, add, pending

LONG = 60_000


class Provider(redis.CredentialProvider):
    """Gives no credentials, after having failed as often as told; a client asks it first."""

    def __init__(self) -> None:
        self.failures = 0

    def get_credentials(self) -> tuple[()]:
        """Return none, or fail."""
        if self.failures and threading.current_thread().name == "missive-watch":
            self.failures -= 1
            raise LookupError("the vault is sealed")
        return ()


def is_watched() -> bool:
    """Return whether the thread lives that keeps leases while a handler runs."""
    return any(thread.name == "missive-watch" for thread in threading.enumerate())


def idle_times(client: redis.Redis) -> list[int]:
    """Return how long each pending entry has been idle, in milliseconds."""
    entries = client.xpending_range("orders", "billing", "-", "+", 100)
    return [entry["time_since_delivered"] for entry in entries]


def make_idle(client: redis.Redis, consumer: str) -> None:
    """Have all that is pending seem idle for a minute."""
    ids = [entry["message_id"] for entry in client.xpending_range("orders", "billing", "-", "+", 9)]
    client.xclaim("orders", "billing", consumer, 0, ids, idle=LONG, justid=True)


@pytest.mark.parametrize("failures", [1, 3])
def test_an_error_of_the_users_own_costs_no_lease(
    server: RedisServer, client: redis.Redis, failures: int
) -> None:
    """A provider of credentials that fails for a moment costs no entry its consumer."""
    provider = Provider()
    with server.client(credential_provider=provider) as template:

        def act(message: Any, ctx: Any) -> None:
            provider.failures = failures
            make_idle(client, adapter.consumer)
            eventually(lambda: max(idle_times(client)) < LONG, "it was not kept")
            ctx.ack()

        add(client, b"x")
        recorder = Recorder(act)
        adapter = adapter_of(server, recorder, client=template, retry_after=1.5)
        with Running(adapter):
            recorder.wait_for(1)
            eventually(lambda: pending(client) == 0, "it was not acked")
    assert provider.failures == 0
    assert len(recorder.messages) == 1


def test_an_error_of_the_users_own_that_lasts_ends_the_run(
    server: RedisServer, client: redis.Redis
) -> None:
    """Once entries can no longer be kept, the run ends with the error, and not in silence."""
    provider = Provider()
    with server.client(credential_provider=provider) as template:

        def act(message: Any, ctx: Any) -> None:
            provider.failures = 1_000_000
            eventually(lambda: not is_watched(), "it goes on")
            ctx.ack()

        add(client, b"x")
        adapter = adapter_of(server, Recorder(act), client=template, retry_after=0.3)
        with Running(adapter) as running:
            error = running.fails()
    assert isinstance(error, LookupError)
    assert "sealed" in str(error)


def test_a_consumer_does_not_claim_what_it_has_settled(
    server: RedisServer, client: redis.Redis
) -> None:
    """An entry whose ack is still to be sent is handled once, however long ago it was delivered."""

    def act(message: Any, ctx: Any) -> None:
        if message.raw_data == b"last":
            make_idle(client, adapter.consumer)
            adapter._redelivery._look_at = 0.0
        ctx.ack()

    add(client, b"1", b"2", b"last")
    recorder = Recorder(act)
    adapter = adapter_of(server, recorder, retry_after=20)
    adapter.flush_interval = DEADLINE * 10  # so that the acks go with the next read
    with Running(adapter):
        recorder.wait_for(3)
        add(client, b"more")
        recorder.wait_for(4)
    assert recorder.bodies == [b"1", b"2", b"last", b"more"]


def test_a_candidate_that_was_settled_since_it_was_found_is_not_claimed(
    server: RedisServer, client: redis.Redis
) -> None:
    """What was found idle a while ago may be settled by now, and its ack on the way."""
    adapter = adapter_of(server, Recorder(), retry_after=1)
    adapter._session.begin(b"me")
    add(client, b"x")
    link = adapter._open_link()
    adapter._session.progress.prepare(link)
    ((_, ((entry_id, _),)),) = client.xreadgroup("billing", "me", {"orders": ">"})
    make_idle(client, "me")
    adapter._redelivery._look_at = 0.0
    adapter._redelivery.look(link)
    adapter._ledger.ack(adapter._session.reader._entry(b"orders", entry_id, [b"data", b"x"], 1))
    assert adapter._redelivery.claim(link) is None
    link.close()


def test_what_a_long_reply_brings_is_kept_before_it_is_parsed(
    server: RedisServer, client: redis.Redis
) -> None:
    """While megabytes arrive nobody else takes the entries, which only the server can name yet."""
    adapter = adapter_of(server, Recorder(), retry_after=3600)
    adapter._session.begin(b"me")
    add(client, b"old")
    session = adapter._session
    consumer = Consumer(adapter._open_link, session.group, session.ledger, session.progress)
    ((_, ((nacked, _),)),) = client.xreadgroup("billing", "me", {"orders": ">"})
    adapter._session.group.seen[b"orders"] = nacked
    add(client, b"1", b"2")
    consumer.start_read(100, 0.0)
    eventually(lambda: pending(client) == 3, "it was not read")
    make_idle(client, "me")
    adapter._ledger.reading_since -= 3600
    adapter._session.leases.renew(consumer)
    assert [idle >= LONG for idle in idle_times(client)] == [True, False, False]
    consumer.close()
