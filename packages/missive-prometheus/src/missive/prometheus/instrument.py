"""Instrumenting: hooks that measure the runs of a processor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from missive import HandlingContext, ProcessingContext, Processor
from prometheus_client import REGISTRY, CollectorRegistry

from .exporter import INTERVAL, Exporter
from .run import Run

_exporters: WeakKeyDictionary[CollectorRegistry, Exporter] = WeakKeyDictionary()


def instrument(
    processor: Processor[Any],
    *,
    registry: CollectorRegistry = REGISTRY,
    interval: float = INTERVAL,
) -> None:
    """Export metrics of every run of a processor that starts from now on.

    Processors that share a registry share its metrics. A second call for a processor and a
    registry does nothing.

    :param registry: where the metrics are registered; the default registry unless given.
    :param interval: how often to ask the transport for its lag and to count the letters of the
        store, in seconds; that of the first call holds for the registry.
    """
    exporter = _exporters.get(registry)
    if exporter is None:
        exporter = _exporters[registry] = Exporter(registry, interval)
    hooks: list[Any] = processor.hooks.settled
    if any(getattr(hook, "__self__", None) is exporter for hook in hooks):
        return
    watch = _Watch(processor, exporter)
    processor.before_processing(watch.start)
    processor.after_processing(watch.finish)
    processor.on_settled(exporter.note)


class _Watch:
    """The hooks of one processor."""

    def __init__(self, processor: Processor[Any], exporter: Exporter) -> None:
        self._processor = processor
        self._exporter = exporter
        self._runs: dict[int, Run] = {}
        self._sees_deliveries = False

    def start(self, ctx: ProcessingContext[Any]) -> None:
        """Begin to measure a run."""
        run = self._runs[id(ctx)] = Run(ctx)
        if not run.polls and not self._sees_deliveries:
            self._sees_deliveries = True
            self._processor.around_delivery(self._around)
        names = {
            handler.breaker.name or handler.name
            for handler in self._processor.handlers
            if handler.breaker is not None
        }
        self._exporter.add(run, names)

    def finish(self, ctx: ProcessingContext[Any]) -> None:
        """Measure a run for the last time."""
        run = self._runs.pop(id(ctx), None)
        if run is not None:  # else another hook failed before it was started
            self._exporter.remove(run)

    def _around(self, ctx: ProcessingContext[Any], context: HandlingContext[Any]) -> Iterator[None]:
        run = self._runs.get(id(ctx))
        if run is not None:
            run.begin()
        try:
            yield
        finally:
            if run is not None:
                run.end()
