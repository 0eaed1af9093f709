"""What is exported of a run."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from typing import Any

import missive
import pytest
from missive.adapters.stdin import StdinAdapter
from missive.polling import EndOfInput, PollingAdapter
from missive.prometheus import expose, instrument
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

DEADLINE = 30.0
SECRET = b"secret-body"


def samples(registry: CollectorRegistry) -> dict[str, float]:
    """Return the samples of a registry as Prometheus reads them, by name and labels."""
    content_type, text = expose("", registry)
    assert content_type.startswith("text/plain")
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry of the test's own."""
    return CollectorRegistry()


@pytest.fixture
def processor(registry: CollectorRegistry) -> missive.Processor[Any]:
    """An instrumented processor that acks, fails, or nacks by what a message says."""
    processor: missive.Processor[Any] = missive.Processor()
    processor.set_dlq(missive.MemoryDLQ())

    @processor.handle_for(lambda message: message.raw_data.startswith(b"good"))
    def good(message: Any, ctx: Any) -> None:
        ctx.ack()

    @processor.handle_for(lambda message: message.raw_data.startswith(b"bad"))
    def bad(message: Any, ctx: Any) -> None:
        raise ValueError

    instrument(processor, registry=registry)
    return processor


class Waiting(PollingAdapter[Any]):
    """Delivers what it is given, then waits until it is stopped, and has a lag."""

    lag: Any = None

    def __init__(self, processor: missive.Processor[Any], *bodies: bytes, **options: Any) -> None:
        super().__init__(missive.RawMessage, processor, **options)
        self._batch: Sequence[bytes] = bodies

    def open(self) -> None:
        """Connect to nothing."""

    def close(self) -> None:
        """Close nothing."""

    def receive(self, timeout: float) -> Sequence[bytes]:
        """Return everything, once."""
        batch, self._batch = self._batch, ()
        if not batch:
            self.wait(timeout)
        return batch

    def ack(self, message: Any) -> None:
        """Take an ack."""

    def nack(self, message: Any) -> None:
        """Take a nack."""

    def lag_by_source(self) -> dict[str, int] | None:
        """Return or raise what the test wants."""
        return self.lag() if callable(self.lag) else self.lag


class Running:
    """An adapter that runs in a thread."""

    def __init__(self, adapter: Any) -> None:
        self.adapter = adapter
        self._thread = threading.Thread(target=adapter.run)

    def __enter__(self) -> Running:
        self._thread.start()
        assert self.adapter.ready.wait(DEADLINE)
        return self

    def __exit__(self, *exception: object) -> None:
        self.adapter.stop()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()


def eventually(condition: Any) -> None:
    """Wait until something holds."""
    waiting = threading.Event()
    for _ in range(int(DEADLINE / 0.01)):
        if condition():
            return
        waiting.wait(0.01)
    pytest.fail("it never came true")


def test_a_run_counts_what_it_received_and_how_that_was_settled(
    processor: missive.Processor[Any], registry: CollectorRegistry
) -> None:
    """Received, settled by outcome, and a histogram by handler; outcomes that did not occur are 0."""
    StdinAdapter(missive.RawMessage, processor, io.BytesIO(b"good\ngood\nbad\nnobody\n")).run()
    found = samples(registry)
    assert found["missive_messages_received_total"] == 4
    assert found["missive_messages_settled_total{outcome=acked}"] == 2
    assert found["missive_messages_settled_total{outcome=dead-lettered}"] == 2
    assert found["missive_messages_settled_total{outcome=nacked}"] == 0
    assert found["missive_messages_settled_total{outcome=deferred}"] == 0
    handlers = [name for name in found if name.startswith("missive_processing_seconds_count")]
    assert len(handlers) == 2  # what no handler took is no handling
    assert sum(found[name] for name in handlers) == 3
    assert found["missive_messages_in_flight"] == 0


def test_several_runs_add_up(
    processor: missive.Processor[Any], registry: CollectorRegistry
) -> None:
    """A counter goes on over the runs of one adapter, and of another, and never falls."""
    adapter = StdinAdapter(missive.RawMessage, processor, io.BytesIO(b"good\n"))
    adapter.run()
    adapter.run()
    StdinAdapter(missive.RawMessage, processor, io.BytesIO(b"good\ngood\n")).run()
    found = samples(registry)
    assert found["missive_messages_received_total"] == 3
    assert found["missive_messages_settled_total{outcome=acked}"] == 3


def test_what_is_in_flight_is_measured_when_it_is_asked(
    processor: missive.Processor[Any], registry: CollectorRegistry
) -> None:
    """While a handler runs its message is in flight, and it is the oldest that is unsettled."""
    seen: list[dict[str, float]] = []

    @processor.handle_for(lambda message: message.raw_data == b"look")
    def look(message: Any, ctx: Any) -> None:
        seen.append(samples(registry))
        ctx.ack()

    StdinAdapter(missive.RawMessage, processor, io.BytesIO(b"look\n")).run()
    assert seen[0]["missive_messages_in_flight"] == 1
    assert seen[0]["missive_oldest_unsettled_seconds"] > 0
    assert seen[0]["missive_messages_received_total"] == 1
    assert samples(registry)["missive_oldest_unsettled_seconds"] == 0


def test_an_adapter_that_does_not_count_is_counted_by_hooks(
    processor: missive.Processor[Any], registry: CollectorRegistry
) -> None:
    """Webhooks and the test client have no status, and are measured all the same."""
    seen: list[dict[str, float]] = []

    @processor.handle_for(lambda message: message.raw_data == b"look")
    def look(message: Any, ctx: Any) -> None:
        seen.append(samples(registry))
        ctx.ack()

    with processor.test_client() as client:
        client.send(missive.RawMessage(b"good"))
        client.send(missive.RawMessage(b"look"))
    found = samples(registry)
    assert found["missive_messages_received_total"] == 2
    assert found["missive_messages_settled_total{outcome=acked}"] == 2
    assert seen[0]["missive_messages_in_flight"] == 1
    assert found["missive_messages_in_flight"] == 0


def test_lag_is_measured_by_source_and_is_nan_while_it_is_unknown(
    processor: missive.Processor[Any], registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """A transport that cannot be asked is named in the log once, and its lag is not a number."""
    processor = missive.Processor()
    instrument(processor, registry=registry, interval=0.01)
    adapter = Waiting(processor)
    adapter.lag = {"orders": 7, "returns": 0}
    name = "missive_lag{source=orders}"

    def fail() -> None:
        raise OSError(SECRET)

    with Running(adapter):
        eventually(lambda: samples(registry).get(name) == 7)
        assert samples(registry)["missive_lag{source=returns}"] == 0
        adapter.lag = fail
        eventually(lambda: samples(registry)[name] != samples(registry)[name])
        adapter.lag = {"orders": 9}
        eventually(lambda: samples(registry)[name] == 9)
    assert caplog.text.count("the lag cannot be measured: OSError") == 1
    assert SECRET.decode() not in caplog.text


def test_letters_are_counted_in_the_store(registry: CollectorRegistry) -> None:
    """Dead letters and deferred messages of the store are exported while a run uses it."""
    processor: missive.Processor[Any] = missive.Processor(retry=missive.Retry(delay=300))
    processor.set_dlq(missive.MemoryDLQ())
    instrument(processor, registry=registry, interval=0.01)

    @processor.handle_for(lambda message: message.raw_data == b"later")
    def later(message: Any, ctx: Any) -> None:
        raise ValueError

    with Running(Waiting(processor, b"later", b"nobody")):
        eventually(lambda: samples(registry)["missive_deferred"] == 1)
        eventually(lambda: samples(registry)["missive_dead_letters"] == 1)
    assert samples(registry)["missive_messages_settled_total{outcome=deferred}"] == 1


@pytest.mark.parametrize("dlq", [{}, None])
def test_a_plain_mapping_counts_as_dead_letters(
    registry: CollectorRegistry, dlq: dict[Any, Any] | None
) -> None:
    """A DLQ that is no store counts its letters; without a DLQ there are none."""
    processor: missive.Processor[Any] = missive.Processor()
    processor.set_dlq(dlq)
    instrument(processor, registry=registry, interval=0.01)
    bodies = [] if dlq is None else [b"nobody"]
    with Running(Waiting(processor, *bodies)):
        eventually(lambda: samples(registry)["missive_dead_letters"] == len(bodies))


def test_a_breaker_is_exported_before_it_opens_and_while_it_is_open(
    registry: CollectorRegistry,
) -> None:
    """It is 0 from the start of the run and 1 while open, by the name that it is declared with."""
    breaker = missive.Breaker(on=OSError, failures=1, pause=300, name="bank")
    processor: missive.Processor[Any] = missive.Processor()
    processor.set_dlq(missive.MemoryDLQ())
    instrument(processor, registry=registry)
    seen: list[float] = []
    name = "missive_breaker_open{breaker=bank}"

    @processor.handle_for(missive.otherwise, breaker=breaker)
    def pay(message: Any, ctx: Any) -> None:
        seen.append(samples(registry)[name])
        raise OSError

    with Running(Waiting(processor, b"pay")):
        eventually(lambda: samples(registry)[name] == 1)
    assert seen == [0]


def test_labels_hold_no_id_no_key_and_no_content(
    processor: missive.Processor[Any], registry: CollectorRegistry
) -> None:
    """Whatever ids, sources, headers and bodies are, the labels stay those that were declared."""
    with processor.test_client() as client:
        for number in range(50):
            message = missive.RawMessage(b"good %d %s" % (number, SECRET))
            message.envelope = missive.Envelope(
                message_id=b"id-%d" % number, headers={"key": "k"}, source=f"user:{number}"
            )
            client.send(message)
    text = expose("", registry)[1].decode()
    assert all(word not in text for word in ("secret", "id-", "user:"))
    assert samples(registry)["missive_messages_settled_total{outcome=acked}"] == 50


def test_instrumenting_twice_counts_once(
    processor: missive.Processor[Any], registry: CollectorRegistry
) -> None:
    """The command may instrument what the program has instrumented already."""
    instrument(processor, registry=registry)
    StdinAdapter(missive.RawMessage, processor, io.BytesIO(b"good\n")).run()
    assert samples(registry)["missive_messages_settled_total{outcome=acked}"] == 1


def test_many_deliveries_are_counted_without_being_asked(
    processor: missive.Processor[Any], registry: CollectorRegistry
) -> None:
    """What is noted is counted from time to time, so that it takes no more memory."""
    StdinAdapter(missive.RawMessage, processor, io.BytesIO(b"good\n" * 10_000)).run()
    assert samples(registry)["missive_messages_settled_total{outcome=acked}"] == 10_000


def test_an_unsettled_delivery_is_no_outcome(registry: CollectorRegistry) -> None:
    """What ends a run unsettled was received, and is counted under no outcome."""
    processor: missive.Processor[Any] = missive.Processor()
    instrument(processor, registry=registry)
    with pytest.raises(missive.MissiveError):
        StdinAdapter(missive.RawMessage, processor, io.BytesIO(b"nobody\n")).run()
    found = samples(registry)
    settled = [name for name in found if name.startswith("missive_messages_settled_total")]
    assert found["missive_messages_received_total"] == 1
    assert sum(found[name] for name in settled) == 0


def test_a_message_held_for_a_retry_is_settled_once(registry: CollectorRegistry) -> None:
    """Each attempt is a handling; only the last ends the message."""
    processor: missive.Processor[Any] = missive.Processor(
        retry=missive.Retry(attempts=3, delay=0.001, in_order=True)
    )
    dlq: dict[Any, Any] = {}
    processor.set_dlq(dlq)
    instrument(processor, registry=registry)
    attempts: list[int] = []

    class Once(Waiting):
        """Ends when its input does."""

        capabilities = missive.Capabilities(delivery="at-least-once", persistent=True)

        def receive(self, timeout: float) -> Sequence[bytes]:
            """Return everything, once."""
            if not self._batch:
                raise EndOfInput
            return super().receive(timeout)

    @processor.handle_for(missive.otherwise)
    def fail(message: Any, ctx: Any) -> None:
        attempts.append(ctx.attempt)
        raise ValueError

    Once(processor, b"one").run()
    found = samples(registry)
    settled = [name for name in found if name.startswith("missive_messages_settled_total")]
    assert attempts == [1, 2, 3]
    assert found["missive_messages_settled_total{outcome=dead-lettered}"] == 1
    assert sum(found[name] for name in settled) == 1
    (count,) = [name for name in found if name.startswith("missive_processing_seconds_count")]
    assert found[count] == 3
