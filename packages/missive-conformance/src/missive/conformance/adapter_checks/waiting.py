"""Time: delayed nacks, retries, deferred messages, pauses and breakers."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from time import monotonic
from typing import Any

from missive import (
    Breaker,
    DeadLetter,
    DeadLetterWriteFailed,
    HandlingContext,
    MemoryDLQ,
    Message,
    Retry,
)

from ..contract import check, expect
from ..lab import AdapterLab, everything, glances, wait_until
from ..recorder import Recorder
from .settlement import Failure, fail

POLLING = ("PollingAdapter", "no harness.own_dlq")
#: What an adapter without delays of its own leaves to the store.
DEFERS = (*POLLING, "delayed_nack=False")
#: The delay before each retry of these checks, in seconds.
DELAY = 0.1
RETRY = Retry(attempts=3, delay=DELAY, backoff=1.0, jitter=0.0)


class Store(MemoryDLQ):
    """A store that can refuse or watch what is deferred, and that can be waited on.

    :param on_defer: called before messages are deferred; what it raises refuses them.
    """

    def __init__(self, on_defer: Any = None) -> None:
        super().__init__()
        self.on_defer = on_defer
        self.deferred = 0

    def defer(self, letters: Iterable[DeadLetter]) -> None:
        """Keep messages until they are due."""
        found = list(letters)
        if self.on_defer is not None:
            self.on_defer()
        super().defer(found)
        self.deferred += len(found)

    def wait_dead(self, patience: float) -> DeadLetter:
        """Wait for the first dead letter."""
        wait_until(lambda: self.counts().dead, patience, "no dead letter was written")
        return next(iter(self.letters()))


class Waiting:
    """What holds for messages that wait to be handled again."""

    @check("A120", needs=("PollingAdapter", "delayed_nack"), read="settlement#what-a-nack-means")
    def test_a120_a_delayed_nack_is_kept(self, lab: AdapterLab) -> None:
        """A message that is nacked with a delay is redelivered when that is over, not before, and is
        counted.
        """
        times: list[float] = []
        attempts: list[int] = []

        def nack_once(message: Message, ctx: HandlingContext[Any]) -> None:
            times.append(monotonic())
            attempts.append(ctx.attempt)
            ctx.ack() if len(times) > 1 else ctx.nack(delay=2 * DELAY)

        recorder = lab.record(nack_once)
        with lab.running(recorder):
            lab.publish(b"later")
            recorder.wait_seen(2)
            lab.expect_settled()
        waited = times[1] - times[0]
        expect(waited >= 2 * DELAY, f"it came again after {waited:.2f} s, not {2 * DELAY:g} s")
        expect(attempts == [1, 2], f"its attempts were {attempts}")

    @check("A121", needs=POLLING, read="settlement#the-table")
    def test_a121_a_retry_is_made_as_often_as_it_says(self, lab: AdapterLab) -> None:
        """A handler with a Retry is called as often as that says, its attempts numbered from 1, and
        the message becomes one dead letter.
        """
        attempts: list[int] = []

        def fail_always(message: Message, ctx: HandlingContext[Any]) -> None:
            attempts.append(ctx.attempt)
            fail(message, ctx)

        store = Store()
        recorder = _retrying(lab, store)
        recorder.behaviour = fail_always
        with lab.running(recorder):
            lab.publish(b"fails for ever")
            letter = store.wait_dead(lab.patience)
            lab.expect_settled()
        expect(attempts == [1, 2, 3], f"the attempts were {attempts}, not 1 to 3")
        expect(letter.raw_data == b"fails for ever", "the letter has other bytes")
        counts = store.counts()
        expect((counts.dead, counts.deferred) == (1, 0), "there is more than one letter")

    @check("A122", needs=DEFERS, read="dead-letters#deferred-messages")
    def test_a122_a_deferred_message_is_with_the_store(self, lab: AdapterLab) -> None:
        """Where the transport cannot delay, the store keeps what waits for a retry: the transport
        is done with it, and it is handled again and forgotten.
        """

        def fail_once(message: Message, ctx: HandlingContext[Any]) -> None:
            if ctx.attempt == 1:
                raise Failure("once")
            ctx.ack()

        store = Store()
        recorder = _retrying(lab, store, Retry(attempts=2, delay=3600.0))
        recorder.behaviour = fail_once
        with lab.running(recorder):
            lab.publish(b"deferred")
            wait_until(lambda: store.deferred, lab.patience, "the store was not given the message")
            lab.wait_remaining(0, "after it was deferred")
            store.retry_now()
            recorder.wait_seen(2)
            wait_until(
                lambda: not store.counts().deferred, lab.patience, "the store still has the message"
            )
            lab.expect_settled()
        expect(recorder.bodies == [b"deferred"] * 2, "it was handled again with other bytes")
        expect(store.deferred == 1, f"it was deferred {store.deferred} times")

    @check("A123", needs=(*DEFERS, "delivery=at-least-once"), read="dead-letters#deferred-messages")
    def test_a123_it_is_deferred_before_the_ack(self, lab: AdapterLab) -> None:
        """While a message is being deferred the transport still has it; if that fails, it keeps
        it, and run() raises DeadLetterWriteFailed.
        """
        counts: list[int] = []

        def refuse() -> None:
            counts.append(lab.least_remaining())
            raise OSError("the store's disk is full")

        recorder = _retrying(lab, Store(refuse))
        recorder.behaviour = fail
        with lab.running(recorder) as running:
            publication = lab.publish(b"to be kept")
            lab.expect_raised(running, DeadLetterWriteFailed, publication)
            lab.expect_unsettled(publication)
        expect(counts == [1], f"while it was deferred the transport had {counts}")

    @check("A124", needs=("PollingAdapter",), read="adapters#pausing")
    def test_a124_a_pause_begins_nothing(self, lab: AdapterLab) -> None:
        """While it is paused it stays ready and no handler is called; resumed, it handles what
        came meanwhile.
        """
        recorder = lab.record()
        with lab.running(recorder) as running:
            lab.publish(b"before")
            recorder.wait_seen(1)
            lab.expect_settled()
            running.adapter.pause("the check")
            expect("the check" in running.adapter.status().paused, "status() names no pause")
            lab.publish(b"meanwhile")
            begun = max(len(recorder.seen) for _ in glances())
            ready = running.adapter.ready.is_set()
            running.adapter.resume("the check")
            recorder.wait_seen(2)
            lab.expect_settled()
        expect(begun == 1, "a handler was called during the pause")
        expect(ready, "it was not ready during the pause")
        expect(not running.adapter.status().paused, "status() still names a pause")

    @check("A125", needs=("PollingAdapter",), read="adapters#pausing")
    def test_a125_a_pause_lets_handlers_finish(self, lab: AdapterLab) -> None:
        """What is being handled when a pause begins is finished and settled during the pause."""
        gate = threading.Event()

        def wait(message: Message, ctx: HandlingContext[Any]) -> None:
            gate.wait(3 * lab.patience)
            ctx.ack()

        recorder = lab.record(wait, observe=True)
        with lab.running(recorder) as running:
            publication = lab.publish(b"in flight")
            recorder.wait_seen(1)
            running.adapter.pause()
            gate.set()
            recorder.wait_settled(1)
            lab.expect_settled(publication)
            running.adapter.resume()

    @check("A126", needs=("PollingAdapter",), read="adapters#pausing")
    def test_a126_a_paused_run_can_be_stopped(self, lab: AdapterLab) -> None:
        """stop() ends a paused run; the next run of the adapter handles what came meanwhile."""
        recorder = lab.record()
        adapter: Any = lab.harness.make_adapter(recorder.processor)
        with lab.running(recorder, adapter=adapter) as running:
            adapter.pause()
            running.stop()
        adapter.resume()
        with lab.running(recorder, adapter=adapter):
            lab.publish(b"after the pause")
            recorder.wait_seen(1)
            lab.expect_settled()

    @check("A127", needs=POLLING, read="adapters#pausing")
    def test_a127_a_breaker_gives_back(self, lab: AdapterLab) -> None:
        """While its handler's breaker is open a message is no dead letter and not counted as an
        attempt; it is handled when the breaker lets it through.
        """
        _outlive_an_outage(lab, failures=1)

    @check("A128", needs=POLLING, read="settlement#the-table")
    def test_a128_an_outage_begins_without_a_dead_letter(self, lab: AdapterLab) -> None:
        """What its handler's breaker counts before it opens makes no dead letter and is not counted
        as an attempt, also without a Retry; the message is handled again after the breaker's pause.
        """
        _outlive_an_outage(lab, failures=10)


def _outlive_an_outage(lab: AdapterLab, failures: int) -> None:
    """Check a message that fails twice and then succeeds, with a breaker on its handler.

    :param failures: how many failures open the breaker.
    """
    attempts: list[int] = []
    letters = lab.letters()
    breaker = Breaker(on=(Failure,), failures=failures, pause=DELAY)

    def handle(message: Message, ctx: HandlingContext[Any]) -> None:
        attempts.append(ctx.attempt)
        if len(attempts) < 3:
            raise Failure("the database is down")
        ctx.ack()

    recorder = lab.record(handle, matcher=None, dlq=letters)
    recorder.handle_for(everything, breaker=breaker)
    with lab.running(recorder):
        publication = lab.publish(b"not its fault")
        recorder.wait_seen(3)
        lab.expect_settled(publication)
    expect(not letters.writes, "it became a dead letter")
    expect(attempts == [1, 1, 1], f"its attempts were {attempts}")


def _retrying(lab: AdapterLab, store: Store, retry: Retry = RETRY) -> Recorder:
    """Make a recorder whose handler has a retry policy."""
    recorder = lab.record(matcher=None, dlq=store)

    recorder.handle_for(everything, retry=retry)
    return recorder
