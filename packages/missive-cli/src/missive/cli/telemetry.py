"""Telemetry: the distributions that measure runs, where they are installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

import click
from missive import Processor

#: Given an ``Accept`` header, returns the content type and the text of the metrics.
Expose = Callable[[str], tuple[str, bytes]]


def load_prometheus() -> Any:
    """Import missive-prometheus.

    :raises click.UsageError: it is not installed.
    """
    return _load("prometheus", "--metrics-port")


def share_metrics(process: int) -> None:
    """Have the metrics of this process exposed by its supervisor.

    :param process: its number.
    """
    load_prometheus().share_metrics(process)


def export_metrics(processor: Processor[Any]) -> Expose:
    """Measure the runs of a processor; return what exposes the metrics.

    :raises click.UsageError: missive-prometheus is not installed.
    """
    prometheus = load_prometheus()
    prometheus.instrument(processor)
    expose: Expose = prometheus.expose
    return expose


def trace_runs(processor: Processor[Any]) -> None:
    """Trace and measure the deliveries of a processor with OpenTelemetry.

    An SDK that the program, or ``opentelemetry-instrument``, has set up is used as it is; else the
    installed distribution of OpenTelemetry sets one up from the environment (``OTEL_...``).

    :raises click.UsageError: missive-opentelemetry is not installed, or nothing would be exported.
    """
    tracing = _load("opentelemetry", "--otel")
    trace = import_module("opentelemetry.trace")
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        configurators = list(entry_points(group="opentelemetry_configurator"))
        if not configurators:
            raise click.UsageError(
                "--otel has nowhere to send to; pip install opentelemetry-distro"
                " opentelemetry-exporter-otlp, or set a TracerProvider in the program"
            )
        for distribution in entry_points(group="opentelemetry_distro"):
            distribution.load()().configure()  # which sets what the environment does not
        configurators[0].load()().configure(auto_instrumentation_version=None)
    tracing.instrument(processor)


def current_span() -> dict[str, str]:
    """Return the ids of the span that is current here, for logs; nothing without one."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return {}
    context: Any = cast("Any", trace).get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def _load(name: str, option: str) -> Any:
    try:
        return import_module(f"missive.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"missive.{name}":
            raise
        raise click.UsageError(
            f"{option} needs missive-{name}; pip install missive-{name}"
        ) from error
