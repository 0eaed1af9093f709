"""Stopping: in every state, from any thread, and running again."""

from __future__ import annotations

import gc
import resource
import signal
import threading
from typing import Any

from missive import (
    DrainTimeout,
    HandlingContext,
    Message,
    RawMessage,
    format_id,
)

from ..contract import check, expect
from ..lab import A_WHILE, AdapterLab, wait_until
from .construction import open_files


class Stopping:
    """What holds when it is to end."""

    @check("A70", read="adapters#stopping")
    def test_a70_stop_ends_an_idle_run(self, lab: AdapterLab) -> None:
        """stop() from another thread ends a run() that has nothing to do, and nothing is raised."""
        recorder = lab.record()
        with lab.running(recorder) as running:
            running.stop()
        expect(not running.thread.is_alive(), "the thread of run() is still alive")

    @check("A71", read="adapters#stopping")
    def test_a71_stop_before_run(self, lab: AdapterLab) -> None:
        """stop() before run() makes the next run() return without having handled; once."""
        recorder = lab.record()
        adapter: Any = lab.harness.make_adapter(recorder.processor, RawMessage)
        adapter.stop()
        if lab.capabilities.persistent:
            lab.publish(b"already there")
        if lab.harness.run_ends:
            adapter.run()
        else:
            with lab.running(recorder, adapter=adapter, ready=False) as running:
                expect(running.ended.wait(lab.patience), "run() did not return at once")
        expect(not recorder.seen, "a message was handled after stop()")
        with lab.running(recorder, adapter=adapter):
            lab.publish(b"in the run after it")
            recorder.wait_seen(2 if lab.capabilities.persistent else 1)
            lab.expect_settled()

    @check("A72", read="adapters#stopping")
    def test_a72_stop_in_a_handler(self, lab: AdapterLab) -> None:
        """stop() called by a handler lets that message be settled, and ends run(); none is lost."""

        def stop(message: Message, ctx: HandlingContext[Any]) -> None:
            if len(recorder.seen) == 1:
                adapter.stop()
            ctx.ack()

        recorder = lab.record(stop)
        adapter: Any = lab.harness.make_adapter(recorder.processor, RawMessage)
        publish_all = [b"stop %d" % number for number in range(3)]
        with lab.running(recorder, adapter=adapter) as running:
            first = lab.publish(publish_all[0])
            recorder.wait_seen(1)
            if not lab.harness.run_ends:
                expect(running.ended.wait(lab.patience), "run() did not end")
            lab.expect_settled(first)
        with lab.running(recorder, adapter=adapter):
            for body in publish_all[1:]:
                lab.publish(body)
            recorder.wait_seen(3)
            lab.expect_settled()
        expect(sorted(recorder.bodies) == publish_all, "a message was lost or handled twice")

    @check("A73", read="adapters#stopping")
    def test_a73_stop_waits_for_the_handler(self, lab: AdapterLab) -> None:
        """stop() during a handler lets it finish; its message is settled before run() returns."""
        gate, inside = threading.Event(), threading.Event()

        def take_long(message: Message, ctx: HandlingContext[Any]) -> None:
            inside.set()
            gate.wait(3 * lab.patience)
            ctx.ack()

        recorder = lab.record(take_long, observe=True)
        with lab.running(recorder) as running:
            publication = lab.publish(b"in flight at stop")
            expect(inside.wait(lab.patience), "the message did not reach the handler")
            running.adapter.stop()
            running.ask_to_stop()
            expect(not running.ended.wait(A_WHILE), "run() returned with a message in flight")
            gate.set()
            running.stop()
            expect(recorder.settled, "run() returned before the message was settled")
            lab.expect_settled(publication)

    @check("A74", read="adapters#stopping")
    def test_a74_stop_may_be_called_any_number_of_times(self, lab: AdapterLab) -> None:
        """stop() may be called twice, from several threads, and after run() has returned."""
        recorder = lab.record()
        with lab.running(recorder) as running:
            callers = [threading.Thread(target=running.adapter.stop) for _ in range(4)]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join(lab.patience)
            expect(not any(caller.is_alive() for caller in callers), "a call of stop() hangs")
            running.stop()
            running.adapter.stop()

    @check("A75", read="adapters#stopping")
    def test_a75_it_runs_again_after_stop(self, lab: AdapterLab) -> None:
        """The same adapter can run again after stop(), and delivers what is published then."""
        recorder = lab.record()
        adapter = lab.harness.make_adapter(recorder.processor, RawMessage)
        for number in range(3):
            with lab.running(recorder, adapter=adapter):
                publication = lab.publish(b"run %d" % number)
                recorder.wait_seen(number + 1)
                lab.expect_settled(publication)
        expect(len(recorder.seen) == 3, f"3 messages were handled {len(recorder.seen)} times")

    @check("A76", read="adapters#signals")
    def test_a76_other_threads_leave_signals_alone(self, lab: AdapterLab) -> None:
        """run() in a thread that is not the main one leaves the signal handlers as they were."""
        signals = (signal.SIGINT, signal.SIGTERM)
        before = [signal.getsignal(signum) for signum in signals]
        recorder = lab.record()
        with lab.running(recorder):
            during = [signal.getsignal(signum) for signum in signals]
        expect(during == before, "the handlers of SIGINT or SIGTERM were exchanged")

    @check("A77", profile="full", read="adapters#stopping")
    def test_a77_twenty_runs_leak_nothing(self, lab: AdapterLab) -> None:
        """After twenty runs there are no more threads and open files than after the first few."""
        recorder = lab.record()
        counts: list[tuple[int, int | None]] = []
        for number in range(20):
            with lab.running(recorder) as running:
                publication = lab.publish(b"run %d" % number)
                recorder.wait_seen(number + 1)
                lab.expect_settled(publication)
            running.thread.join(lab.patience)
            if number in (4, 19):
                gc.collect()
                counts.append((threading.active_count(), open_files()))
        early, late = counts
        # A thread that is just ending may be counted, so the later count may be the smaller one.
        wait_until(
            lambda: threading.active_count() <= early[0] + 1,
            lab.patience,
            f"threads after 5 runs: {early[0]}; after 20: {late[0]}",
        )
        # So may a connection whose other end is in this process.
        wait_until(
            lambda: (now := open_files()) is None or early[1] is None or now <= early[1] + 2,
            lab.patience,
            f"open files after 5 runs: {early[1]}; after 20: {late[1]}",
        )

    @check("A78", profile="full", read="adapters#idle")
    def test_a78_idling_costs_next_to_nothing(self, lab: AdapterLab) -> None:
        """An adapter without messages waits instead of spinning: in a second, under 0.2 s
        of CPU.
        """
        recorder = lab.record()
        adapter: Any = lab.harness.make_adapter(recorder.processor, RawMessage)
        looks: list[float] = []
        receive: Any = getattr(adapter, "receive", None)
        if receive is not None:

            def look(timeout: float) -> Any:
                looks.append(timeout)
                return receive(timeout)

            adapter.receive = look
        with lab.running(recorder, adapter=adapter):
            before = _cpu_seconds()
            threading.Event().wait(1.0)
            spent = _cpu_seconds() - before
        expect(spent < 0.2, f"it spent {spent:.2f} s of CPU in one idle second")
        expect(len(looks) < 200, f"it called receive() {len(looks)} times in one idle second")

    @check("A79", needs=("PollingAdapter",), read="adapters#drain")
    def test_a79_the_drain_deadline_is_kept(self, lab: AdapterLab) -> None:
        """Handlers that are not through at drain_timeout are given up: DrainTimeout names their
        ids.
        """
        gate, inside = threading.Event(), threading.Event()

        def never(message: Message, ctx: HandlingContext[Any]) -> None:
            inside.set()
            gate.wait(3 * lab.patience)
            ctx.ack()

        recorder = lab.record(never, blocks=True)
        with lab.running(recorder, workers=2, drain_timeout=0.2) as running:
            lab.publish(b"in flight for too long")
            expect(inside.wait(lab.patience), "the message did not reach the handler")
            running.adapter.stop()
            error = running.failure()
            gate.set()
        expect(isinstance(error, DrainTimeout), f"run() raised {type(error).__name__}")
        assert isinstance(error, DrainTimeout)
        expected = format_id(recorder.seen[0].message_id)
        expect(error.message_ids == (expected,), f"it names {len(error.message_ids)} other id(s)")


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
