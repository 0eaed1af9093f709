"""Several workers: how many at once, who settles, in which order."""

from __future__ import annotations

import threading
from typing import Any

from missive import HandlingContext, Message, RawMessage

from ..contract import check, expect
from ..lab import AdapterLab, glances
from ..styles import ASYNC, BATCH, kind_of, size_of
from .settlement import Failure

POLLING = ("PollingAdapter",)


def apart(lab: AdapterLab) -> dict[str, Any]:
    """Return options by which no message shares a batch with another, where there are batches."""

    def by_itself(message: Message) -> bytes:
        return message.raw_data

    return {"ordering_key": by_itself} if kind_of(lab.style) == BATCH else {}


class Workers:
    """What holds where an adapter has threads handle for it."""

    @check("A60", needs=POLLING, read="adapters#workers")
    def test_a60_workers_handle_at_once(self, lab: AdapterLab) -> None:
        """With four workers, four messages are handled at the same time."""
        together = threading.Barrier(4)

        def meet(message: Message, ctx: HandlingContext[Any]) -> None:
            together.wait(3 * lab.patience)
            ctx.ack()

        recorder = lab.record(meet, blocks=True)
        with lab.running(recorder, workers=4, **apart(lab)) as running:
            for number in range(4):
                lab.publish(b"together %d" % number)
            running.may_fail = True  # where they do not meet, the barrier breaks
            recorder.wait_seen(4)
            lab.expect_settled()
        expect(len(recorder.seen) == 4, "not every message was handled")

    @check("A61", needs=POLLING, read="adapters#workers")
    def test_a61_no_more_in_flight_than_allowed(self, lab: AdapterLab) -> None:
        """No more than max_in_flight messages are with workers and not yet settled."""
        gate = threading.Event()

        def wait(message: Message, ctx: HandlingContext[Any]) -> None:
            gate.wait(3 * lab.patience)
            ctx.ack()

        # Tasks on an event loop are bounded by max_in_flight alone; batches may share a key.
        at_once = 3 if kind_of(lab.style) == ASYNC else 2
        size = size_of(lab.style)
        least = 1 if kind_of(lab.style) == BATCH else at_once
        most = 3 * size
        recorder = lab.record(wait, blocks=True)
        with lab.running(recorder, workers=2, max_in_flight=most) as running:
            for number in range(most + size):
                lab.publish(b"in flight %d" % number)
            recorder.wait_seen(least)
            highest = max(running.adapter.status().in_flight for _ in glances())
            begun = len(recorder.seen)
            gate.set()
            recorder.wait_seen(most + size)
            lab.expect_settled()
        # A batch begins where there is room for its first message.
        expect(highest < most + size, f"{highest} were in flight where {most} are allowed")
        expect(least <= begun <= at_once, f"{begun} handlers ran at once where {at_once} may")

    @check("A62", needs=POLLING, read="adapters#workers")
    def test_a62_only_the_receiving_thread_settles(self, lab: AdapterLab) -> None:
        """Handlers run in workers; receiving, acks and nacks are all made by the thread
        of run().
        """
        threads: dict[str, set[threading.Thread]] = {}

        def watch(adapter: Any, name: str) -> None:
            method = getattr(adapter, name)

            def watched(*arguments: Any) -> Any:
                threads.setdefault(name, set()).add(threading.current_thread())
                return method(*arguments)

            setattr(adapter, name, watched)

        recorder = lab.record()
        adapter = lab.harness.make_adapter(recorder.processor, RawMessage, workers=3)
        for name in ("receive", "ack", "flush", "open", "close"):
            watch(adapter, name)
        with lab.running(recorder, adapter=adapter) as running:
            for number in range(12):
                lab.publish(b"to be settled %d" % number)
            recorder.wait_seen(12)
            lab.expect_settled()
        strangers = {name for name, found in threads.items() if found != {running.thread}}
        expect(not strangers, f"{', '.join(sorted(strangers))} was called in another thread")
        handled_by = {seen.thread for seen in recorder.seen}
        expect(running.thread not in handled_by, "a handler ran in the receiving thread")

    @check(
        "A63",
        needs=(*POLLING, "ordered_acks=False", "harness.counts_each"),
        read="adapters#workers",
    )
    def test_a63_acks_may_come_out_of_order(self, lab: AdapterLab) -> None:
        """A message that takes long does not keep later ones from being acked; it is
        acked itself.
        """
        gate = threading.Event()

        def dawdle(message: Message, ctx: HandlingContext[Any]) -> None:
            if message.raw_data == b"slow":
                gate.wait(3 * lab.patience)
            ctx.ack()

        recorder = lab.record(dawdle, observe=True, blocks=True)
        with lab.running(recorder, workers=2, max_in_flight=2, **apart(lab)):
            lab.publish(b"slow")
            recorder.wait_seen(1)
            for number in range(10):
                lab.publish(b"quick %d" % number)
            recorder.wait_settled(10)
            if lab.capabilities.delivery == "at-least-once":
                lab.wait_remaining(1, "when all but one were acked")
            gate.set()
            recorder.wait_settled(11)
            lab.expect_settled()
        expect(len(recorder.seen) == 11, f"11 messages were handled {len(recorder.seen)} times")

    @check("A64", needs=(*POLLING, "ordered_acks"), read="adapters#capabilities")
    def test_a64_workers_keep_the_order_of_acks(self, lab: AdapterLab) -> None:
        """Where acks must keep the order of delivery, several workers keep it: what is handled
        early waits.
        """
        gate = threading.Event()
        bodies = [b"slow", *(b"quick %d" % number for number in range(5))]

        def dawdle(message: Message, ctx: HandlingContext[Any]) -> None:
            if message.raw_data == b"slow":
                gate.wait(3 * lab.patience)
            ctx.ack()

        recorder = lab.record(dawdle, observe=True, blocks=True)
        with lab.running(recorder, workers=2, max_in_flight=6, **apart(lab)):
            for body in bodies:
                lab.publish(body)
            recorder.wait_seen(6)
            early = max(len(recorder.settled) for _ in glances())
            remaining = lab.least_remaining()
            gate.set()
            recorder.wait_settled(6)
            lab.expect_settled()
        if lab.capabilities.delivery == "at-least-once":
            expect(remaining == 6, f"before the first was acked, {6 - remaining} were")
        expect(not early, f"{early} message(s) were settled before the first")
        settled = [context.message.raw_data for context in recorder.settled]
        expect(settled == bodies, "the messages were settled in another order")

    @check("A65", needs=POLLING, read="adapters#workers")
    def test_a65_a_failing_worker_settles_the_others(self, lab: AdapterLab) -> None:
        """Without a DLQ, what a worker raises ends run(); what others acked meanwhile is
        settled.
        """
        first_in, gate = threading.Event(), threading.Event()

        def fail_late(message: Message, ctx: HandlingContext[Any]) -> None:
            if message.raw_data == b"bad":
                first_in.wait(3 * lab.patience)
                gate.set()
                raise Failure("one worker fails")
            first_in.set()
            gate.wait(3 * lab.patience)
            ctx.ack()

        recorder = lab.record(fail_late, blocks=True)
        with lab.running(recorder, workers=2, max_in_flight=2, **apart(lab)) as running:
            lab.publish(b"good")  # first, so that it is settled where the order counts
            bad = lab.publish(b"bad")
            error = running.failure()
        expect(isinstance(error, Failure), f"run() raised {type(error).__name__}")
        lab.expect_unsettled(bad)
