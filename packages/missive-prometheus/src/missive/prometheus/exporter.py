"""The exporter: brings what was measured of all runs into the metrics of a registry."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable
from math import nan
from threading import Event, Lock, Thread
from typing import Any

from missive import HandlingContext, Outcome, ProcessingContext
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from .metrics import metrics_of
from .run import Run

#: How often the transport and the store are asked, in seconds.
INTERVAL = 15.0
#: How often metrics that other processes read are brought up to date, in seconds.
SHARED_INTERVAL = 1.0
#: How many settled deliveries are noted before they are counted.
MOST_NOTED = 4096


class Exporter(Collector):
    """Updates the metrics of a registry when they are collected.

    A settled delivery is only noted; noted ones are counted together, since counting takes locks.
    Where other processes read the metrics, from files, a thread updates them.

    :param registry: where the metrics are.
    :param interval: how often the transport and the store are asked, in seconds.
    """

    def __init__(self, registry: CollectorRegistry, interval: float) -> None:
        registry.register(self)  # before the metrics, so that it is collected before them
        self._metrics = metrics_of(registry)
        self._interval = interval
        self._is_shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        self._noted: deque[tuple[str | None, Outcome | None, float]] = deque()
        #: By handler; to look up labels costs as much as to count (benchmarks/telemetry.py).
        self._observe: dict[str, Callable[[float], None]] = {}
        self._lock = Lock()
        self._runs: list[Run] = []
        self._breakers: set[str] = set()
        self._sources: set[str] = set()
        self._stop = Event()

    # Told by hooks.

    def note(self, ctx: ProcessingContext[Any], context: HandlingContext[Any]) -> None:
        """Note how a delivery ended."""
        handler = context.handler
        outcome = None if context.held else context.outcome
        self._noted.append((None if handler is None else handler.name, outcome, context.seconds))
        if len(self._noted) >= MOST_NOTED:
            with self._lock:
                self._count_noted()

    def add(self, run: Run, breakers: Iterable[str]) -> None:
        """Begin to export a run.

        :param breakers: the names of those that its handlers declare.
        """
        with self._lock:
            self._breakers.update(breakers)
            self._runs.append(run)
            if len(self._runs) == 1:
                self._stop = Event()
                Thread(
                    target=self._keep_measuring,
                    args=(self._stop,),
                    name="missive-prometheus",
                    daemon=True,
                ).start()

    def remove(self, run: Run) -> None:
        """Export a run for the last time."""
        with self._lock:
            self._update()
            self._runs.remove(run)
            self._update()
            if not self._runs:
                self._stop.set()

    # For the registry.

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the metrics describe themselves."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Bring the metrics, which are collected after this, up to date."""
        with self._lock:
            self._update()
        return ()

    def _keep_measuring(self, stop: Event) -> None:
        left = 0.0
        wait = min(SHARED_INTERVAL, self._interval) if self._is_shared else self._interval
        while True:
            if left <= 0:
                left = self._interval
                for run in list(self._runs):
                    run.measure()
            with self._lock:
                self._update()
            if stop.wait(wait):
                return
            left -= wait

    def _update(self) -> None:
        metrics, runs = self._metrics, self._runs
        self._count_noted()
        metrics.received.inc(sum(run.take_received() for run in runs))
        metrics.in_flight.set(sum(run.in_flight() for run in runs))
        metrics.oldest.set(max((run.oldest_unsettled() for run in runs), default=0.0))
        is_open = {name for run in runs for name in run.open_breakers()}
        self._breakers |= is_open
        for name in self._breakers:
            metrics.breaker_open.labels(name).set(name in is_open)
        self._update_lag()
        by_store = {id(run.store): run for run in runs if run.store is not None}
        if by_store:
            metrics.dead_letters.set(sum(run.dead_letters for run in by_store.values()))
            metrics.deferred.set(sum(run.deferred for run in by_store.values()))

    def _update_lag(self) -> None:
        lags = [(name, lag) for run in self._runs for name, lag in run.lag.items()]
        self._sources |= {name for name, _ in lags}
        for source in self._sources:
            known = [nan if lag is None else float(lag) for name, lag in lags if name == source]
            self._metrics.lag.labels(source).set(sum(known) if known else nan)

    def _count_noted(self) -> None:
        outcomes: Counter[Outcome] = Counter()
        for _ in range(len(self._noted)):
            handler, outcome, seconds = self._noted.popleft()
            if outcome is not None:
                outcomes[outcome] += 1
            if handler is not None:
                observe = self._observe.get(handler)
                if observe is None:
                    observe = self._metrics.seconds.labels(handler).observe
                    self._observe[handler] = observe
                observe(seconds)
        for outcome, count in outcomes.items():
            self._metrics.settled.labels(outcome.value).inc(count)
