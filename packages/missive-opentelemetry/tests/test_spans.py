"""The spans and metrics of deliveries."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Iterator
from typing import Any

import missive
import pytest
from missive.adapters.stdin import StdinAdapter
from missive.opentelemetry import instrument
from opentelemetry import baggage, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

TRACE, SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
HEADERS = {"traceparent": f"00-{TRACE:032x}-{SPAN:016x}-01", "baggage": "tenant=acme"}
SECRET = "secret-body"

CAPABILITIES = missive.Capabilities(headers=True, delivery="at-least-once", persistent=True)


class Telemetry:
    """What was exported."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader])

    def spans(self, operation: str | None = None) -> list[ReadableSpan]:
        """Return the finished spans, those of one operation or all."""
        return [
            span
            for span in self._exporter.get_finished_spans()
            if operation in (None, (span.attributes or {})["messaging.operation.name"])
        ]

    def points(self, name: str) -> list[Any]:
        """Return the points of a metric."""
        data = self._reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Exporters of the test's own."""
    made = Telemetry()
    yield made
    made.tracers.shutdown()
    made.meters.shutdown()


def instrumented(telemetry: Telemetry, **options: Any) -> missive.Processor[Any]:
    """Return a processor that is traced into the test's exporters."""
    processor: missive.Processor[Any] = missive.Processor(retry=options.pop("retry", None))
    providers = {"tracer_provider": telemetry.tracers, "meter_provider": telemetry.meters}
    instrument(processor, **providers, **options)
    return processor


def deliver(processor: missive.Processor[Any], *bodies: bytes, **envelope: Any) -> None:
    """Send messages through the test client, as from a transport with headers."""
    with processor.test_client(capabilities=CAPABILITIES) as client:
        for body in bodies:
            message = missive.RawMessage(body)
            message.envelope = missive.Envelope(**envelope)
            client.send(message)


def ack_all(processor: missive.Processor[Any]) -> None:
    """Register a handler that acks."""

    @processor.handle_for(missive.otherwise)
    def handle(message: Any, ctx: Any) -> None:
        ctx.ack()


def test_a_delivery_has_a_span_for_handling_and_one_for_settling(telemetry: Telemetry) -> None:
    """Names, kinds and attributes are those of the conventions, with Missive's own beside them."""
    processor = instrumented(telemetry)
    ack_all(processor)
    deliver(processor, b"one", message_id="m-1", source="orders")
    settle, process = telemetry.spans()
    assert (process.name, process.kind) == ("process orders", SpanKind.CONSUMER)
    assert dict(process.attributes or {}) == {
        "messaging.system": "test",
        "messaging.destination.name": "orders",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.message.id": "m-1",
        "missive.handler": f"{__name__}.ack_all.<locals>.handle",
        "missive.attempt": 1,
        "missive.outcome": "acked",
    }
    assert (settle.name, settle.kind) == ("ack orders", SpanKind.CLIENT)
    assert (settle.attributes or {})["messaging.operation.type"] == "settle"
    assert settle.parent == process.context
    assert process.status.status_code is StatusCode.UNSET
    assert (process.start_time or 0) <= (process.end_time or 0) <= (settle.end_time or 0)
    assert settle.start_time == process.end_time


def test_the_senders_span_is_linked(telemetry: Telemetry) -> None:
    """The delivery has a trace of its own, with a link to the sender's span."""
    processor = instrumented(telemetry)
    ack_all(processor)
    deliver(processor, b"one", headers=HEADERS)
    (process,) = telemetry.spans("process")
    assert process.parent is None
    assert process.context.trace_id != TRACE
    (link,) = process.links
    assert (link.context.trace_id, link.context.span_id) == (TRACE, SPAN)


def test_the_senders_span_may_be_the_parent(telemetry: Telemetry) -> None:
    """The delivery then belongs to the sender's trace."""
    processor = instrumented(telemetry, sender="parent")
    ack_all(processor)
    deliver(processor, b"one", headers=HEADERS)
    (process,) = telemetry.spans("process")
    assert process.context.trace_id == TRACE
    assert process.parent is not None
    assert process.parent.span_id == SPAN
    assert not process.links


def test_a_linked_span_is_below_what_is_current(telemetry: Telemetry) -> None:
    """A webhook's delivery is a child of its server's span, and linked to the sender's."""
    processor = instrumented(telemetry)
    ack_all(processor)
    with telemetry.tracers.get_tracer("server").start_as_current_span(
        "POST", attributes={"messaging.operation.name": "post"}
    ) as server:
        deliver(processor, b"one", headers=HEADERS)
    (process,) = telemetry.spans("process")
    assert process.parent == server.get_span_context()
    assert process.links[0].context.span_id == SPAN


@pytest.mark.parametrize("sender", ["link", "parent"])
@pytest.mark.parametrize("kind", ["plain", "async", "plain beside async hooks"])
def test_the_span_is_current_in_handlers_of_every_kind(
    telemetry: Telemetry, sender: Any, kind: str
) -> None:
    """In the handler and in the hooks around it, with the sender's baggage; and no longer after."""
    processor = instrumented(telemetry, sender=sender)
    seen: list[tuple[int, Any]] = []

    def look() -> None:
        span = trace.get_current_span().get_span_context()
        seen.append((span.span_id, baggage.get_baggage("tenant")))

    if kind == "async":

        @processor.handle_for(missive.otherwise)
        async def handle(message: Any, ctx: Any) -> None:
            await asyncio.sleep(0)
            look()
            ctx.ack()

    else:

        @processor.handle_for(missive.otherwise)
        def handle_plainly(message: Any, ctx: Any) -> None:
            look()
            ctx.ack()

    if kind == "plain beside async hooks":

        @processor.before_handling
        async def hook(run: Any, ctx: Any) -> None:
            look()

    deliver(processor, b"one", b"two", headers=HEADERS)
    spans = {span.context.span_id for span in telemetry.spans("process")}
    assert len(spans) == 2
    assert {span for span, _ in seen} == spans
    assert {tenant for _, tenant in seen} == {"acme"}
    assert not trace.get_current_span().get_span_context().is_valid


def test_what_a_handler_logs_has_the_span(telemetry: Telemetry) -> None:
    """A log record that is made in a handler is made while the span is current."""
    processor = instrumented(telemetry)
    found: list[int] = []

    class Handler(logging.Handler):
        """Notes the current span of each record."""

        def emit(self, record: logging.LogRecord) -> None:
            """Note it."""
            found.append(trace.get_current_span().get_span_context().span_id)

    logger, handler = logging.getLogger("test.of.spans"), Handler()
    logger.addHandler(handler)

    @processor.handle_for(missive.otherwise)
    def handle(message: Any, ctx: Any) -> None:
        logger.warning("handling")
        ctx.ack()

    deliver(processor, b"one")
    logger.removeHandler(handler)
    assert found == [span.context.span_id for span in telemetry.spans("process")]


def test_an_error_is_named_and_nothing_of_it_or_the_message_is_exported(
    telemetry: Telemetry,
) -> None:
    """The error's type and the stage are attributes; its text, which may hold content, is not."""
    processor = instrumented(telemetry)
    processor.set_dlq({})

    @processor.handle_for(lambda message: b"bad" in message.raw_data)
    def handle(message: Any, ctx: Any) -> None:
        raise ValueError(message.raw_data)

    deliver(processor, f"bad {SECRET}".encode(), SECRET.encode(), headers={"x": SECRET})
    first, second = telemetry.spans("process")
    assert (first.attributes or {})["error.type"] == "ValueError"
    assert (first.attributes or {})["missive.stage"] == "handling"
    assert (first.attributes or {})["missive.outcome"] == "dead-lettered"
    assert (second.attributes or {})["error.type"] == "missive.errors.NoMatchingHandler"
    assert (second.attributes or {})["missive.stage"] == "matching"
    assert first.status.status_code is second.status.status_code is StatusCode.ERROR
    exported = "".join(span.to_json() for span in telemetry.spans())
    assert SECRET not in exported
    assert SECRET not in str(telemetry.points("messaging.process.duration"))


def test_an_undecodable_message_is_traced_too(telemetry: Telemetry) -> None:
    """A message whose bytes cannot be read has its spans, with the stage it failed in."""
    processor = instrumented(telemetry)
    processor.set_dlq({})

    class Strict(missive.RawMessage):
        """Refuses every message."""

        def __init__(self, raw_data: bytes) -> None:
            super().__init__(raw_data)
            raise ValueError(raw_data)

    StdinAdapter(Strict, processor, io.BytesIO(b"one\n")).run()
    (process,) = telemetry.spans("process")
    assert (process.attributes or {})["missive.stage"] == "decoding"
    assert (process.attributes or {})["messaging.system"] == "stdin"


def test_a_nack_is_settled_as_such(telemetry: Telemetry) -> None:
    """The span of settling is called after what the transport was told."""
    processor = instrumented(telemetry)

    @processor.handle_for(missive.otherwise)
    def handle(message: Any, ctx: Any) -> None:
        ctx.nack()

    deliver(processor, b"one")
    assert [span.name for span in telemetry.spans()] == ["nack", "process"]


def test_an_unsettled_delivery_is_an_error_of_settling(telemetry: Telemetry) -> None:
    """Where nothing keeps a failed message, its settlement failed as well as its handling."""
    processor = instrumented(telemetry)
    with pytest.raises(missive.MissiveError):
        StdinAdapter(missive.RawMessage, processor, io.BytesIO(b"one\n")).run()
    (settle,) = telemetry.spans("ack")
    assert (settle.attributes or {})["error.type"] == "unsettled"
    assert settle.status.status_code is StatusCode.ERROR


def test_the_messages_of_a_batch_share_a_span(telemetry: Telemetry) -> None:
    """It links each sender and counts the messages; each message has a span of its settlement."""
    processor = instrumented(telemetry)
    processor.set_dlq({})
    current: list[int] = []

    @processor.handle_batch_for(missive.otherwise, size=3, wait=60)
    def handle(messages: Any, ctx: Any) -> None:
        current.append(trace.get_current_span().get_span_context().span_id)
        for message in messages[1:]:
            ctx.ack(message)
        raise KeyError(SECRET)

    class Linked(StdinAdapter[Any]):
        """Delivers lines with the headers of a sender."""

        capabilities = missive.Capabilities(headers=True)

        def receive(self, timeout: float) -> Any:
            """Return what was read, with headers."""
            return [missive.Delivery(b"x", headers=HEADERS) for _ in super().receive(timeout)]

    Linked(missive.RawMessage, processor, io.BytesIO(b"1\n2\n3\n4\n5\n6\n")).run()
    spans = telemetry.spans("process")
    assert [(span.attributes or {})["messaging.batch.message_count"] for span in spans] == [3, 3]
    assert [len(span.links) for span in spans] == [3, 3]
    assert current == [span.context.span_id for span in spans]
    assert [(span.attributes or {})["error.type"] for span in spans] == ["KeyError"] * 2
    settled = telemetry.spans("ack")
    assert sorted((span.attributes or {})["missive.outcome"] for span in settled) == [
        *["acked"] * 4,
        *["dead-lettered"] * 2,
    ]


def test_attempts_are_counted(telemetry: Telemetry) -> None:
    """Each attempt at a message is a span of its own, with its number."""
    processor = instrumented(
        telemetry, retry=missive.Retry(attempts=3, delay=0.0, jitter=0.0, in_order=True)
    )
    processor.set_dlq({})

    @processor.handle_for(missive.otherwise)
    def handle(message: Any, ctx: Any) -> None:
        raise ValueError

    class Kept(StdinAdapter[Any]):
        """Plays a transport that keeps what is unsettled."""

        capabilities = missive.Capabilities(delivery="at-least-once", persistent=True)

    Kept(missive.RawMessage, processor, io.BytesIO(b"one\n")).run()
    spans = telemetry.spans("process")
    assert [(span.attributes or {})["missive.attempt"] for span in spans] == [1, 2, 3]
    outcomes = [(span.attributes or {})["missive.outcome"] for span in spans]
    assert outcomes == ["deferred", "deferred", "dead-lettered"]


def test_deliveries_are_measured(telemetry: Telemetry) -> None:
    """The two metrics count deliveries, apart by the type of error."""
    processor = instrumented(telemetry)
    processor.set_dlq({})

    @processor.handle_for(lambda message: message.raw_data == b"good")
    def handle(message: Any, ctx: Any) -> None:
        ctx.ack()

    deliver(processor, b"good", b"good", b"bad", source="orders")
    for name in ("messaging.process.duration", "messaging.client.consumed.messages"):
        by_error = {
            point.attributes.get("error.type"): getattr(point, "count", None) or point.value
            for point in telemetry.points(name)
        }
        assert by_error == {None: 2, "missive.errors.NoMatchingHandler": 1}
        for point in telemetry.points(name):
            assert point.attributes["messaging.system"] == "test"
            assert point.attributes["messaging.destination.name"] == "orders"
            assert point.attributes["messaging.operation.name"] == "process"


def test_many_sources_make_no_more_series(telemetry: Telemetry) -> None:
    """Past a hundred, sources are named neither in metrics nor in the names of spans."""
    processor = instrumented(telemetry)
    ack_all(processor)
    for number in range(150):
        deliver(processor, b"one", source=f"user:{number}")
    # Each test client is an adapter of its own.
    assert len(telemetry.points("messaging.client.consumed.messages")) == 150
    with processor.test_client() as client:
        for number in range(150):
            message = missive.RawMessage(b"one")
            message.envelope = missive.Envelope(source=f"user:{number}")
            client.send(message)
    assert len({span.name for span in telemetry.spans("process")[150:]}) == 101


def test_what_is_not_sampled_is_handled_and_measured_all_the_same() -> None:
    """Where no span is recorded the handler still has a context, and metrics count."""
    telemetry = Telemetry()
    telemetry.tracers = TracerProvider(ALWAYS_OFF)
    processor = instrumented(telemetry)
    seen: list[bool] = []

    @processor.handle_for(missive.otherwise)
    def handle(message: Any, ctx: Any) -> None:
        seen.append(trace.get_current_span().get_span_context().is_valid)
        ctx.ack()

    deliver(processor, b"one")
    assert seen == [True]
    assert not telemetry.spans()
    assert telemetry.points("messaging.client.consumed.messages")[0].value == 1


def test_without_an_sdk_nothing_happens() -> None:
    """Instrumenting needs the API alone."""
    processor: missive.Processor[Any] = missive.Processor()
    instrument(processor)
    ack_all(processor)
    with processor.test_client() as client:
        client.send(missive.RawMessage(b"one"))
        assert len(client.acked) == 1


def test_a_run_that_ends_ends_its_span(telemetry: Telemetry) -> None:
    """What is no Exception passes through, and the span says what it was."""
    processor = instrumented(telemetry)

    @processor.handle_for(missive.otherwise)
    def handle(message: Any, ctx: Any) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        deliver(processor, b"one")
    (process,) = telemetry.spans("process")
    assert (process.attributes or {})["error.type"] == "SystemExit"


def test_instrumenting_twice_traces_once(telemetry: Telemetry) -> None:
    """The command may instrument what the program has instrumented already."""
    processor = instrumented(telemetry)
    instrument(processor, tracer_provider=telemetry.tracers)
    ack_all(processor)
    deliver(processor, b"one")
    assert len(telemetry.spans("process")) == 1


def test_another_word_for_the_sender_is_refused() -> None:
    """Only links and parents are known."""
    wrong: Any = "child"
    with pytest.raises(missive.ConfigurationError, match="'link' or 'parent'"):
        instrument(missive.Processor(), sender=wrong)
