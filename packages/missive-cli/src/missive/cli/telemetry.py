"""Telemetry: the distributions that measure runs, where they are installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import click
from missive import Processor

#: Given an ``Accept`` header, returns the content type and the text of the metrics.
Expose = Callable[[str], tuple[str, bytes]]


def load_prometheus() -> Any:
    """Import missive-prometheus.

    :raises click.UsageError: it is not installed.
    """
    return _load("prometheus", "--metrics-port")


def export_metrics(processor: Processor[Any]) -> Expose:
    """Measure the runs of a processor; return what exposes the metrics.

    :raises click.UsageError: missive-prometheus is not installed.
    """
    prometheus = load_prometheus()
    prometheus.instrument(processor)
    expose: Expose = prometheus.expose
    return expose


def _load(name: str, option: str) -> Any:
    try:
        return import_module(f"missive.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"missive.{name}":
            raise
        raise click.UsageError(
            f"{option} needs missive-{name}; pip install missive-{name}"
        ) from error
