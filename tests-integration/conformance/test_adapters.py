"""Every adapter of this repository, judged by the conformance kit."""

from __future__ import annotations

from missive.conformance import AdapterConformance

from . import harnesses, kafka_harnesses, nats_harnesses


class TestTestAdapter(AdapterConformance):
    harness = harnesses.TestAdapterHarness


class TestStdin(AdapterConformance):
    harness = harnesses.StdinHarness


class TestReplay(AdapterConformance):
    harness = harnesses.ReplayHarness


class TestWSGI(AdapterConformance):
    harness = harnesses.WSGIHarness


class TestPubSub(AdapterConformance):
    harness = harnesses.PubSubHarness


class TestStreams(AdapterConformance):
    harness = harnesses.StreamsHarness


class TestRabbitMQ(AdapterConformance):
    harness = harnesses.RabbitMQHarness


class TestQuorumQueues(AdapterConformance):
    harness = harnesses.QuorumHarness


class TestJetStream(AdapterConformance):
    harness = nats_harnesses.JetStreamHarness


class TestSubjects(AdapterConformance):
    harness = nats_harnesses.SubjectHarness


class TestQueueGroups(AdapterConformance):
    harness = nats_harnesses.QueueGroupHarness


class TestSQS(AdapterConformance):
    harness = harnesses.SQSHarness
    # Between two polls there is no connection to lose; the package's tests judge what is logged.
    test_a118_a_lost_connection_is_logged = None  # type: ignore[assignment]


class TestKafka(AdapterConformance):
    harness = kafka_harnesses.KafkaHarness


class TestTansu(AdapterConformance):
    harness = kafka_harnesses.TansuHarness


class TestTansuWorkers(AdapterConformance):
    harness = kafka_harnesses.TansuWorkersHarness
    # These send to one partition, whose messages are handled one after the other here.
    test_a54_nacks_do_not_hold_up_acks = None  # type: ignore[assignment]
    test_a134_coroutines_run_at_once = None  # type: ignore[assignment]
