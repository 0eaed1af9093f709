"""Telemetry: what metrics and spans add to the cost of a message."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from instrument import Suite

suite = Suite("telemetry", "Telemetry", unit="µs a message", clock="cpu")


def runner(instrument: Callable[[Any], object]) -> Callable[[int], None]:
    """Build a processor of lines with a handler that acks, and have it instrumented."""
    import missive
    from missive.adapters.stdin import StdinAdapter

    processor: Any = missive.Processor()

    @processor.handle_for(missive.otherwise)
    def handle(message: Any, ctx: Any) -> None:
        ctx.ack()

    instrument(processor)

    def run(items: int) -> None:
        StdinAdapter(missive.RawMessage, processor, io.BytesIO(b"Hello\n" * items)).run()

    return run


@suite.variant(
    "without telemetry",
    environment="missive",
    kind="missive",
    semantics="lines from memory, one handler that acks",
)
def bare() -> Callable[[int], None]:
    """Measure a run without telemetry."""
    return runner(lambda processor: None)


@suite.variant(
    "an on_settled hook",
    environment="missive",
    kind="missive",
    semantics="the same, with a hook that does nothing",
)
def hooked() -> Callable[[int], None]:
    """Measure a run with a hook that is told of every message."""
    return runner(lambda processor: processor.on_settled(lambda run, context: None))


@suite.variant(
    "missive-prometheus",
    environment="missive",
    kind="missive",
    semantics="the same, every metric exported",
)
def prometheus() -> Callable[[int], None]:
    """Measure a run with metrics for Prometheus."""
    from missive.prometheus import instrument

    return runner(instrument)


@suite.variant(
    "an around_delivery hook",
    environment="missive",
    kind="missive",
    semantics="the same, with a hook that does nothing",
)
def around() -> Callable[[int], None]:
    """Measure a run with a hook around every message."""

    def hook(run: Any, context: Any) -> Any:
        yield

    return runner(lambda processor: processor.around_delivery(hook))


@suite.variant(
    "missive-opentelemetry, no SDK",
    environment="missive",
    kind="missive",
    semantics="the same, instrumented for an SDK that is not there",
)
def without_sdk() -> Callable[[int], None]:
    """Measure an instrumented run in a process that exports nothing."""
    from missive.opentelemetry import instrument

    return runner(instrument)


def traced(sampler: Any) -> Callable[[int], None]:
    """Measure spans that an exporter throws away, and metrics that nobody reads."""
    from missive.opentelemetry import instrument
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: Any) -> Any:
            return SpanExportResult.SUCCESS

    tracers = TracerProvider(sampler)
    tracers.add_span_processor(BatchSpanProcessor(Nowhere()))
    meters = MeterProvider([InMemoryMetricReader()])
    return runner(
        lambda processor: instrument(processor, tracer_provider=tracers, meter_provider=meters)
    )


@suite.variant(
    "missive-opentelemetry, 1 % sampled",
    environment="missive",
    kind="missive",
    semantics="the same, with the SDK; spans of one message in a hundred, metrics of all",
)
def sampled() -> Callable[[int], None]:
    """Measure what production samples."""
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

    return traced(TraceIdRatioBased(0.01))


@suite.variant(
    "missive-opentelemetry, all sampled",
    environment="missive",
    kind="missive",
    semantics="the same; two spans for each message, exported in batches to nowhere",
)
def recorded() -> Callable[[int], None]:
    """Measure spans for each message."""
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    return traced(ALWAYS_ON)


suite.case("a message", tuple(suite.variants))
