"""The adapter of JetStream with a real server: delivery, settlement, envelope."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import missive
import pytest
from missive.adapters.nats import NATSAdapter, NATSRefused
from nats_server import Client, NATSServer
from patience import eventually
from recorder import Recorder
from running import Running


def adapter_of(recorder: Recorder, server: NATSServer, stream: str, **options: Any) -> Any:
    """Build an adapter for a stream of a server."""
    return NATSAdapter(
        missive.RawMessage,
        recorder.processor,
        stream,
        "workers",
        **{"servers": server.url, "create": True, "retry_after": 0.5, **options},
    )


@pytest.mark.parametrize("workers", [1, 8])
def test_messages_are_handled_in_order_and_acked(
    server: NATSServer, client: Client, workers: int
) -> None:
    """All that is published is handled once; with one worker in order; and acked."""
    stream, recorder = client.stream(), Recorder()
    bodies = [b"%d" % number for number in range(350)]
    client.publish(f"{stream}.a", *bodies)
    with Running(adapter_of(recorder, server, stream, retry_after=30.0, workers=workers)):
        recorder.wait_for(350)
    assert sorted(recorder.bodies) == sorted(bodies)
    assert workers > 1 or recorder.bodies == bodies
    assert client.remaining(stream) == 0


def test_the_envelope_says_what_the_server_said(server: NATSServer, client: Client) -> None:
    """Id, source, headers, delivery count and nats-py's own object are there."""
    stream, recorder = client.stream(), Recorder()
    headers = {"Customer": "Ada", "Nats-Msg-Id": "order-1"}
    client.publish(f"{stream}.eu.new", b"\x00\xff", headers=headers)
    with Running(adapter_of(recorder, server, stream)):
        recorder.wait_for(1)
    (message,) = recorder.messages
    assert (message.raw_data, message.source) == (b"\x00\xff", f"{stream}.eu.new")
    assert message.message_id == f"{stream}-1".encode()
    assert message.headers == headers
    assert message.delivery_count == 1
    assert message.native.msg.metadata.sequence.stream == message.native.sequence == 1
    assert message.native.stream == stream
    assert b"\x00" not in repr(message.native).encode()


def test_a_nacked_message_is_delivered_again_after_retry_after(
    server: NATSServer, client: Client
) -> None:
    """A nack has the server wait; those behind it are handled meanwhile; counts rise by one."""
    stream = client.stream()

    def act(message: Any, ctx: Any) -> None:
        if message.raw_data == b"again" and message.delivery_count < 3:
            ctx.nack()
        else:
            ctx.ack()

    recorder = Recorder(act)
    client.publish(f"{stream}.a", b"again", b"other")
    with Running(adapter_of(recorder, server, stream, retry_after=0.2)):
        recorder.wait_for(4)
    assert recorder.bodies == [b"again", b"other", b"again", b"again"]
    counts = [m.delivery_count for m in recorder.messages if m.raw_data == b"again"]
    assert counts == [1, 2, 3]
    assert client.remaining(stream) == 0


def test_a_message_that_is_never_settled_is_dead_lettered(
    server: NATSServer, client: Client
) -> None:
    """After max_deliveries a message goes to the DLQ without being handled, and is terminated."""
    stream = client.stream()
    recorder = Recorder(lambda message, ctx: ctx.nack(delay=0))
    dlq = missive.MemoryDLQ()
    recorder.processor.set_dlq(dlq)
    client.publish(f"{stream}.a", b"never")
    with Running(adapter_of(recorder, server, stream, max_deliveries=3)):
        eventually(lambda: len(dlq) == 1, "no letter came")
    assert recorder.bodies == [b"never"] * 3
    assert [reason for _, reason in dlq.values()] == ["delivered 3 times without being settled"]
    assert client.remaining(stream) == 0


def test_the_letter_is_written_before_the_message_is_terminated(
    server: NATSServer, client: Client
) -> None:
    """While a letter is written the server still has the message; afterwards it is terminated."""
    stream, recorder = client.stream(), Recorder()
    seen: list[int] = []
    terminated: list[Any] = []

    class Letters(dict[Any, Any]):
        def __setitem__(self, key: Any, value: Any) -> None:
            seen.append(client.remaining(stream))
            super().__setitem__(key, value)

    def fail(message: Any, ctx: Any) -> None:
        raise RuntimeError("no")

    async def note(msg: Any) -> None:
        terminated.append(msg.subject)

    advisories = f"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{stream}.>"
    client.run(client.connection.subscribe(advisories, cb=note))
    recorder.act = fail
    recorder.processor.set_dlq(Letters())
    client.publish(f"{stream}.a", b"dead")
    with Running(adapter_of(recorder, server, stream)):
        eventually(lambda: terminated, "it was not terminated")
    assert seen == [1]
    assert client.remaining(stream) == 0


def test_a_retry_makes_all_its_attempts(server: NATSServer, client: Client) -> None:
    """A Retry with more attempts than max_deliveries makes them all, delayed by the server."""
    stream, attempts = client.stream(), list[int]()
    processor: missive.Processor[Any] = missive.Processor()
    dlq = missive.MemoryDLQ()
    processor.set_dlq(dlq)

    @processor.handle_for(
        missive.otherwise, retry=missive.Retry(attempts=7, delay=0.01, backoff=1.0)
    )
    def handle(message: Any, ctx: Any) -> None:
        attempts.append(ctx.attempt)
        raise RuntimeError("no")

    recorder = Recorder()
    recorder.processor = processor
    client.publish(f"{stream}.a", b"tried")
    with Running(adapter_of(recorder, server, stream)):
        eventually(lambda: len(dlq) == 1, "no letter came")
    assert attempts == [1, 2, 3, 4, 5, 6, 7]
    assert dlq.counts().deferred == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_leases_are_extended_while_a_handler_runs(
    server: NATSServer, client: Client, workers: int
) -> None:
    """The lease of what is handled, and of what waits behind it, is extended again and again."""
    stream, release = client.stream(), threading.Event()
    client.consumer(stream, ack_wait=1.5)
    extended: list[str] = []

    async def note(msg: Any) -> None:
        if msg.data == b"+WPI":
            extended.append(msg.subject.split(".")[5])

    def wait(message: Any, ctx: Any) -> None:
        if message.raw_data != b"alone":  # as the first is fetched
            release.wait(60)
        ctx.ack()

    client.run(client.connection.subscribe(f"$JS.ACK.{stream}.workers.>", cb=note))
    client.send("barrier")  # after which the subscription holds
    recorder = Recorder(wait)
    client.publish(f"{stream}.a", b"alone", b"1", b"2", b"3", b"4", b"5")
    with Running(adapter_of(recorder, server, stream, workers=workers)):
        eventually(
            lambda: all(extended.count(str(number)) > 2 for number in range(2, 7)),
            "not all leases were extended",
        )
        release.set()
        recorder.wait_for(6)
        eventually(lambda: client.remaining(stream) == 0, "they were not acked")
    assert set(recorder.bodies) == {b"alone", b"1", b"2", b"3", b"4", b"5"}


def test_what_was_not_handled_is_given_back_at_once(server: NATSServer, client: Client) -> None:
    """On stop, what was fetched and not handled is delivered to another process right away."""
    stream = client.stream()
    client.consumer(stream, ack_wait=3600)
    recorder, other = Recorder(), Recorder()

    def stop(message: Any, ctx: Any) -> None:
        adapter.stop()
        ctx.ack()

    recorder.act = stop
    client.publish(f"{stream}.a", b"1", b"2", b"3")
    adapter = adapter_of(recorder, server, stream)
    with Running(adapter, wait=False) as running:
        running.join()
    with Running(adapter_of(other, server, stream)):
        other.wait_for(2)
    assert recorder.bodies == [b"1"]
    assert sorted(other.bodies) == [b"2", b"3"]
    assert client.remaining(stream) == 0


def test_a_paused_adapter_takes_nothing_off_the_server(server: NATSServer, client: Client) -> None:
    """During a pause messages stay for other processes."""
    stream, other = client.stream(), Recorder()

    def pause_at_first(message: Any, ctx: Any) -> None:
        ctx.ack()
        if message.raw_data == b"1":  # in the thread that would ask for more
            running.adapter.pause()

    recorder = Recorder(pause_at_first)
    with Running(adapter_of(recorder, server, stream)) as running:
        client.publish(f"{stream}.a", b"1")
        eventually(lambda: running.adapter.pauses, "it is not paused")
        eventually(lambda: client.info(stream).num_waiting == 0, "it still asks for messages")
        client.publish(f"{stream}.a", b"2")
        with Running(adapter_of(other, server, stream)):
            other.wait_for(1)
        running.adapter.resume()
        client.publish(f"{stream}.a", b"3")
        recorder.wait_for(2)
    assert (recorder.bodies, other.bodies) == ([b"1", b"3"], [b"2"])


def test_async_handlers_run_on_a_loop_of_their_own(server: NATSServer, client: Client) -> None:
    """Async handlers overlap, and one that blocks its loop loses no connection."""
    stream = client.stream()
    processor: missive.Processor[Any] = missive.Processor()
    gathered: list[bytes] = []
    met = asyncio.Event()

    @processor.handle_for(missive.otherwise)
    async def handle(message: Any, ctx: Any) -> None:
        gathered.append(message.raw_data)
        if len(gathered) == 5:
            met.set()
        await met.wait()
        ctx.ack()

    recorder = Recorder()
    recorder.processor = processor
    client.publish(f"{stream}.a", *[b"%d" % number for number in range(5)])
    with Running(adapter_of(recorder, server, stream)):
        eventually(lambda: client.remaining(stream) == 0, "they were not acked")
    assert sorted(gathered) == [b"0", b"1", b"2", b"3", b"4"]


def test_lag_says_what_waits(server: NATSServer, client: Client) -> None:
    """lag() counts what was not delivered, what is unsettled, and what came more than once."""
    stream, recorder = client.stream(), Recorder(lambda message, ctx: ctx.nack())
    client.consumer(stream)
    client.publish(f"{stream}.a", b"1", b"2")
    adapter = adapter_of(recorder, server, stream, retry_after=600.0)
    lag = adapter.lag()
    assert (lag.pending, lag.unsettled, lag.redelivered) == (2, 0, 0)
    with Running(adapter):
        recorder.wait_for(2)
        eventually(lambda: adapter.lag().unsettled == 2, "they are not unsettled")
        eventually(lambda: adapter.lag().waiting == 1, "it asks for no more")
    with pytest.raises(NATSRefused, match="consumer not found"):
        NATSAdapter(missive.RawMessage, recorder.processor, stream, "x", servers=server.url).lag()


def test_no_payload_reaches_the_log(
    server: NATSServer, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Bodies and headers are in no line of the log, at any level."""
    stream, recorder = client.stream(), Recorder(lambda message, ctx: 1 / 0)
    recorder.processor.set_dlq({})
    client.publish(f"{stream}.a", b"s3cret", headers={"Name": "s3cret"})
    with (
        caplog.at_level(logging.DEBUG),
        Running(adapter_of(recorder, server, stream, max_deliveries=1)),
    ):
        recorder.wait_for(1)
    assert "s3cret" not in caplog.text
