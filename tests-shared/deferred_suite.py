"""A simulation of processes that share a store of deferred messages, for each store that defers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import missive
import pytest
from hypothesis import example
from hypothesis import strategies as st
from missive import (
    DeadLetterStore,
    DeferredAdapter,
    Outcome,
    ProcessingContext,
    Processor,
    RawMessage,
    Retry,
)
from missive.letters.deferred import Deferred

Events = list[tuple[str, float]]

EVENTS: st.SearchStrategy[Events] = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), st.floats(0.1, 20.0)),
        st.tuples(st.just("set"), st.sampled_from([-3600.0, 86_400.0, -1.0, 40.0, 3.0])),
        st.tuples(st.just("take"), st.integers(0, 2)),
        st.tuples(st.just("wait"), st.integers(0, 2)),
        st.tuples(st.just("end"), st.integers(0, 2)),
        st.tuples(st.just("kill"), st.integers(0, 2)),
    ),
    min_size=5,
    max_size=60,
)
RETRIES = st.builds(
    Retry,
    attempts=st.integers(1, 5),
    delay=st.floats(0, 100),
    backoff=st.floats(1, 10),
    max_delay=st.floats(0, 3600),
    jitter=st.floats(0, 1),
)
#: How often each message fails.
FAILURES = st.lists(st.integers(0, 6), min_size=1, max_size=4)
#: What must happen in any case: a message is taken twice, its process is killed, its clock is set.
SCENES: tuple[Events, ...] = (
    [("wait", 0), ("take", 1), ("end", 0), ("wait", 1)],
    [("wait", 0), ("kill", 0), ("wait", 1), ("end", 1)],
    [("wait", 0), ("set", 86_400.0), ("wait", 1), ("tick", 20.0), ("end", 0), ("wait", 2)],
    [("wait", 0), ("set", -3600.0), ("wait", 1), ("tick", 20.0), ("end", 0), ("wait", 2)],
)


def scenes(test: Callable[..., None]) -> Callable[..., None]:
    """Add the scenes to a property test of events, a retry and failures, as explicit examples."""
    retry = Retry(attempts=4, delay=10.0, jitter=0.0)
    for events in SCENES:
        test = example(events=events, retry=retry, failures=[3, 6, 1])(test)
    return test


class World:
    """Two clocks: one that only rises, and one that people set."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.set_by = 0.0

    def shift(self, *, seconds: float = 0.0, set_by: float = 0.0) -> None:
        """Let time pass, and set the one clock."""
        self.seconds += seconds
        self.set_by += set_by

    def clock(self) -> float:
        return self.seconds

    def wall(self) -> datetime:
        begin = datetime(2026, 1, 1, tzinfo=timezone.utc)
        return begin + timedelta(seconds=self.seconds + self.set_by)


@contextmanager
def world(*modules: str, made: World | None = None) -> Iterator[World]:
    """Have stores and settlement go by the clock of a world.

    :param modules: those of the store, where that is not in memory.
    :param made: the world; a new one unless given.
    """
    made = made or World()
    with pytest.MonkeyPatch.context() as patch:
        for module in (*modules, "letters.memory", "letters.letter", "letters.deferred", "waiting"):
            patch.setattr(f"missive.{module}.utc_now", made.wall)
        yield made


class Process:
    """A process that takes due messages, without a transport."""

    def __init__(self, world: World, processor: Processor[Any]) -> None:
        store = processor.dlq
        assert isinstance(store, DeadLetterStore)
        self.pump = Deferred(store, lease=60.0, wall=world.wall, clock=world.clock)
        adapter = DeferredAdapter(RawMessage, processor)
        self.ctx = ProcessingContext(RawMessage, adapter, processor, holds=True)
        self.in_flight: list[Any] = []

    def take(self) -> list[Any]:
        taken = self.pump.take(10)
        self.in_flight += taken
        return taken

    def end(self) -> Outcome | None:
        """Handle the oldest message in flight to its end."""
        context = self.ctx.process(self.in_flight.pop(0))
        self.ctx.settle((context,))
        return context.outcome

    def die(self) -> None:
        """End as by SIGKILL: nothing is settled, nothing given back."""
        self.pump.close()


class Simulation:
    """Three processes on one store, and messages that fail so often before they succeed.

    :param failures: how often each message fails.
    :param open_store: opens the store for a process.
    """

    def __init__(
        self,
        time: World,
        retry: Retry,
        failures: list[int],
        open_store: Callable[[], DeadLetterStore],
    ) -> None:
        self.time, self.retry, self.open_store = time, retry, open_store
        self.store = open_store()
        self.failures = {b"%d" % number: count for number, count in enumerate(failures)}
        self.ended: Counter[bytes] = Counter()
        self.begun: Counter[bytes] = Counter()
        self.killed: Counter[bytes] = Counter()
        self.acked: Counter[bytes] = Counter()
        self.set_at = -1e9
        self.processor: Processor[Any] = Processor(retry=retry)
        self.processor.handle_for(missive.otherwise)(self.handle)
        self.processor.set_dlq(self.store)
        self.processes = [self.new_process() for _ in range(3)]

    def new_process(self) -> Process:
        processor: Processor[Any] = Processor(retry=self.retry)
        processor.handle_for(missive.otherwise)(self.handle)
        processor.set_dlq(self.open_store())
        return Process(self.time, processor)

    def handle(self, message: RawMessage, ctx: Any) -> None:
        body = message.raw_data
        self.ended[body] += 1
        if self.ended[body] <= self.failures[body]:
            raise ValueError("no")
        self.acked[body] += 1
        ctx.ack()

    def run(self, events: Events) -> None:
        client = self.processor.test_client()
        for body in self.failures:
            self.begun[body] += 1
            client.send(body, message_id=body)
        for name, value in events:
            getattr(self, f"do_{name}")(value)
        self.finish()
        for process in self.processes:
            process.die()
        for body in self.failures:
            self.check(body)

    def do_tick(self, seconds: float) -> None:
        self.time.shift(seconds=seconds)
        for process in self.processes:
            process.pump.leases.renew()

    def do_set(self, by: float) -> None:
        self.time.shift(set_by=by)
        self.set_at = self.time.seconds
        for process in self.processes:  # as each does every second
            self.take(process)

    def do_take(self, number: float) -> None:
        self.take(self.processes[int(number)])

    def take(self, process: Process) -> None:
        in_flight = {d.raw_data for each in self.processes for d in each.in_flight}
        for delivery in process.take():
            body = delivery.raw_data
            assert body not in in_flight, "handled twice at once"
            self.begun[body] += 1

    def do_wait(self, number: float) -> None:
        """Let time pass until something is due, or the leases of the killed have ended; take it."""
        due = self.store.next_due()
        left = 70.0 if due is None else (due - self.time.wall()).total_seconds()
        while left > 0.0:
            self.do_tick(min(left, 20.0))
            left -= 20.0
        self.take(self.processes[int(number)])

    def do_end(self, number: float) -> None:
        process = self.processes[int(number)]
        if process.in_flight:
            process.end()

    def do_kill(self, number: float) -> None:
        process = self.processes[int(number)]
        self.killed.update(delivery.raw_data for delivery in process.in_flight)
        process.die()
        process.in_flight.clear()
        # One that starts just after the clock was set cannot know that; it takes a moment.
        while self.time.seconds - self.set_at < 40.0:
            self.do_tick(20.0)
        self.processes[int(number)] = self.new_process()

    def finish(self) -> None:
        for _ in range(60):
            for process in self.processes:
                self.take(process)
                while process.in_flight:
                    process.end()
            if not self.store.counts().deferred:
                return
            self.time.shift(seconds=6 * 3600.0)
        raise AssertionError("a message waits for ever")

    def check(self, body: bytes) -> None:
        dead = [letter for letter in self.store.letters() if letter.raw_data == body]
        assert self.acked[body] + len(dead) == 1, "it ended in one way"
        assert self.ended[body] == min(self.failures[body] + 1, self.retry.attempts)
        assert self.begun[body] == self.ended[body] + self.killed[body]
        if dead:
            assert (dead[0].attempt, dead[0].failures) == (self.retry.attempts,) * 2
