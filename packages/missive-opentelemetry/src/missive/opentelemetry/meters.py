"""The meters: how many messages are consumed, and how long handling takes."""

from __future__ import annotations

from opentelemetry import metrics

from . import conventions as names
from .__about__ import __version__

#: The histogram's bounds, in seconds, as the conventions advise.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


class Meters:
    """Records the metrics of deliveries.

    :param provider: of the meter; the global one unless given.
    """

    def __init__(self, provider: metrics.MeterProvider | None) -> None:
        meter = metrics.get_meter("missive", __version__, provider, names.SCHEMA_URL)
        self._duration = meter.create_histogram(
            names.DURATION,
            unit="s",
            description="Duration of processing operation.",
            explicit_bucket_boundaries_advisory=BOUNDS,
        )
        self._consumed = meter.create_counter(
            names.CONSUMED,
            unit="{message}",
            description="Number of messages that were delivered to the application.",
        )

    def record(self, seconds: float, attributes: dict[str, str]) -> None:
        """Record one delivery.

        :param seconds: how long handling took.
        """
        self._consumed.add(1, attributes)
        self._duration.record(seconds, attributes)
