"""One soak: workers under load and faults, and what was seen of them."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from time import monotonic, sleep
from typing import Any

from missive.conformance.lab import AdapterLab
from missive.conformance.proxy import Proxy

from .books import Books, SoakAccount, SoakLedger, Span
from .publisher import Publisher
from .transports import Transport
from .worker import PATIENCE, Worker

#: The part of the capacity at which a soak runs.
LOAD = 0.8
#: For how long the capacity is measured, how often values are taken, how far faults are apart, how
#: long those of them last that last, and how long nothing may move until it is stuck; in seconds.
MEASURED, SAMPLED, APART, LASTING, STUCK = 10.0, 1.0, (5.0, 25.0), (0.5, 3.0), 60.0


@dataclass
class Findings:
    """What a soak finds, in seconds from its beginning where it is a time.

    :ivar capacity: how many messages a second were published, handled and acked without faults.
    :ivar rate: how many were published in a second after that.
    :ivar faults: of each: its kind, when it began, and when it ended.
    :ivar depth: of each sample: when, and how many messages the transport had.
    :ivar workers: for each process, the samples of its life: when, memory in bytes, descriptors.
    """

    capacity: float = 0.0
    rate: float = 0.0
    faults: list[tuple[str, float, float]] = field(default_factory=list[tuple[str, float, float]])
    depth: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    workers: dict[int, list[tuple[float, int, int]]] = field(
        default_factory=dict[int, list[tuple[float, int, int]]]
    )


class Soak:
    """Workers on one transport, its publisher, and the faults that befall them.

    The first of two workers lives through it all, so that it shows what grows; the other is killed and
    stopped. A transport's only worker is killed and stopped too.

    :param transport: what is soaked.
    :param lab: a started lab of the kit.
    :param seed: decides which faults there are, and when.
    """

    def __init__(self, transport: Transport, lab: AdapterLab, seed: int) -> None:
        self.transport = transport
        self.harness: Any = lab.harness
        self.folder = lab.folder / "ledgers"
        self.random = random.Random(f"{transport.title} {seed}")
        self.coming: list[str] = []
        self.findings = Findings()
        self.at_most_once = lab.capabilities.delivery == "at-most-once"
        self.proxy: Proxy | None = lab.proxy() if self.harness.offers("endpoint") else None
        self.ledger = SoakLedger(self.folder / "publisher.ledger")
        self.publisher = Publisher(self.harness, self.ledger)
        self.workers: list[Worker] = []
        self.numbers = count(1)
        self.begun = monotonic()
        self.publisher.start()

    def start_worker(self) -> None:
        """Start a worker, and wait until it is ready."""
        number = next(self.numbers)
        path = self.folder / f"worker-{number}.ledger"
        worker = Worker(self.harness, self.transport.options, path)
        self.workers.append(worker)
        self.wait_for(worker.is_ready, PATIENCE, "a worker was not ready")
        self.findings.workers[number] = []

    def run(self, seconds: float) -> SoakAccount:
        """Find the capacity, publish at a part of it among faults, and close the books."""
        for _ in range(self.transport.workers):
            self.start_worker()
        self.findings.capacity = self.capacity()
        self.findings.rate = LOAD * self.findings.capacity
        self.begun = monotonic()
        self.publisher.go(self.findings.rate)
        while (left := self.begun + seconds - monotonic()) > 0:
            self.watch(min(left, self.random.uniform(*APART)))
            if monotonic() < self.begun + seconds:
                self.strike(self.next_kind())
        self.publisher.halt()
        self.drain()
        self.publisher.end()
        for worker in self.workers:
            worker.stop()
        spans: list[Span] = [
            (self.begun + begin, self.begun + end)
            for kind, begin, end in self.findings.faults
            if kind != "stop" or self.at_most_once
        ]
        books = Books(sorted(self.folder.glob("*.ledger")))
        stuck = max(0, self.harness.remaining())
        return books.account(spans, stuck=stuck, at_most_once=self.at_most_once)

    def close(self) -> None:
        """End what is left of it."""
        self.publisher.end()
        self.ledger.close()
        for worker in self.workers:
            worker.kill()

    # Looking at it.

    def capacity(self) -> float:
        """Return how many messages a second are published, handled and acked."""
        began = monotonic()
        self.publisher.go()
        sleep(MEASURED)
        self.publisher.halt()
        self.drain()
        return self.publisher.published / (monotonic() - began)

    def drain(self) -> None:
        """Wait until the transport has no more messages.

        :raises AssertionError: for a minute, none went.
        """
        least = None
        moved = monotonic()
        while True:
            self.publisher.check()
            self.publisher.count()
            if (
                self.publisher.depth <= 0
            ):  # what was sent again may be counted once, and settled twice
                break
            if least is None or self.publisher.depth < least:
                least, moved = self.publisher.depth, monotonic()
            stuck = f"{self.publisher.depth} messages are left, and no worker takes them"
            assert monotonic() < moved + STUCK, stuck
            sleep(0.05)
        if self.at_most_once:
            sleep(2.0)  # such a transport has nothing, even while messages are on their way

    def watch(self, seconds: float) -> None:
        """Take values, every second, for a while."""
        end = monotonic() + seconds
        while (left := end - monotonic()) > 0:
            self.publisher.check()
            self.sample()
            sleep(min(left, SAMPLED))

    def sample(self) -> None:
        """Note what the workers take, and what the transport has."""
        now = round(monotonic() - self.begun, 1)
        self.findings.depth.append((now, self.publisher.depth))
        for worker in self.workers:
            assert worker.process.poll() is None, f"a worker ended by itself: {worker.tail()}"
            number = int(worker.path.stem.rpartition("-")[2])
            found = (now, worker.memory(), worker.descriptors())
            self.findings.workers[number].append(found)

    def wait_for(self, holds: Callable[[], bool], seconds: float, complaint: str) -> None:
        """Wait until something holds.

        :raises AssertionError: it did not in time.
        """
        deadline = monotonic() + seconds
        while not holds():
            assert monotonic() < deadline, complaint
            sleep(0.02)

    # Faults.

    def kinds(self) -> list[str]:
        """Return the kinds of faults that there can be."""
        kinds = ["kill", "stop", "freeze"]
        if self.proxy is not None:
            kinds += ["reset", "stall"]
        if self.transport.outages and self.harness.offers("kill"):
            kinds += ["restart", "crash"]
        return kinds

    def next_kind(self) -> str:
        """Choose a kind of fault: in a random order, each before any comes a second time."""
        if not self.coming:
            self.coming = self.random.sample(self.kinds(), len(self.kinds()))
        return self.coming.pop()

    def strike(self, kind: str) -> None:
        """Let one fault happen."""
        began = monotonic() - self.begun
        getattr(self, f"_{kind}")()
        ended = monotonic() - self.begun
        self.findings.faults.append((kind, round(began, 1), round(ended, 1)))

    def _kill(self) -> None:
        self.workers.pop().kill()
        self.start_worker()

    def _stop(self) -> None:
        self.workers.pop().stop()
        self.start_worker()

    def _freeze(self) -> None:
        frozen = self.random.choice(self.workers)
        frozen.process.send_signal(signal.SIGSTOP)
        self.watch(self.random.uniform(*LASTING))
        frozen.process.send_signal(signal.SIGCONT)

    def _reset(self) -> None:
        assert self.proxy is not None
        self.proxy.reset()

    def _stall(self) -> None:
        assert self.proxy is not None
        self.proxy.stall()
        self.watch(self.random.uniform(*LASTING))
        self.proxy.resume()

    def _restart(self) -> None:
        self._outage(self.harness.down)

    def _crash(self) -> None:
        self._outage(self.harness.kill)

    def _outage(self, begin: Callable[[], object]) -> None:
        with ExitStack() as stack:
            stack.enter_context(self.publisher.held())
            begin()
            self.watch(self.random.uniform(*LASTING))
            self.harness.up()
