"""The adapter with a server that stands in for SQS: delivery, settlement, envelope."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import missive
import pytest
from missive.adapters.sqs import SQSAdapter, SQSMessage
from patience import DEADLINE, eventually
from recorder import Recorder
from running import Running
from sqs_server import TestQueue


def adapter_of(recorder: Recorder, queue: TestQueue, **options: Any) -> SQSAdapter[Any]:
    """Build an adapter for a queue of the shared server."""
    given = {"visibility": 30, "wait_time": 1, "retry_after": 1, "endpoint": queue.server.endpoint}
    return SQSAdapter(missive.RawMessage, recorder.processor, queue.url, **{**given, **options})


@pytest.mark.parametrize("receivers", [1, 4])
@pytest.mark.parametrize("workers", [1, 4])
def test_messages_are_handled_and_deleted(queue: TestQueue, receivers: int, workers: int) -> None:
    """All that is sent is handled, and gone afterwards; once, where one receiver asks at a time."""
    recorder = Recorder()
    bodies = {b"body %d" % number for number in range(45)}
    queue.send(*[body.decode() for body in bodies])
    with Running(adapter_of(recorder, queue, receivers=receivers, workers=workers)):
        recorder.wait_for(45)
        eventually(queue.is_empty, "messages were left")
    assert set(recorder.bodies) == bodies
    if receivers == 1:  # moto may give a message to two that ask at the same moment
        assert len(recorder.bodies) == 45


def test_async_handlers_are_run(queue: TestQueue) -> None:
    """Messages are tasks where handlers are async."""
    processor: missive.Processor[Any] = missive.Processor()
    seen: list[bytes] = []

    @processor.handle_for(missive.otherwise)
    async def handle(message: Any, ctx: Any) -> None:
        await asyncio.sleep(0)
        seen.append(message.raw_data)
        ctx.ack()

    queue.send("one", "two")
    recorder = Recorder()
    recorder.processor = processor
    with Running(adapter_of(recorder, queue)):
        eventually(lambda: len(seen) == 2, "not all messages came")
        eventually(queue.is_empty, "messages were left")


def test_the_envelope_says_what_sqs_said(queue: TestQueue) -> None:
    """Id, source, attributes, delivery count and boto3's own data are there."""
    recorder = Recorder()
    queue.send(
        "héllo",
        attributes={
            "Customer": {"DataType": "String", "StringValue": "Ada"},
            "n": {"DataType": "Number", "StringValue": "5"},
            "raw": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
        },
    )
    with Running(adapter_of(recorder, queue)):
        recorder.wait_for(1)
    (message,) = recorder.messages
    assert (message.raw_data, message.source, message.delivery_count) == (
        "héllo".encode(),
        queue.name,
        1,
    )
    assert message.headers == {"Customer": "Ada", "n": "5", "raw": "\x00\x01"}
    native = message.native
    assert isinstance(native, SQSMessage)
    assert message.message_id == str(native.message_id).encode()
    assert native.attributes["SentTimestamp"].isdecimal()
    assert "héllo" not in repr(native)


def test_a_queue_is_found_by_its_name(queue: TestQueue) -> None:
    """A name, and a URL of the adapter's own, lead to the queue."""
    recorder = Recorder()
    queue.send("by name")
    url = f"sqs://{queue.name}?region=eu-west-1&wait_time=1&endpoint={queue.server.endpoint}"
    adapter: Any = missive.adapter_from_url(url, missive.RawMessage, recorder.processor)
    assert isinstance(adapter, SQSAdapter)
    with Running(adapter):
        recorder.wait_for(1)


def test_a_client_of_the_programs_own_is_used(queue: TestQueue) -> None:
    """A client that is given takes the place of one that the adapter makes."""
    recorder = Recorder()
    queue.send("by client")
    adapter = SQSAdapter(
        missive.RawMessage, recorder.processor, queue.name, client=queue.client, wait_time=1
    )
    with Running(adapter):
        recorder.wait_for(1)
        eventually(queue.is_empty, "the message was left")


def test_a_nacked_message_is_delivered_again_and_counted(queue: TestQueue) -> None:
    """A nack has the message delivered again after retry_after, with a higher count."""

    def act(message: Any, ctx: Any) -> None:
        ctx.nack() if message.delivery_count == 1 else ctx.ack()

    recorder = Recorder(act)
    queue.send("again")
    with Running(adapter_of(recorder, queue)):
        recorder.wait_for(2)
        eventually(queue.is_empty, "the message was left")
    assert [message.delivery_count for message in recorder.messages] == [1, 2]
    assert recorder.messages[0].message_id == recorder.messages[1].message_id


def test_a_retry_waits_in_the_queue(queue: TestQueue) -> None:
    """A Retry is made by the queue's own visibility, and counts by its deliveries."""
    processor: missive.Processor[Any] = missive.Processor()
    letters = missive.MemoryDLQ()
    processor.set_dlq(letters)
    attempts: list[int] = []
    left: list[tuple[int, int]] = []

    @processor.handle_for(missive.otherwise, retry=missive.Retry(attempts=2, delay=0.1, jitter=0))
    def handle(message: Any, ctx: Any) -> None:
        attempts.append(ctx.attempt)
        left.append(queue.counts())
        raise ValueError

    recorder = Recorder()
    recorder.processor = processor
    queue.send("fails")
    with Running(adapter_of(recorder, queue)):
        eventually(lambda: len(letters), "no letter arrived")
        eventually(queue.is_empty, "the message was left")
    assert attempts == [1, 2]
    assert left == [(0, 1), (0, 1)]


def test_a_handler_may_take_longer_than_the_visibility(queue: TestQueue) -> None:
    """While a handler runs no other consumer gets its message, however long that takes."""
    gate, inside = threading.Event(), threading.Event()

    def act(message: Any, ctx: Any) -> None:
        inside.set()
        assert gate.wait(DEADLINE)
        ctx.ack()

    recorder, extended = Recorder(act), threading.Event()
    adapter = adapter_of(recorder, queue, visibility=2)
    extensions: list[float] = []

    def extend() -> None:
        extensions.extend(each.visible_at for each in adapter.unsettled())  # type: ignore[union-attr]
        if len(set(extensions)) > 4:  # twice its visibility is over
            extended.set()
        keepalive()

    keepalive, adapter.keepalive = adapter.keepalive, extend  # type: ignore[method-assign]
    queue.send("slow")
    with Running(adapter):
        assert inside.wait(DEADLINE)
        assert extended.wait(DEADLINE)
        assert queue.counts() == (0, 1)
        gate.set()
        eventually(queue.is_empty, "the message was left")
    assert len(recorder.messages) == 1


def test_what_was_not_handled_is_given_back_on_stop(queue: TestQueue) -> None:
    """On stop, messages that were received and not begun are visible again at once."""
    gate, inside = threading.Event(), threading.Event()

    def act(message: Any, ctx: Any) -> None:
        inside.set()
        assert gate.wait(DEADLINE)
        ctx.ack()

    recorder = Recorder(act)
    queue.send(*(f"body {number}" for number in range(10)))
    running = Running(adapter_of(recorder, queue, visibility=3600))
    with running:
        assert inside.wait(DEADLINE)
        running.adapter.stop()
        gate.set()
        running.join()
        assert queue.counts() == (9, 0)
    assert len(recorder.messages) == 1


def test_groups_are_in_order_and_beside_each_other(fifo: TestQueue) -> None:
    """With several workers the messages of a group are handled in order, while a group whose
    handler waits holds up no other.
    """
    gate = threading.Event()

    def act(message: Any, ctx: Any) -> None:
        if message.raw_data == b"a0":
            assert gate.wait(DEADLINE)
        if message.raw_data == b"b4":
            gate.set()
        ctx.ack()

    recorder = Recorder(act)
    for number in range(5):
        fifo.send(f"a{number}", group="a")
        fifo.send(f"b{number}", group="b")
    with Running(adapter_of(recorder, fifo, workers=3)):
        recorder.wait_for(10)
        eventually(fifo.is_empty, "messages were left")
    for group in (b"a", b"b"):
        order = [body for body in recorder.bodies if body.startswith(group)]
        assert order == [b"%s%d" % (group, number) for number in range(5)]


def test_a_nacked_message_holds_up_its_group_alone(fifo: TestQueue) -> None:
    """Nothing of its group overtakes a message of a FIFO queue that is nacked."""
    done: list[bytes] = []

    def act(message: Any, ctx: Any) -> None:
        if message.raw_data == b"a1" and message.delivery_count == 1:
            ctx.nack()
            return
        done.append(message.raw_data)
        ctx.ack()

    recorder = Recorder(act)
    fifo.send("a0", "a1", "a2", "a3", group="a")
    fifo.send("b0", "b1", group="b")
    with Running(adapter_of(recorder, fifo)):
        eventually(lambda: len(done) == 6, "not all messages were handled")
        eventually(fifo.is_empty, "messages were left")
    assert [body for body in done if body.startswith(b"a")] == [b"a0", b"a1", b"a2", b"a3"]
    assert done.index(b"b1") < done.index(b"a1")


def test_a_poison_message_is_rejected_after_max_deliveries(queue: TestQueue) -> None:
    """A message that was received too often is dead-lettered without being handled again."""
    recorder = Recorder(lambda message, ctx: ctx.nack())
    letters = missive.MemoryDLQ()
    recorder.processor.set_dlq(letters)
    queue.send("poison")
    with Running(adapter_of(recorder, queue, retry_after=0, max_deliveries=2)):
        eventually(lambda: len(letters), "no letter arrived")
        eventually(queue.is_empty, "the message was left")
    assert len(recorder.messages) == 2
    (letter,) = letters.letters()
    assert (letter.stage, letter.reason) == (
        "settling",
        "delivered 2 times without being settled",
    )


def test_notifications_are_unwrapped(queue: TestQueue) -> None:
    """With sns=True the message is what was published, and its attributes are headers."""
    recorder = Recorder()
    queue.send(
        json.dumps(
            {
                "Type": "Notification",
                "MessageId": "n-1",
                "TopicArn": "arn:aws:sns:eu-west-1:123456789012:orders",
                "Subject": "new",
                "Message": "published",
                "MessageAttributes": {"Kind": {"Type": "String", "Value": "order"}},
            }
        )
    )
    with Running(adapter_of(recorder, queue, sns=True)):
        recorder.wait_for(1)
    (message,) = recorder.messages
    assert message.raw_data == b"published"
    assert message.headers["kind"] == "order"
    assert message.headers["x-amz-sns-message-id"] == "n-1"


def test_lag_says_how_much_waits(queue: TestQueue) -> None:
    """lag() counts what waits and what is in flight; before a run, and during one."""
    gate, inside = threading.Event(), threading.Event()

    def act(message: Any, ctx: Any) -> None:
        inside.set()
        assert gate.wait(DEADLINE)
        ctx.ack()

    recorder = Recorder(act)
    adapter = adapter_of(recorder, queue, batch_size=1)
    queue.send("one", "two", "three")
    lag = adapter.lag()
    assert (lag.waiting, lag.in_flight, lag.delayed, lag.unsettled) == (3, 0, 0, 0)
    assert adapter.lag_by_source() == {queue.name: 3}
    with Running(adapter):
        assert inside.wait(DEADLINE)
        lag = adapter.lag()
        assert (lag.waiting, lag.in_flight) == (2, 1)
        assert adapter.status().connected
        gate.set()
        recorder.wait_for(3)


def test_a_paused_adapter_leaves_messages_to_others(
    queue: TestQueue, make_queue: Callable[..., TestQueue]
) -> None:
    """What a poll brings during a pause is given back, and handled after the pause."""
    recorder = Recorder()
    adapter = adapter_of(recorder, queue, visibility=4)
    with Running(adapter):
        adapter.pause("the test")
        queue.send("during the pause")
        eventually(lambda: queue.counts() == (1, 0), "the message was not given back")
        assert not recorder.messages
        adapter.resume()
        recorder.wait_for(1)
        eventually(queue.is_empty, "the message was left")
