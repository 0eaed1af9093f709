"""The adapter with a real server: delivery, settlement, envelope."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import missive
import pytest
from missive.adapters.rabbitmq import RabbitMQAdapter, RabbitMQRefused
from patience import eventually
from rabbitmq_server import Client, RabbitMQServer
from recorder import Recorder
from running import Running

KINDS = pytest.mark.parametrize("kind", ["classic", "quorum"])


def adapter_of(recorder: Recorder, server: RabbitMQServer, *queues: str, **options: Any) -> Any:
    """Build an adapter for queues of the shared server."""
    return RabbitMQAdapter(
        missive.RawMessage,
        recorder.processor,
        queues,
        server.url,
        **{"retry_after": 0.2, **options},
    )


@KINDS
@pytest.mark.parametrize("workers", [1, 8])
def test_messages_are_handled_in_order_and_acked(
    server: RabbitMQServer, client: Client, kind: str, workers: int
) -> None:
    """All that is published is handled once; with one worker in order; and gone afterwards."""
    queue, recorder = client.queue(kind), Recorder()
    bodies = [b"%d" % number for number in range(350)]
    client.publish(queue, *bodies)
    with Running(adapter_of(recorder, server, queue, workers=workers)):
        recorder.wait_for(350)
    assert sorted(recorder.bodies) == sorted(bodies)
    assert workers > 1 or recorder.bodies == bodies
    eventually(lambda: client.ready(queue) == 0, "messages were left")
    assert client.drained(queue) == []


def test_the_envelope_says_what_the_broker_said(server: RabbitMQServer, client: Client) -> None:
    """Id, source, headers, properties and pika's own objects are there."""
    queue, recorder = client.queue(), Recorder()
    client.publish(
        queue,
        b"\x00\xff",
        message_id="m-1",
        correlation_id="c-1",
        content_type="text/plain",
        timestamp=7,
        priority=3,
        headers={"Customer": "Ada", "n": 5},
    )
    with Running(adapter_of(recorder, server, queue)):
        recorder.wait_for(1)
    (message,) = recorder.messages
    assert (message.raw_data, message.message_id, message.source) == (b"\x00\xff", b"m-1", queue)
    assert message.headers == {
        "content-type": "text/plain",
        "correlation-id": "c-1",
        "message-id": "m-1",
        "priority": "3",
        "timestamp": "7",
        "Customer": "Ada",
        "n": "5",
    }
    assert message.delivery_count is None
    assert message.native.method.redelivered is False
    assert message.native.properties.priority == 3


def test_a_nacked_message_returns_after_retry_after_and_others_go_on(
    server: RabbitMQServer, client: Client
) -> None:
    """A nack holds the message back; those behind it are handled meanwhile; counts rise by one."""
    queue = client.queue("quorum")

    def act(message: Any, ctx: Any) -> None:
        if message.raw_data == b"again" and message.delivery_count < 3:
            ctx.nack()
        else:
            ctx.ack()

    recorder = Recorder(act)
    client.publish(queue, b"again", b"other")
    with Running(adapter_of(recorder, server, queue)):
        recorder.wait_for(4)
    assert recorder.bodies == [b"again", b"other", b"again", b"again"]
    counts = [m.delivery_count for m in recorder.messages if m.raw_data == b"again"]
    assert counts == [1, 2, 3]
    eventually(lambda: client.ready(queue) == 0, "messages were left")


def test_a_message_that_is_never_settled_is_dead_lettered(
    server: RabbitMQServer, client: Client
) -> None:
    """After max_deliveries a message of a quorum queue goes to the DLQ without being handled."""
    queue = client.queue("quorum")
    recorder = Recorder(lambda message, ctx: ctx.nack())
    dlq = missive.MemoryDLQ()
    recorder.processor.set_dlq(dlq)
    client.publish(queue, b"never")
    with Running(adapter_of(recorder, server, queue, max_deliveries=3, retry_after=0.05)):
        eventually(lambda: len(dlq) == 1, "no letter came")
    assert recorder.bodies == [b"never"] * 3
    assert [reason for _, reason in dlq.values()] == ["delivered 3 times without being settled"]
    assert client.drained(queue) == []


@KINDS
def test_what_was_not_handled_returns_at_once(
    server: RabbitMQServer, client: Client, kind: str
) -> None:
    """When run ends, messages that were sent ahead are in their queue again."""
    queue = client.queue(kind)
    recorder = Recorder()
    adapter = adapter_of(recorder, server, queue)

    def stop(message: Any, ctx: Any) -> None:
        ctx.ack()
        adapter.stop()

    recorder.act = stop
    client.publish(queue, *[b"%d" % number for number in range(50)])
    adapter.run()
    eventually(lambda: client.ready(queue) == 49, "not all came back")
    assert recorder.bodies == [b"0"]


@pytest.mark.parametrize("workers", [1, 4])
def test_a_long_handler_keeps_its_connection(
    server: RabbitMQServer, client: Client, workers: int
) -> None:
    """A handler that takes far longer than the heartbeat is delivered to once and its ack arrives."""
    queue, over = client.queue(), threading.Event()
    recorder = Recorder(lambda message, ctx: (over.wait(5.0), ctx.ack()))
    client.publish(queue, b"long")
    url = server.url.replace("heartbeat=2", "heartbeat=1")
    adapter = RabbitMQAdapter(missive.RawMessage, recorder.processor, [queue], url, workers=workers)
    with Running(adapter):
        recorder.wait_for(1)
        eventually(lambda: adapter.status().acked == 1, "it was not acked")
    assert recorder.bodies == [b"long"]
    assert adapter.status().reconnections == 0
    assert client.drained(queue) == []


def test_a_limit_of_the_queue_that_is_too_low_is_refused(
    server: RabbitMQServer, client: Client
) -> None:
    """A quorum queue that would drop a message before it is dead-lettered is not read."""
    queue = client.queue("quorum", x_delivery_limit=5, x_max_length=1000)
    with pytest.raises(missive.ConfigurationError, match="x-delivery-limit"):
        adapter_of(Recorder(), server, queue).run()
    queue = client.queue("quorum", x_delivery_limit=6, x_overflow="reject-publish")
    with Running(adapter_of(Recorder(), server, queue)):
        pass


def test_a_stream_is_refused(server: RabbitMQServer, client: Client) -> None:
    """A stream is not a queue, and the error says what to do."""
    with pytest.raises(missive.ConfigurationError, match="stream"):
        adapter_of(Recorder(), server, client.queue("stream")).run()


@pytest.mark.faults
def test_a_stream_is_refused_at_its_first_message_without_the_permission_to_ask(
    server: RabbitMQServer, client: Client
) -> None:
    """A user who may not configure the queue does not read a stream as if it were a queue."""
    queue, recorder = client.queue("stream"), Recorder()
    server.control("add_user", "reader", "reader")
    server.control("set_permissions", "reader", "^$", "^$", ".*")
    url = server.url.replace("guest:guest", "reader:reader")
    adapter = RabbitMQAdapter(missive.RawMessage, recorder.processor, [queue], url)
    with Running(adapter) as running:
        client.publish(queue, b"kept")
        error = running.fails()
    assert isinstance(error, missive.ConfigurationError)
    assert "stream" in str(error)
    assert recorder.bodies == []


@KINDS
@pytest.mark.parametrize("forged", ["many", 10**9, -5, {"n": 1}])
def test_a_delivery_count_that_a_publisher_wrote_counts_for_nothing(
    server: RabbitMQServer, client: Client, kind: str, forged: Any
) -> None:
    """An x-delivery-count that RabbitMQ did not set is a header, and stops nothing."""
    queue, recorder = client.queue(kind), Recorder()
    client.publish(queue, b"forged", headers={"x-delivery-count": forged})
    client.publish(queue, b"next")
    with Running(adapter_of(recorder, server, queue)):
        recorder.wait_for(2)
    expected = 1 if kind == "quorum" else None
    assert [message.delivery_count for message in recorder.messages] == [expected] * 2
    assert client.drained(queue) == []


def test_headers_of_every_type_are_texts(server: RabbitMQServer, client: Client) -> None:
    """Tables, lists, decimals, bytes and timestamps are texts in headers, and as they were in native."""
    queue, recorder = client.queue(), Recorder()
    headers = {
        "table": {"a": 1, "b": [True, None]},
        "price": Decimal("1.25"),
        "bytes": b"\x00\xff",
        "at": datetime(2020, 1, 1, tzinfo=timezone.utc),
        "none": None,
        "big": 2**40,
    }
    client.publish(queue, b"odd", headers=headers)
    with Running(adapter_of(recorder, server, queue)):
        recorder.wait_for(1)
    (message,) = recorder.messages
    assert dict(message.headers) == {
        "table": "{'a': 1, 'b': [True, None]}",
        "price": "1.25",
        "bytes": "\x00\udcff",
        "at": "2020-01-01 00:00:00+00:00",
        "big": "1099511627776",
    }
    assert message.native.properties.headers["price"] == Decimal("1.25")


def test_single_active_consumers_take_turns(server: RabbitMQServer, client: Client) -> None:
    """On a queue with a single active consumer the second takes over when the first has gone."""
    queue = client.queue("quorum", x_single_active_consumer=True)
    first, second = Recorder(), Recorder()
    with Running(adapter_of(second, server, queue)), Running(adapter_of(first, server, queue)):
        client.publish(queue, b"1", b"2")
        second.wait_for(2)
        assert first.bodies == []
    with Running(adapter_of(first, server, queue)):
        client.publish(queue, b"3")
        first.wait_for(1)


def test_a_missing_queue_is_refused_unless_it_is_declared(
    server: RabbitMQServer, client: Client
) -> None:
    """A queue that does not exist ends run at once; with declare it is made."""
    with pytest.raises(RabbitMQRefused, match="NOT_FOUND"):
        adapter_of(Recorder(), server, "not-there").run()
    recorder = Recorder()
    with Running(adapter_of(recorder, server, "made-by-declare", declare=True)):
        client.publish("made-by-declare", b"first")
        recorder.wait_for(1)
    assert recorder.messages[0].delivery_count == 1


@pytest.mark.parametrize(
    ("wrong", "code"), [("guest:wrong@127.0.0.1:{}/", 403), ("guest:guest@127.0.0.1:{}/nope", 530)]
)
def test_wrong_credentials_and_hosts_are_refused(
    server: RabbitMQServer, wrong: str, code: int
) -> None:
    """A wrong password and an unknown virtual host end run at once, with a code and a remedy."""
    url = "amqp://" + wrong.format(server.port)
    adapter = RabbitMQAdapter(missive.RawMessage, Recorder().processor, ["q"], url)
    with pytest.raises(RabbitMQRefused, match="check") as caught:
        adapter.run()
    assert caught.value.code == code
    assert "wrong" not in str(caught.value)


def test_a_deleted_queue_is_waited_for(
    server: RabbitMQServer, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """A queue that is deleted under its consumer is read again when it is back, with one warning."""
    queue, recorder = client.queue(), Recorder()
    adapter = adapter_of(recorder, server, queue)
    with Running(adapter):
        client.channel.queue_delete(queue)
        eventually(lambda: not adapter.ready.is_set(), "the deletion was not noticed")
        client.channel.queue_declare(queue, durable=True)
        assert adapter.ready.wait(20.0)
        client.publish(queue, b"after")
        recorder.wait_for(1)
    said = [r for r in caplog.records if "deleted or moved" in r.getMessage()]
    assert len(said) == 1
    assert adapter.status().reconnections == 0


@pytest.mark.parametrize(
    ("kind", "arguments"), [("quorum", {"x_delivery_limit": 3}), ("stream", {})]
)
def test_a_queue_that_returns_as_what_cannot_be_read_is_refused(
    server: RabbitMQServer, client: Client, kind: str, arguments: dict[str, Any]
) -> None:
    """A queue that is made anew while its consumer waits is looked at as at the start."""
    queue = client.queue()
    adapter = adapter_of(Recorder(), server, queue)
    with Running(adapter) as running:
        client.channel.queue_delete(queue)
        eventually(lambda: not adapter.ready.is_set(), "the deletion was not noticed")
        client.queue(kind, queue, **arguments)
        error = running.fails()
    assert isinstance(error, missive.ConfigurationError)
    assert queue in str(error)


def test_a_queue_that_returns_as_a_quorum_queue_counts(
    server: RabbitMQServer, client: Client
) -> None:
    """A classic queue that is replaced by a quorum queue counts deliveries from then on."""
    queue, recorder = client.queue(), Recorder()
    adapter = adapter_of(recorder, server, queue)
    with Running(adapter):
        client.channel.queue_delete(queue)
        eventually(lambda: not adapter.ready.is_set(), "the deletion was not noticed")
        client.queue("quorum", queue)
        client.publish(queue, b"counted")
        recorder.wait_for(1)
    assert recorder.messages[0].delivery_count == 1


def test_lag_counts_what_is_ready(server: RabbitMQServer, client: Client) -> None:
    """lag() counts what waits in each queue, and says which queue is missing."""
    queue = client.queue()
    client.publish(queue, b"1", b"2")
    adapter = adapter_of(Recorder(), server, queue)
    assert (adapter.lag().ready, adapter.lag().consumers) == (2, 0)
    assert adapter.lag().queues == {queue: 2}
    assert adapter.lag_by_source() == {queue: 2}
    with pytest.raises(RabbitMQRefused, match="NOT_FOUND"):
        adapter_of(Recorder(), server, "not-there").lag()


def test_batches_of_more_than_prefetch_are_filled(server: RabbitMQServer, client: Client) -> None:
    """A batch handler whose size is above prefetch gets full batches."""
    queue = client.queue()
    processor: missive.Processor[Any] = missive.Processor()
    sizes: list[int] = []

    @processor.handle_batch_for(missive.otherwise, size=150, wait=5.0)
    def handle(messages: Any, ctx: Any) -> None:
        sizes.append(len(messages))
        ctx.ack_rest()

    client.publish(queue, *[b"%d" % number for number in range(300)])
    adapter = RabbitMQAdapter(missive.RawMessage, processor, [queue], server.url, prefetch=10)
    with Running(adapter):
        eventually(lambda: adapter.status().acked == 300, "not all were acked")
    assert sizes == [150, 150]
    assert client.drained(queue) == []


def test_coroutines_run_side_by_side(server: RabbitMQServer, client: Client) -> None:
    """Async handlers are all begun before the first returns, and each is acked."""
    queue = client.queue()
    processor: missive.Processor[Any] = missive.Processor()
    begun: list[Any] = []
    all_begun = asyncio.Event()

    @processor.handle_for(missive.otherwise)
    async def handle(message: Any, ctx: Any) -> None:
        begun.append(message)
        if len(begun) == 20:
            all_begun.set()
        await asyncio.wait_for(all_begun.wait(), 20.0)
        ctx.ack()

    client.publish(queue, *[b"%d" % number for number in range(20)])
    adapter = RabbitMQAdapter(missive.RawMessage, processor, [queue], server.url)
    with Running(adapter):
        eventually(lambda: adapter.status().acked == 20, "not all were acked")
    assert client.drained(queue) == []


def test_what_was_acked_before_a_failure_is_settled(server: RabbitMQServer, client: Client) -> None:
    """Without a DLQ an exception ends run, and the ack of another worker still arrives."""
    queue, first_in, gate = client.queue(), threading.Event(), threading.Event()

    def act(message: Any, ctx: Any) -> None:
        if message.raw_data == b"bad":
            first_in.wait(20)
            gate.set()
            raise LookupError("one worker fails")
        first_in.set()
        gate.wait(20)
        ctx.ack()

    recorder = Recorder(act)
    client.publish(queue, b"bad", b"good")
    adapter = adapter_of(recorder, server, queue, workers=2, max_in_flight=2)
    with pytest.raises(LookupError):
        adapter.run()
    assert adapter.status().acked == 1
    eventually(lambda: client.ready(queue) == 1, "it did not return")
    assert client.drained(queue) == [b"bad"]


@KINDS
def test_a_start_without_trouble_logs_no_warning(
    server: RabbitMQServer, client: Client, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Asking the broker what a queue is leaves no warning in the log."""
    with Running(adapter_of(Recorder(), server, client.queue(kind))):
        pass
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


def test_a_refusal_is_told_by_its_error_alone(
    server: RabbitMQServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What pika logs of a wrong password, five times over, is logged at DEBUG."""
    url = f"amqp://guest:wrong@127.0.0.1:{server.port}/"
    with caplog.at_level(logging.DEBUG, "pika"), pytest.raises(RabbitMQRefused):
        RabbitMQAdapter(missive.RawMessage, Recorder().processor, ["q"], url).run()
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
    assert any("ACCESS_REFUSED" in record.getMessage() for record in caplog.records)
