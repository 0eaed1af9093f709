"""The metrics: their names, labels and help, once for each registry."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from missive import Outcome
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

#: The upper bounds of the histogram's buckets, in seconds.
BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """What is exported of the runs that share a registry.

    Labels are outcomes, and names that programs declare: handlers, breakers, sources that were
    subscribed to. Ids and keys never are.

    :param registry: where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.received = Counter(
            "missive_messages_received",
            "Deliveries received from the transport.",
            registry=registry,
        )
        self.settled = Counter(
            "missive_messages_settled",
            "Deliveries settled, by outcome.",
            ["outcome"],
            registry=registry,
        )
        for outcome in Outcome:  # so that a rate starts at zero
            self.settled.labels(outcome.value)
        self.in_flight = Gauge(
            "missive_messages_in_flight",
            "Messages that are being handled or wait for a worker.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.seconds = Histogram(
            "missive_processing_seconds",
            "How long handling took, hooks included.",
            ["handler"],
            buckets=BUCKETS,
            registry=registry,
        )
        self.oldest = Gauge(
            "missive_oldest_unsettled_seconds",
            "How long ago the oldest delivery was received that is not settled; 0 without one.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        # Each process measures these for all processes, so the latest value counts.
        self.lag = Gauge(
            "missive_lag",
            "Messages that the transport has and that are not settled; NaN while it cannot say.",
            ["source"],
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.dead_letters = Gauge(
            "missive_dead_letters",
            "Dead letters in the store.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.deferred = Gauge(
            "missive_deferred",
            "Messages in the store that wait for another attempt.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.breaker_open = Gauge(
            "missive_breaker_open",
            "1 while a breaker is open or half-open, else 0.",
            ["breaker"],
            registry=registry,
            multiprocess_mode="livemax",
        )


_metrics: WeakKeyDictionary[CollectorRegistry, Metrics] = WeakKeyDictionary()


def metrics_of(registry: CollectorRegistry) -> Metrics:
    """Return the metrics of a registry, registered on first use."""
    found = _metrics.get(registry)
    if found is None:
        found = _metrics[registry] = Metrics(registry)
    return found
