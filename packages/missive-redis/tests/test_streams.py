"""The Streams adapter on real servers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import missive
import pytest
import redis
from missive.adapters.redis import StreamEntry, reader
from missive.adapters.redis.consumer import Consumer
from missive.adapters.redis.links import SpareLink
from patience import DEADLINE, eventually
from recorder import Recorder
from redis_server import RedisServer
from running import Running
from streams_helpers import adapter_of, add, pending


def test_entries_are_handled_and_acked(server: RedisServer, client: redis.Redis) -> None:
    """What was there before and what comes later is handled in order, and nothing stays pending."""
    add(client, b"1", b"2")
    recorder = Recorder()
    with Running(adapter_of(server, recorder)):
        recorder.wait_for(2)
        add(client, b"3")
        recorder.wait_for(3)
    assert recorder.bodies == [b"1", b"2", b"3"]
    assert pending(client) == 0


def test_a_message_knows_where_it_came_from(server: RedisServer, client: redis.Redis) -> None:
    """The envelope holds what the server knows: id, fields, stream, count, and the entry."""
    entry_id = client.xadd("orders", {"colour": "blue", "data": b"\x00\xff", "Size": b"\xff"})
    recorder = Recorder()
    with Running(adapter_of(server, recorder)):
        recorder.wait_for(1)
    (message,) = recorder.messages
    assert message.raw_data == b"\x00\xff"
    assert message.message_id == b"orders/billing/" + entry_id
    assert dict(message.headers) == {"colour": "blue", "Size": "\udcff"}
    assert message.headers["size"] == "\udcff"
    assert message.source == "orders"
    assert message.delivery_count == 1
    assert isinstance(message.native, StreamEntry)
    assert message.native.entry_id == entry_id
    assert message.native.fields == [
        (b"colour", b"blue"),
        (b"data", b"\x00\xff"),
        (b"Size", b"\xff"),
    ]


def test_the_body_may_be_empty_or_large(server: RedisServer, client: redis.Redis) -> None:
    """Bodies come as they were added, whatever their bytes and their length."""
    bodies = [b"", bytes(range(256)), b"\r\n$5\r\n", b"x" * 1_000_000]
    add(client, *bodies)
    recorder = Recorder()
    with Running(adapter_of(server, recorder)):
        recorder.wait_for(len(bodies))
    assert recorder.bodies == bodies


def test_another_field_can_be_the_body(server: RedisServer, client: redis.Redis) -> None:
    """``body_field`` names the field that is the message."""
    client.xadd("orders", {"data": "no", "body": "yes"})
    recorder = Recorder()
    with Running(adapter_of(server, recorder, body_field="body")):
        recorder.wait_for(1)
    (message,) = recorder.messages
    assert (message.raw_data, dict(message.headers)) == (b"yes", {"data": "no"})


def test_an_entry_without_the_body_field_is_a_dead_letter(
    server: RedisServer, client: redis.Redis
) -> None:
    """It is no message, so it is dead-lettered with its fields, acked, and not handled."""
    client.xadd("orders", {"body": "x"})
    add(client, b"good")
    recorder = Recorder()
    dlq: dict[bytes, tuple[missive.Message, str]] = {}
    recorder.processor.set_dlq(dlq)
    with Running(adapter_of(server, recorder)):
        recorder.wait_for(1)
    assert recorder.bodies == [b"good"]
    ((message, reason),) = dlq.values()
    assert reason == "the entry has no field 'data'"
    assert message.headers["body"] == "x"
    assert pending(client) == 0


def test_several_streams_are_read_by_one_adapter(server: RedisServer, client: redis.Redis) -> None:
    """Each message says which of the streams it is from, and is acked there."""
    add(client, b"a", stream="one")
    add(client, b"b", stream="two")
    recorder = Recorder()
    with Running(adapter_of(server, recorder, streams=["one", "two"])):
        recorder.wait_for(2)
    assert {(message.source, message.raw_data) for message in recorder.messages} == {
        ("one", b"a"),
        ("two", b"b"),
    }
    assert pending(client, "one") == pending(client, "two") == 0


def test_a_group_that_starts_at_the_end_reads_only_what_is_new(
    server: RedisServer, client: redis.Redis
) -> None:
    """With ``start="$"`` a group that is created does not see what was there."""
    add(client, b"old")
    recorder = Recorder()
    with Running(adapter_of(server, recorder, start="$")):
        add(client, b"new")
        recorder.wait_for(1)
    assert recorder.bodies == [b"new"]


def test_a_group_goes_on_where_it_was(server: RedisServer, client: redis.Redis) -> None:
    """A second run reads what came since the first; ``start`` is for groups that do not exist."""
    recorder = Recorder()
    for count, start in ((1, "0"), (2, "0"), (3, "$")):
        add(client, b"%d" % count)
        with Running(adapter_of(server, recorder, start=start)):
            recorder.wait_for(count)
    assert recorder.bodies == [b"1", b"2", b"3"]


def test_consumers_of_one_group_share_its_entries(server: RedisServer, client: redis.Redis) -> None:
    """Of several consumers each entry is handled by one."""
    recorders = [Recorder() for _ in range(3)]
    bodies = [b"%d" % number for number in range(600)]
    adapters = [adapter_of(server, recorder, batch_size=10) for recorder in recorders]
    with Running(adapters[0]), Running(adapters[1]), Running(adapters[2]):
        add(client, *bodies)
        eventually(
            lambda: sum(len(recorder.messages) for recorder in recorders) >= len(bodies),
            "not all were handled",
        )
    handled = [body for recorder in recorders for body in recorder.bodies]
    assert sorted(handled) == sorted(bodies)
    assert pending(client) == 0


def test_a_nacked_entry_comes_again_and_is_counted(
    server: RedisServer, client: redis.Redis
) -> None:
    """A nack leaves the entry pending, and after ``retry_after`` it is delivered once more."""

    def act(message: Any, ctx: Any) -> None:
        if message.delivery_count < 3:
            ctx.nack()
        else:
            ctx.ack()

    add(client, b"x")
    recorder = Recorder(act)
    with Running(adapter_of(server, recorder, retry_after=0.1)):
        recorder.wait_for(3)
    assert [message.delivery_count for message in recorder.messages] == [1, 2, 3]
    assert len({message.message_id for message in recorder.messages}) == 1
    assert pending(client) == 0


def test_a_nacked_entry_does_not_come_before_its_time(
    server: RedisServer, client: redis.Redis
) -> None:
    """With a long ``retry_after`` a nacked entry is still pending when the run ends."""
    add(client, b"x", b"y")
    recorder = Recorder(lambda message, ctx: ctx.nack())
    with Running(adapter_of(server, recorder, retry_after=3600)):
        recorder.wait_for(2)
    assert recorder.bodies == [b"x", b"y"]
    assert pending(client) == 2


def test_the_wait_for_a_nacked_entry_begins_with_the_nack(
    server: RedisServer, client: redis.Redis
) -> None:
    """However long the entry was in flight before, ``retry_after`` counts from its nack."""

    def act(message: Any, ctx: Any) -> None:
        entry_id = message.native.entry_id
        client.xclaim("orders", "billing", "me", 0, [entry_id], idle=3_000_000, justid=True)
        ctx.nack()

    add(client, b"x")
    recorder = Recorder(act)
    with Running(adapter_of(server, recorder, retry_after=3600, consumer="me")):
        recorder.wait_for(1)
    (entry,) = client.xpending_range("orders", "billing", "-", "+", 10)
    assert entry["time_since_delivered"] < 1_000_000


def test_entries_that_were_nacked_here_are_handled_together_again(
    server: RedisServer, client: redis.Redis
) -> None:
    """Nacked entries did not kill their process, so they need not be tried one at a time."""
    together = threading.Barrier(3)

    def act(message: Any, ctx: Any) -> None:
        if message.delivery_count < 3:
            ctx.nack()
        else:
            together.wait(DEADLINE)
            ctx.ack()

    add(client, b"1", b"2", b"3")
    recorder = Recorder(act)
    with Running(adapter_of(server, recorder, retry_after=0.3, workers=3)):
        recorder.wait_for(9)
    assert pending(client) == 0


def test_a_nacked_entry_comes_to_any_consumer(server: RedisServer, client: redis.Redis) -> None:
    """What one process nacked, another may get."""
    add(client, b"x")
    refuser, taker = Recorder(lambda message, ctx: ctx.nack()), Recorder()
    with Running(adapter_of(server, refuser, retry_after=0.2)):
        refuser.wait_for(1)
    with Running(adapter_of(server, taker, retry_after=0.2)):
        taker.wait_for(1)
    assert taker.messages[0].delivery_count == len(refuser.messages) + 1
    assert pending(client) == 0


def test_entries_of_a_consumer_that_died_are_claimed(
    server: RedisServer, client: redis.Redis
) -> None:
    """What was read by a process that is no more is handled by another."""
    bodies = [b"%d" % number for number in range(150)]
    add(client, *bodies)
    client.xgroup_create("orders", "billing", "0")
    client.xreadgroup("billing", "dead", {"orders": ">"}, count=100)
    recorder = Recorder()
    with Running(adapter_of(server, recorder, retry_after=0.2)):
        recorder.wait_for(len(bodies))
    assert sorted(recorder.bodies) == sorted(bodies)
    assert pending(client) == 0


@pytest.mark.parametrize("workers", [1, 3])
def test_a_slow_handler_keeps_its_entries(
    server: RedisServer, client: redis.Redis, workers: int
) -> None:
    """While a handler takes many times ``retry_after``, nobody else gets what its process read."""
    go_on = threading.Event()

    def hold(message: Any, ctx: Any) -> None:
        assert go_on.wait(DEADLINE)
        ctx.ack()

    bodies = [b"%d" % number for number in range(10)]
    add(client, *bodies)
    slow, other = Recorder(hold), Recorder()
    options = {"workers": workers, "max_in_flight": len(bodies)}
    slow_adapter = adapter_of(server, slow, retry_after=0.3, **options)
    with Running(slow_adapter):
        slow.wait_for(workers)
        with Running(adapter_of(server, other, retry_after=0.3)):
            last = add(client, b"last", b"last")[-1]
            other.wait_for(2)
            looked_at = [server_time(client)]
            eventually(lambda: server_time(client) > looked_at[0] + 1.2, "the clock stands still")
            assert other.bodies == [b"last", b"last"]
        go_on.set()
        slow.wait_for(len(bodies))
    assert slow.bodies.count(b"0") == 1
    assert sorted(slow.bodies) == sorted(bodies)
    assert pending(client) == 0
    assert last


def test_workers_read_no_more_than_max_in_flight(server: RedisServer, client: redis.Redis) -> None:
    """What is beyond max_in_flight is left to other consumers, whatever the size of a read."""
    go_on = threading.Event()

    def hold(message: Any, ctx: Any) -> None:
        assert go_on.wait(DEADLINE)
        ctx.ack()

    add(client, *(b"%d" % number for number in range(20)))
    slow, other = Recorder(hold), Recorder()
    with Running(adapter_of(server, slow, workers=3, max_in_flight=5)):
        slow.wait_for(3)
        with Running(adapter_of(server, other)):
            other.wait_for(15)
        assert pending(client) == 5
        go_on.set()
        slow.wait_for(5)
    assert pending(client) == 0


def test_what_is_settled_is_acked_while_the_next_handler_is_slow(
    server: RedisServer, client: redis.Redis
) -> None:
    """Though the receiving thread is held up, nobody else gets what was handled before."""
    pending_beside_slow: list[int] = []

    def act(message: Any, ctx: Any) -> None:
        if message.raw_data == b"slow":
            eventually(lambda: pending(client) == 1, "nothing was acked meanwhile")
            pending_beside_slow.append(pending(client))
        ctx.ack()

    add(client, b"fast", b"slow")
    recorder = Recorder(act)
    adapter = adapter_of(server, recorder, retry_after=0.6)
    adapter.flush_interval = DEADLINE * 10  # so that the receiving thread has no reason to ack
    with Running(adapter):
        recorder.wait_for(2)
    assert recorder.bodies == [b"fast", b"slow"]
    assert pending_beside_slow == [1]


def server_time(client: redis.Redis) -> float:
    """Return the server's time in seconds."""
    seconds, microseconds = client.time()
    return float(seconds + microseconds / 1_000_000)


def test_an_entry_that_was_delivered_too_often_is_dead_lettered_unhandled(
    server: RedisServer, client: redis.Redis
) -> None:
    """The server's count decides, so attempts of processes that died count too."""
    (entry_id,) = add(client, b"poison")
    client.xgroup_create("orders", "billing", "0")
    client.xreadgroup("billing", "dead", {"orders": ">"})
    for _ in range(2):
        client.xclaim("orders", "billing", "dead", 0, [entry_id])
    recorder = Recorder()
    dlq: dict[bytes, tuple[missive.Message, str]] = {}
    recorder.processor.set_dlq(dlq)
    with Running(adapter_of(server, recorder, retry_after=0.1, max_deliveries=3)):
        eventually(lambda: len(dlq) == 1, "no dead letter")
    assert recorder.messages == []
    ((message, reason),) = dlq.values()
    assert reason == "delivered 3 times without being settled"
    assert message.raw_data == b"poison"
    assert pending(client) == 0


def test_an_entry_is_handled_as_often_as_allowed(server: RedisServer, client: redis.Redis) -> None:
    """A message that is nacked each time is handled ``max_deliveries`` times, then dead-lettered."""
    add(client, b"x")
    recorder = Recorder(lambda message, ctx: ctx.nack())
    dlq: dict[bytes, tuple[missive.Message, str]] = {}
    recorder.processor.set_dlq(dlq)
    with Running(adapter_of(server, recorder, retry_after=0.1, max_deliveries=3)):
        eventually(lambda: len(dlq) == 1, "no dead letter")
    assert [message.delivery_count for message in recorder.messages] == [1, 2, 3]


def test_without_a_dlq_an_entry_that_was_delivered_too_often_ends_the_run(
    server: RedisServer, client: redis.Redis
) -> None:
    """The adapter stops loudly, and the entry stays where it is."""
    add(client, b"x")
    recorder = Recorder(lambda message, ctx: ctx.nack())
    with Running(adapter_of(server, recorder, retry_after=0.1, max_deliveries=2)) as running:
        error = running.fails()
    assert isinstance(error, missive.errors.MessageRejected)
    assert "delivered 2 times without being settled" in str(error)
    assert pending(client) == 1


def test_entries_that_may_have_killed_somebody_are_handled_one_at_a_time(
    server: RedisServer, client: redis.Redis
) -> None:
    """If one of them kills this process too, none of the others counts one delivery more for it."""
    ids = add(client, b"1", b"2", b"3")
    client.xgroup_create("orders", "billing", "0")
    client.xreadgroup("billing", "dead", {"orders": ">"})
    client.xclaim("orders", "billing", "dead", 0, ids)
    fresh = threading.Event()
    counts: list[list[int]] = []

    def act(message: Any, ctx: Any) -> None:
        if message.raw_data == b"fresh":
            # Whatever could be claimed has been: what is due is claimed before what is new is read.
            fresh.set()
        else:
            assert fresh.wait(DEADLINE)
            entries = client.xpending_range("orders", "billing", "-", "+", 10)
            counts.append(sorted(entry["times_delivered"] for entry in entries))
        ctx.ack()

    recorder = Recorder(act)
    with Running(adapter_of(server, recorder, retry_after=0.5, workers=4)):
        recorder.wait_for(1)
        add(client, b"fresh")
        recorder.wait_for(4)
    assert [count for count in counts[0] if count > 1] == [2, 2, 3]
    assert sorted(recorder.bodies) == [b"1", b"2", b"3", b"fresh"]
    assert pending(client) == 0


def test_an_entry_that_was_nacked_here_and_killed_somebody_since_is_handled_alone(
    server: RedisServer, client: redis.Redis
) -> None:
    """A nack shows that one delivery killed nobody, and nothing of those that came after."""
    adapter = adapter_of(server, Recorder(), retry_after=0.1)
    add(client, b"x")
    link = adapter._open_link()
    adapter._session.begin(b"me")
    adapter._session.progress.prepare(link)
    ((_, ((entry_id, _),)),) = client.xreadgroup("billing", "me", {"orders": ">"})
    adapter._ledger.nack(adapter._session.reader._entry(b"orders", entry_id, [b"data", b"x"], 1))
    adapter._ledger.told(adapter._ledger.tell())
    client.xclaim("orders", "billing", "dead", 0, [entry_id], retrycount=3, idle=1000, justid=True)

    def claimed() -> Any:
        adapter._redelivery.look(link)
        return adapter._redelivery.claim(link)

    found: list[Any] = []
    eventually(lambda: found.append(claimed()) or found[-1], "nothing was due")
    assert (found[-1].deliveries, found[-1].suspect) == (4, True)
    link.close()


@pytest.mark.parametrize("taken", [False, True])
def test_what_a_lost_answer_held_is_left_to_who_claimed_it_since(
    server: RedisServer, client: redis.Redis, taken: bool
) -> None:
    """After a reconnection only what nobody else has claimed in the meantime is claimed."""
    adapter = adapter_of(server, Recorder())
    add(client, b"x")
    link = adapter._open_link()
    adapter._session.begin(b"me")
    adapter._session.progress.prepare(link)
    ((_, ((entry_id, _),)),) = client.xreadgroup("billing", "me", {"orders": ">"})
    client.xclaim("orders", "billing", "me", 0, [entry_id], idle=60_000, justid=True)
    adapter._redelivery.recover(link)
    if taken:
        client.xclaim("orders", "billing", "other", 0, [entry_id])
    assert (adapter._redelivery.claim(link) is None) is taken
    (entry,) = client.xpending_range("orders", "billing", "-", "+", 10)
    assert entry["consumer"] == (b"other" if taken else adapter._session.group.consumer)
    link.close()


def test_a_spare_connection_that_was_closed_while_idle_is_opened_again(
    server: RedisServer, client: redis.Redis
) -> None:
    """A server that closes idle connections costs no more than opening this one anew."""
    spare = SpareLink(adapter_of(server, Recorder())._open_link)
    assert spare.call(("PING",)) == [b"PONG"]
    client.client_kill_filter(_type="normal", skipme=True)
    assert spare.call(("PING",)) == [b"PONG"]
    spare.close()


@pytest.mark.parametrize("ack_every", [1, 3, None])
@pytest.mark.parametrize("workers", [1, 4])
def test_acks_arrive_whatever_their_batching(
    server: RedisServer, client: redis.Redis, ack_every: int | None, workers: int
) -> None:
    """When idle, all that is settled is acked, without waiting for the end of the run."""
    bodies = [b"%d" % number for number in range(250)]
    add(client, *bodies)
    recorder = Recorder()
    with Running(adapter_of(server, recorder, ack_every=ack_every, workers=workers)):
        recorder.wait_for(len(bodies))
        eventually(lambda: pending(client) == 0, "the acks did not come")
    assert sorted(recorder.bodies) == sorted(bodies)


def test_with_ack_every_one_a_message_is_acked_before_the_next_is_handled(
    server: RedisServer, client: redis.Redis
) -> None:
    """Of a batch that was read together, only what is not handled yet is pending."""
    counts: list[int] = []

    def act(message: Any, ctx: Any) -> None:
        counts.append(pending(client))
        ctx.ack()

    add(client, b"1", b"2", b"3")
    recorder = Recorder(act)
    with Running(adapter_of(server, recorder, ack_every=1)):
        recorder.wait_for(3)
    assert counts == [3, 2, 1]


def test_acks_that_fail_twice_are_told_on_the_connection_after_that(
    server: RedisServer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the connection is lost while it is told, anew, what the one before was told."""
    losses = 2
    tell = Consumer.tell

    def lose(consumer: Consumer) -> None:
        nonlocal losses
        if losses and adapter._ledger.unsent:
            losses -= 1
            consumer.link.abort()
        tell(consumer)

    monkeypatch.setattr(Consumer, "tell", lose)
    recorder = Recorder()
    adapter = adapter_of(server, recorder, ack_every=1, retry_after=3600)
    with Running(adapter):
        add(client, b"x")
        recorder.wait_for(1)
        eventually(lambda: pending(client) == 0, "it was never acked")
    assert losses == 0
    assert recorder.bodies == [b"x"]


def test_once_the_connection_is_lost_a_run_that_ends_waits_for_no_further_answer(
    server: RedisServer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that hangs costs a run that was stopped one timeout, not one for each ack."""
    tellings = 0

    def time_out(consumer: Consumer) -> None:
        nonlocal tellings
        tellings += 1
        raise redis.TimeoutError

    together, go_on = threading.Barrier(4), threading.Event()

    def act(message: Any, ctx: Any) -> None:
        together.wait(DEADLINE)
        assert go_on.wait(DEADLINE)
        ctx.ack()

    adapter = adapter_of(server, Recorder(act), workers=3, ack_every=1)
    with Running(adapter):
        add(client, b"1", b"2", b"3")
        together.wait(DEADLINE)
        monkeypatch.setattr(Consumer, "tell", time_out)
        adapter.stop()
        go_on.set()
    assert tellings == 1
    assert pending(client) == 3


def test_acks_do_not_wait_for_a_slow_handler(server: RedisServer, client: redis.Redis) -> None:
    """What is settled is acked in bounded time, though the rest of its batch takes long."""
    seen: list[int] = []

    def act(message: Any, ctx: Any) -> None:
        # Ends only when the message before the last was acked, while this batch goes on.
        index = int(message.raw_data)
        if index > 1:
            eventually(lambda: pending(client) < 4 - index + 2, "nothing was acked meanwhile")
            seen.append(index)
        ctx.ack()

    add(client, b"0", b"1", b"2", b"3")
    recorder = Recorder(act)
    adapter = adapter_of(server, recorder)
    adapter.flush_interval = 0.0
    with Running(adapter):
        recorder.wait_for(4)
    assert seen == [2, 3]


def test_stop_ends_an_idle_run_without_waiting_for_an_entry(server: RedisServer) -> None:
    """An adapter whose read waits at the server wakes when it is told to stop."""
    adapter = adapter_of(server, Recorder())
    adapter.poll_timeout = DEADLINE * 10  # so that nothing but stop() can end the wait in time
    with Running(adapter):
        eventually(lambda: adapter._session.consumer.is_reading, "it does not read")


@pytest.mark.parametrize("failing", [False, True])
def test_what_a_read_brings_while_a_run_ends_is_returned_before_its_handlers_are_through(
    server: RedisServer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, failing: bool
) -> None:
    """Others get it at once, and nobody takes it from them later."""
    late_is_handled = threading.Event()

    def act(message: Any, ctx: Any) -> None:
        if message.raw_data == b"bad":
            raise LookupError("no such thing")
        if message.raw_data == b"slow":
            assert late_is_handled.wait(DEADLINE)
        ctx.ack()

    recorder, other = Recorder(act), Recorder()
    adapter = adapter_of(server, recorder, retry_after=3600, workers=2)
    monkeypatch.setattr(reader, "BLOCK", DEADLINE)  # so that the read is under way for long
    adapter._redelivery.begin = lambda: None
    adapter._redelivery._look_at = float("inf")
    flush, was_added = adapter.flush, threading.Event()

    def flush_with_something_new() -> None:
        if adapter.ending and not was_added.is_set():
            is_reading, count = adapter._session.consumer.is_reading, pending(client)
            add(client, b"late")
            if is_reading:
                eventually(lambda: pending(client) > count, "the read does not bring it")
            was_added.set()
        flush()

    adapter.flush = flush_with_something_new
    with Running(adapter) as running:
        add(client, b"slow")
        recorder.wait_for(1)
        if failing:
            add(client, b"bad")
        else:
            eventually(lambda: client.info("clients")["blocked_clients"], "it does not read")
            adapter.stop()
        assert was_added.wait(DEADLINE)
        with Running(adapter_of(server, other)):
            other.wait_for(1)
            late_is_handled.set()
            running.join()
        assert isinstance(running.error, LookupError) is failing
        running.error = None
    assert [(message.raw_data, message.delivery_count) for message in other.messages] == [
        (b"late", 1)
    ]
    assert pending(client) == int(failing)


def test_the_consumer_is_removed_on_a_clean_exit(server: RedisServer, client: redis.Redis) -> None:
    """No name is left behind in the group when nothing is pending for it."""
    add(client, b"x")
    recorder = Recorder()
    with Running(adapter_of(server, recorder)):
        recorder.wait_for(1)
        assert len(client.xinfo_consumers("orders", "billing")) == 1
    assert client.xinfo_consumers("orders", "billing") == []


def test_a_consumer_with_something_pending_stays(server: RedisServer, client: redis.Redis) -> None:
    """Removing it would make Redis forget what is pending for it."""
    add(client, b"x", b"y")
    recorder = Recorder(lambda message, ctx: ctx.nack() if message.raw_data == b"x" else ctx.ack())
    with Running(adapter_of(server, recorder, consumer="me")):
        recorder.wait_for(2)
    (consumer,) = client.xinfo_consumers("orders", "billing")
    assert (consumer["name"], consumer["pending"]) == (b"me", 1)


def test_what_was_read_and_not_handled_is_given_back_on_stop(
    server: RedisServer, client: redis.Redis
) -> None:
    """The next consumer need not wait ``retry_after`` for it, and it counts as not delivered."""
    stopper = Recorder()
    adapter = adapter_of(server, stopper, retry_after=3.0)

    def act(message: Any, ctx: Any) -> None:
        ctx.ack()
        adapter.stop()

    stopper.act = act
    bodies = [b"%d" % number for number in range(20)]
    add(client, *bodies)
    with Running(adapter) as running:
        running.join()
    assert stopper.bodies == [b"0"]
    assert pending(client) == 19
    entries = client.xpending_range("orders", "billing", "-", "+", 100)
    assert {entry["times_delivered"] for entry in entries} == {0}
    assert all(entry["time_since_delivered"] >= 3000 for entry in entries)
    taker = Recorder()
    with Running(adapter_of(server, taker, retry_after=3.0)):
        taker.wait_for(19)
    assert sorted(taker.bodies) == sorted(bodies[1:])
    assert {message.delivery_count for message in taker.messages} == {1}
    assert pending(client) == 0


def test_an_entry_that_was_delivered_too_often_and_is_given_back_stays_so(
    server: RedisServer, client: redis.Redis
) -> None:
    """It was claimed to be dead-lettered, which is no delivery, so none is taken off its count."""
    (entry_id,) = add(client, b"poison")
    client.xgroup_create("orders", "billing", "0")
    client.xreadgroup("billing", "dead", {"orders": ">"})
    client.xclaim("orders", "billing", "dead", 0, [entry_id], retrycount=3, justid=True)
    add(client, b"busy", b"busy")
    go_on = threading.Event()

    def act(message: Any, ctx: Any) -> None:
        assert go_on.wait(DEADLINE)
        ctx.ack()

    recorder = Recorder(act)
    adapter = adapter_of(server, recorder, retry_after=0.5, max_deliveries=3, workers=2)
    with Running(adapter):
        eventually(lambda: adapter.status().in_flight == 3, "it was not claimed")
        adapter.stop()
        go_on.set()
    (entry,) = client.xpending_range("orders", "billing", "-", "+", 10)
    assert (entry["message_id"], entry["times_delivered"]) == (entry_id, 3)


def test_what_a_handler_raises_ends_the_run_and_leaves_the_entry(
    server: RedisServer, client: redis.Redis
) -> None:
    """Without a DLQ the entry of a handler that raised stays pending, and those before are acked."""

    def act(message: Any, ctx: Any) -> None:
        if message.raw_data == b"bad":
            raise LookupError("no such thing")
        ctx.ack()

    add(client, b"good", b"bad", b"unhandled")
    recorder = Recorder(act)
    with Running(adapter_of(server, recorder)) as running:
        assert isinstance(running.fails(), LookupError)
    entries = client.xpending_range("orders", "billing", "-", "+", 100)
    assert [entry["times_delivered"] for entry in entries] == [1, 0]


def test_an_adapter_runs_again_after_it_was_stopped(
    server: RedisServer, client: redis.Redis
) -> None:
    """A second run goes on with the group."""
    recorder = Recorder()
    adapter = adapter_of(server, recorder)
    for count in (1, 2):
        add(client, b"%d" % count)
        with Running(adapter):
            recorder.wait_for(count)
    assert recorder.bodies == [b"1", b"2"]


def test_lag_tells_how_far_behind_the_group_is(server: RedisServer, client: redis.Redis) -> None:
    """Length, what waits, what is pending and how old it is, in sum and by stream."""
    recorder = Recorder(lambda message, ctx: ctx.nack())
    adapter = adapter_of(server, recorder, streams=["orders", "other"], retry_after=3600)
    lag = adapter.lag()
    assert (lag.length, lag.waiting, lag.pending, lag.oldest_pending_age) == (0, 0, 0, None)
    add(client, b"x", b"y")
    add(client, b"z", stream="other")
    with Running(adapter):
        recorder.wait_for(3)
        eventually(lambda: adapter.lag().pending == 3, "not pending")
    add(client, b"waits")
    lag = adapter.lag()
    assert (lag.length, lag.waiting, lag.pending) == (4, 1, 3)
    assert 0 <= lag.oldest_pending_age < DEADLINE
    assert (lag.streams["orders"].length, lag.streams["orders"].pending) == (3, 2)
    assert (lag.streams["other"].waiting, lag.streams["other"].pending) == (0, 1)
    assert adapter.lag_by_source() == {"orders": 3, "other": 1}


def test_trimming_deletes_what_every_group_has_settled(
    server: RedisServer, client: redis.Redis
) -> None:
    """Entries that another group has still to read, or has pending, stay."""
    ids = add(client, *[b"%d" % number for number in range(10)])
    client.xgroup_create("orders", "slow", "0")
    client.xreadgroup("slow", "someone", {"orders": ">"}, count=6)
    client.xack("orders", "slow", *ids[:4])
    recorder = Recorder()
    with Running(adapter_of(server, recorder, trim=True)):
        recorder.wait_for(10)
    assert [entry_id for entry_id, _ in client.xrange("orders")] == ids[4:]
    client.xack("orders", "slow", *ids[4:6])
    add(client, b"more")
    with Running(adapter_of(server, recorder, trim=True)):
        recorder.wait_for(11)
    assert len(client.xrange("orders")) == 5
    client.xgroup_destroy("orders", "slow")
    add(client, b"last")
    with Running(adapter_of(server, recorder, trim=True)):
        recorder.wait_for(12)
    assert client.xlen("orders") == 0


def test_trimming_deletes_what_was_settled_last(server: RedisServer, client: redis.Redis) -> None:
    """Also where it is time to trim before its ack was sent, and nothing is settled after it."""

    def act(message: Any, ctx: Any) -> None:
        adapter._redelivery._look_at = 0.0
        ctx.ack()

    adapter = adapter_of(server, Recorder(act), trim=True)
    with Running(adapter):
        add(client, b"x")
        eventually(lambda: client.xlen("orders") == 0, "it is left behind")


def test_without_trim_nothing_is_deleted(server: RedisServer, client: redis.Redis) -> None:
    """A stream is left to its writers, unless told otherwise."""
    add(client, b"x")
    recorder = Recorder()
    with Running(adapter_of(server, recorder)):
        recorder.wait_for(1)
    assert client.xlen("orders") == 1


def flush_all(client: redis.Redis) -> None:
    """Delete everything."""
    client.flushall()


def delete_stream(client: redis.Redis) -> None:
    """Delete the stream."""
    client.delete("orders")


def destroy_group(client: redis.Redis) -> None:
    """Delete the group alone."""
    client.xgroup_destroy("orders", "billing")


@pytest.mark.parametrize("loss", [flush_all, delete_stream, destroy_group])
@pytest.mark.parametrize("start", ["0", "$"])
def test_a_group_that_is_deleted_under_it_is_created_again(
    server: RedisServer,
    client: redis.Redis,
    caplog: pytest.LogCaptureFixture,
    loss: Callable[[redis.Redis], None],
    start: str,
) -> None:
    """What is added after the loss is handled, whatever ``start`` is, and the log says so."""
    client.xadd("orders", {"data": "long ago"}, id="1-1")
    recorder = Recorder()
    with Running(adapter_of(server, recorder, start=start)):
        add(client, b"before")
        eventually(lambda: b"before" in recorder.bodies, "it does not read")
        loss(client)
        add(client, b"after")
        eventually(lambda: b"after" in recorder.bodies, "it does not read any more")
    assert pending(client) == 0
    assert "the group billing of the stream orders was gone; created again" in caplog.text
    if start == "$":
        # At most the entries of the last millisecond come twice, not all that is there.
        assert set(recorder.bodies) == {b"before", b"after"}
