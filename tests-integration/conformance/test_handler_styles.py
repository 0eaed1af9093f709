"""Adapters judged with handlers that are coroutines, and with batches; in the longer profiles.

Those that meet faults are killed and cut off in ``./dev faults``, the others in ``./dev soak``.
"""

from __future__ import annotations

from missive.conformance import AdapterConformance

from . import harnesses


class StdinStyles(AdapterConformance):
    harness = harnesses.StdinHarness


class StreamsStyles(AdapterConformance):
    harness = harnesses.StreamsHarness


class RabbitMQStyles(AdapterConformance):
    harness = harnesses.RabbitMQHarness


class TestStdinAsync(StdinStyles):
    handlers = "async"


class TestStdinBatchOfOne(StdinStyles):
    handlers = "batch:1"


class TestStdinBatch(StdinStyles):
    handlers = "batch:7"


class TestStdinLargeBatch(StdinStyles):
    handlers = "batch:100"


class TestStreamsAsync(StreamsStyles):
    handlers = "async"
    meets_faults = True


class TestStreamsBatchOfOne(StreamsStyles):
    handlers = "batch:1"


class TestStreamsBatch(StreamsStyles):
    handlers = "batch:7"
    meets_faults = True


class TestStreamsLargeBatch(StreamsStyles):
    handlers = "batch:100"


class TestRabbitMQAsync(RabbitMQStyles):
    handlers = "async"


class TestRabbitMQBatchOfOne(RabbitMQStyles):
    handlers = "batch:1"


class TestRabbitMQBatch(RabbitMQStyles):
    handlers = "batch:7"


class TestRabbitMQLargeBatch(RabbitMQStyles):
    handlers = "batch:100"
