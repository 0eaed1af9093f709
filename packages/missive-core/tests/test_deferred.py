"""Deferred messages: kept in a store until they are due, then handled by one process at a time."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import missive
import pytest
from deferred_suite import EVENTS, FAILURES, RETRIES, Events, Process, Simulation, scenes, world
from hypothesis import given
from missive import (
    ConfigurationError,
    DeadLetterStoreError,
    DeferredAdapter,
    MemoryDLQ,
    Outcome,
    ProcessingContext,
    Processor,
    RawMessage,
    Retry,
)
from missive.letters.deferred import Deferred
from shelf_transport import FORGETS, ShelfTransport, finish, start, wait_until

SOON = Retry(attempts=3, delay=0.0, jitter=0.0)


def ack(message: RawMessage, ctx: Any) -> None:
    ctx.ack()


def processor_of(handle: Any, dlq: Any, retry: Retry | None = SOON) -> Processor[Any]:
    processor: Processor[Any] = Processor(retry=retry)
    processor.handle_for(missive.otherwise)(handle)
    processor.set_dlq(dlq)
    return processor


def fill(store: MemoryDLQ, count: int) -> None:
    """Put messages into a store that are due."""

    def fail(message: RawMessage, ctx: Any) -> None:
        raise ValueError("first")

    client = processor_of(fail, store).test_client()
    for number in range(count):
        client.send(b"%d" % number, message_id=b"%d" % number)


class Steps(MemoryDLQ):
    """A store that notes how many letters are removed and deferred in each step."""

    def __init__(self) -> None:
        super().__init__()
        self.removed: list[int] = []
        self.deferred: list[int] = []

    def remove_many(self, claims: Any) -> list[bool]:
        found = list(claims)
        self.removed.append(len(found))
        return super().remove_many(found)

    def defer(self, letters: Any) -> None:
        found = list(letters)
        self.deferred.append(len(found))
        super().defer(found)


def test_messages_that_are_settled_together_leave_the_store_in_one_step() -> None:
    """The acked are removed together, and the nacked deferred together."""
    dlq = Steps()
    fill(dlq, 5)
    dlq.deferred.clear()

    def handle(message: RawMessage, ctx: Any) -> None:
        ctx.nack() if message.raw_data in b"01" else ctx.ack()

    processor = processor_of(handle, dlq)
    run = ProcessingContext(RawMessage, ShelfTransport(processor), processor)
    run.settle([run.process(delivery) for delivery in Deferred(dlq).take(5)])
    assert (dlq.removed, dlq.deferred) == ([3], [2])
    assert dlq.counts().deferred == 2


# In a run.


@pytest.mark.parametrize(("wait", "largest"), [(3600.0, True), (0.0, False)])
def test_a_run_removes_messages_together_that_are_acked_one_after_the_other(
    wait: float, largest: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit for each would leave no time for the transport; slow handlers wait for no others."""
    monkeypatch.setattr("missive.polling.settling.STORED_WAIT", wait)
    dlq = Steps()
    fill(dlq, 50)
    adapter = ShelfTransport(processor_of(ack, dlq), until=lambda: not dlq.counts().deferred)
    finish(*start(adapter))
    assert sum(dlq.removed) == 50
    assert (max(dlq.removed) > 1) is largest
    assert adapter.status().acked == 50


@pytest.mark.parametrize("workers", [1, 4])
def test_an_input_that_ends_has_its_retries_made_where_only_this_process_keeps_them(
    workers: int,
) -> None:
    """A run whose store ends with the process waits for what it deferred; nothing is lost."""
    attempts: Counter[bytes] = Counter()

    def handle(message: RawMessage, ctx: Any) -> None:
        attempts[message.raw_data] += 1
        if ctx.attempt < 3:
            raise ValueError("not yet")
        ctx.ack()

    dlq = MemoryDLQ()
    retry = Retry(attempts=3, delay=0.05, jitter=0.0)
    bodies = [b"a%d" % number for number in range(10)]
    processor = processor_of(handle, dlq, retry)
    ShelfTransport(processor, bodies, workers=workers, capabilities=FORGETS).run()
    assert attempts == dict.fromkeys(bodies, 3)
    assert dlq.counts() == (0, 0, 0, 0)


@pytest.mark.parametrize("keeps", [False, True])
def test_a_run_does_not_wait_for_what_is_kept_or_once_it_is_stopped(keeps: bool) -> None:
    """A store that outlives the process has it handled by the next; ``stop`` ends the wait."""

    def fail(message: RawMessage, ctx: Any) -> None:
        raise ValueError("not yet")

    dlq = MemoryDLQ()
    dlq.outlives_process = keeps
    processor = processor_of(fail, dlq, Retry(attempts=3, delay=3600.0))
    adapter = ShelfTransport(processor, [b"a"], capabilities=FORGETS)
    thread, errors = start(adapter)
    wait_until(lambda: dlq.counts().deferred == 1)
    if not keeps:
        adapter.stop()
    finish(thread, errors)
    assert dlq.counts().deferred == 1


@pytest.mark.parametrize("workers", [1, 4])
def test_a_run_handles_what_it_deferred_itself(workers: int) -> None:
    """Beside its transport, and until the store has nothing more."""
    made: Counter[bytes] = Counter()

    def handle(message: RawMessage, ctx: Any) -> None:
        made[message.raw_data] += 1
        assert ctx.attempt == made[message.raw_data]
        if made[message.raw_data] < 3:
            raise ValueError("no")
        ctx.ack()

    dlq = MemoryDLQ()
    adapter = ShelfTransport(
        processor_of(handle, dlq),
        [b"a%d" % number for number in range(50)],
        workers=workers,
        until=lambda: sum(made.values()) == 150 and dlq.counts().deferred == 0,
    )
    adapter.run()
    assert set(made.values()) == {3}
    assert dlq.counts().dead == 0
    assert adapter.status().deferred == 100


def test_neither_the_transport_nor_the_store_starves_the_other() -> None:
    """They take turns, however much both have."""
    dlq = MemoryDLQ()
    fill(dlq, 500)
    order: list[str] = []

    def handle(message: RawMessage, ctx: Any) -> None:
        order.append("transport" if message.raw_data[:1] == b"t" else "store")
        ctx.ack()

    adapter = ShelfTransport(
        processor_of(handle, dlq),
        [b"t%d" % number for number in range(500)],
        until=lambda: len(order) == 1000,
    )
    adapter.run()
    first = Counter(order[:300])
    assert min(first["transport"], first["store"]) > 20


def test_a_paused_run_takes_nothing_out_of_the_store() -> None:
    """Another process may."""
    dlq = MemoryDLQ()
    fill(dlq, 3)
    adapter = ShelfTransport(processor_of(ack, dlq), until=lambda: dlq.counts().deferred == 0)
    adapter.pause("maintenance")
    turns = 0
    wait = adapter.wait

    def waiting(timeout: float, readable: Any = None) -> bool:
        nonlocal turns
        turns += 1
        if turns == 5:
            assert dlq.counts().claimed == 0
            adapter.resume()
        assert turns >= 5 or timeout > 0.01, "a hot loop"
        return wait(min(timeout, 0.01), readable)

    adapter.wait = waiting  # type: ignore[method-assign]
    adapter.run()
    assert turns >= 5
    assert dlq.counts().deferred == 0


def test_busy_workers_are_no_reason_for_a_hot_loop() -> None:
    """Where there is no room for what is due, the loop waits for a worker."""
    dlq = MemoryDLQ()
    go_on = threading.Event()
    began = threading.Semaphore(0)

    def handle(message: RawMessage, ctx: Any) -> None:
        began.release()
        assert go_on.wait(30)
        ctx.ack()

    adapter = ShelfTransport(
        processor_of(handle, dlq),
        [b"a1", b"a2"],
        workers=2,
        max_in_flight=2,
        until=lambda: go_on.is_set() and dlq.counts().deferred == 0 and not adapter.in_flight,
    )
    turns = 0
    keepalive = adapter.flush

    def flush() -> None:
        nonlocal turns
        turns += 1
        keepalive()

    adapter.flush = flush  # type: ignore[method-assign]
    run = start(adapter)
    assert began.acquire(timeout=30)
    assert began.acquire(timeout=30)
    fill(dlq, 1)
    before = turns
    threading.Event().wait(1.5)  # longer than the pump waits to look again
    assert turns - before < 100
    go_on.set()
    finish(*run)


def test_what_was_not_begun_when_the_run_ends_is_free_for_others() -> None:
    """Its claim is released at once, not when its lease ends."""
    dlq = MemoryDLQ()
    fill(dlq, 10)
    adapter: ShelfTransport

    def handle(message: RawMessage, ctx: Any) -> None:
        ctx.ack()
        adapter.stop()

    adapter = ShelfTransport(processor_of(handle, dlq), until=lambda: False)
    adapter.run()
    assert 0 < dlq.counts().deferred < 10
    assert dlq.counts().claimed == 0


def test_a_store_that_takes_nothing_back_does_not_fail_the_end_of_a_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The claims of what was not begun are left to expire, and the log says so at its level debug."""
    monkeypatch.setattr("missive.polling.pump.QUICK", 3600.0)  # so that several are claimed at once

    class Keeps(MemoryDLQ):
        def release(self, claim: Any) -> bool:
            raise DeadLetterStoreError("locked")

    dlq = Keeps()
    fill(dlq, 10)
    handled: list[bytes] = []

    def handle(message: RawMessage, ctx: Any) -> None:
        handled.append(message.raw_data)
        ctx.ack()
        if len(handled) == 4:
            adapter.stop()

    adapter = ShelfTransport(processor_of(handle, dlq), until=lambda: False, max_in_flight=10)
    with caplog.at_level(logging.DEBUG, "missive.polling.pump"):
        adapter.run()
    assert len(handled) == 4
    assert dlq.counts().claimed > 0
    assert "giving back deferred messages: DeadLetterStoreError" in caplog.text


class Troubled(MemoryDLQ):
    """A store that cannot be read for a while."""

    troubles = 3

    def next_due(self) -> datetime | None:
        if self.troubles:
            self.troubles -= 1
            raise DeadLetterStoreError("locked")
        return super().next_due()


def test_a_store_in_trouble_does_not_end_the_run(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again, and the log says so once."""
    monkeypatch.setattr("missive.polling.pump.LOOK_EVERY", 0.01)
    dlq = Troubled()
    fill(dlq, 1)
    with caplog.at_level(logging.WARNING, "missive.polling.pump"):
        ShelfTransport(processor_of(ack, dlq), until=lambda: dlq.counts().deferred == 0).run()
    assert [r.getMessage().split(" (")[0] for r in caplog.records if r.name.endswith("pump")] == [
        "deferred messages cannot be read"
    ]


def test_a_handler_longer_than_a_lease_keeps_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim is renewed while the handler runs, also in the receiving thread."""
    monkeypatch.setattr("missive.polling.pump.Deferred", lambda store: Deferred(store, lease=0.15))
    dlq = MemoryDLQ()
    fill(dlq, 1)
    handled: list[int] = []

    def handle(message: RawMessage, ctx: Any) -> None:
        handled.append(ctx.attempt)
        first = ctx.delivery.claim
        wait_until(lambda: ctx.delivery.claim.expires > first.expires + timedelta(seconds=0.3))
        assert dlq.claim_due(10) == []
        ctx.ack()

    ShelfTransport(processor_of(handle, dlq), until=lambda: dlq.counts().deferred == 0).run()
    assert handled == [2]


# Alone.


def test_deferred_messages_run_alone() -> None:
    """``--from deferred:`` handles them, and nothing else."""
    dlq = MemoryDLQ()
    fill(dlq, 20)
    handled: list[bytes] = []

    def handle(message: RawMessage, ctx: Any) -> None:
        handled.append(message.raw_data)
        ctx.ack()

    adapter = missive.from_url("deferred:", RawMessage, processor_of(handle, dlq))
    assert isinstance(adapter, DeferredAdapter)
    run = start(adapter)
    wait_until(lambda: len(handled) == 20 and dlq.counts().deferred == 0)
    adapter.stop()
    finish(*run)
    assert sorted(handled) == sorted(b"%d" % number for number in range(20))


@pytest.mark.parametrize("dlq", [None, {}])
def test_without_a_store_there_are_no_deferred_messages_to_run(dlq: Any) -> None:
    """The text names the remedy."""
    adapter = DeferredAdapter(RawMessage, processor_of(ack, dlq, retry=None))
    with pytest.raises(ConfigurationError, match="--dlq URL"):
        adapter.run()


def test_an_address_behind_deferred_is_refused() -> None:
    """The store is named elsewhere."""
    with pytest.raises(ConfigurationError, match="takes no address"):
        missive.from_url("deferred:letters.db", RawMessage, processor_of(ack, MemoryDLQ()))


# Crashes and clocks.


def test_a_crash_gives_a_message_to_another_process_when_the_lease_ends() -> None:
    """Not sooner, and with the attempts that were made before."""
    with world() as time:
        store = MemoryDLQ()
        fill(store, 1)
        processor = processor_of(ack, store)
        first, second = Process(time, processor), Process(time, processor)
        assert [delivery.attempt for delivery in first.take()] == [2]
        first.die()
        time.seconds = 59.0
        assert second.take() == []
        time.seconds = 61.0
        assert [delivery.attempt for delivery in second.take()] == [2]
        assert second.end() is Outcome.ACKED
        second.die()


def test_a_nacked_message_that_cannot_be_deferred_again_is_due_when_its_lease_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A store that fails costs the delay, not the message; the log names neither content nor text."""

    class Full(MemoryDLQ):
        full = False

        def defer(self, letters: Any) -> None:
            if self.full:
                raise OSError("disk full")
            super().defer(letters)

    with world() as time:
        store = Full()
        fill(store, 1)
        process = Process(time, processor_of(lambda message, ctx: ctx.nack(), store))
        process.take()
        store.full = True
        assert process.end() is Outcome.NACKED
        assert "could not be deferred again: OSError at " in caplog.text
        assert "disk full" not in caplog.text
        time.seconds = 59.0
        assert process.take() == []
        time.seconds = 61.0
        assert len(process.take()) == 1
        process.die()


def test_a_clock_that_is_set_forward_gives_nothing_to_two_processes() -> None:
    """Its lease looks ended, so nothing is claimed before its holder has renewed it."""
    with world() as time:
        store = MemoryDLQ()
        fill(store, 1)
        processor = processor_of(ack, store)
        first, second = Process(time, processor), Process(time, processor)
        assert len(first.take()) == 1
        time.set_by = 86_400.0
        assert second.take() == []
        assert first.take() == []
        time.seconds += 20.0
        first.pump.leases.renew()
        time.seconds += 20.0
        assert second.take() == []
        assert first.end() is Outcome.ACKED
        assert store.counts().deferred == 0
        first.die()
        second.die()


def test_a_process_never_takes_what_it_has_in_flight() -> None:
    """Even where its own claim ended meanwhile: it is held again."""
    with world() as time:
        store = MemoryDLQ()
        fill(store, 1)
        process = Process(time, processor_of(ack, store))
        process.take()
        time.seconds += 200.0  # its renewals were late
        assert process.take() == []
        assert process.end() is Outcome.ACKED
        assert store.counts().deferred == 0
        process.die()


def test_a_clock_that_is_set_back_loses_nothing() -> None:
    """A message is due later by as much."""
    with world() as time:
        store = MemoryDLQ()
        fill(store, 3)
        time.set_by = -3600.0
        process = Process(time, processor_of(ack, store))
        assert process.take() == []
        time.seconds = 3601.0
        assert len(process.take()) == 3
        process.die()


def test_a_message_acked_after_its_claim_was_lost_is_said_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It stays, and is handled again: at least once."""
    with world() as time:
        store = MemoryDLQ()
        fill(store, 1)
        processor = processor_of(ack, store)
        slow, other = Process(time, processor), Process(time, processor)
        slow.take()
        time.seconds = 100.0
        other.take()
        slow.end()
        assert "its claim expired" in caplog.text
        assert other.end() is Outcome.ACKED
        slow.die()
        other.die()


# Whatever happens.


@scenes
@given(events=EVENTS, retry=RETRIES, failures=FAILURES)
def test_each_message_is_tried_as_often_as_allowed_and_never_twice_at_once(
    events: Events, retry: Retry, failures: list[int]
) -> None:
    """Through kills and clocks that jump; one attempt more for each kill, and all end somewhere."""
    store = MemoryDLQ()
    with world() as time:
        Simulation(time, retry, failures, lambda: store).run(events)
