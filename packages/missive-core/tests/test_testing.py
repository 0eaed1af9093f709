"""The test client."""

from __future__ import annotations

import asyncio
from typing import Any

import missive
import pytest
from missive import Capabilities, Outcome


def make() -> missive.Processor[missive.JSONMessage]:
    processor: missive.Processor[missive.JSONMessage] = missive.Processor()
    by_do = missive.route_on_json("do")
    processor.handle_for(by_do("ack"))(lambda m, ctx: ctx.ack())
    processor.handle_for(by_do("nack"))(lambda m, ctx: ctx.nack())
    return processor


def test_it_records_how_messages_were_settled_in_order() -> None:
    """A dead-lettered message was acked to the transport, and stands in both lists."""
    processor = make()
    processor.set_dlq({})
    client = processor.test_client(missive.JSONMessage)
    bodies = [b'{"do": "ack"}', b'{"do": "nack"}', b"nonsense", b'{"do": "ack", "n": 2}']
    outcomes = [client.send(body) for body in bodies]
    assert outcomes == [
        Outcome.ACKED,
        Outcome.NACKED,
        Outcome.DEAD_LETTERED,
        Outcome.ACKED,
    ]
    assert [m.raw_data for m in client.acked] == [bodies[0], bodies[2], bodies[3]]
    assert [m.raw_data for m in client.nacked] == [bodies[1]]
    assert [m.raw_data for m in client.dead_lettered] == [bodies[2]]
    unroutable = missive.JSONMessage(b"{}")
    assert client.send(unroutable) is Outcome.DEAD_LETTERED
    assert client.dead_lettered[-1] is unroutable


def test_a_prebuilt_message_may_be_given_an_envelope() -> None:
    """Whatever the adapter fills, a test can fill."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    seen: list[Any] = []

    @processor.handle_for(missive.otherwise)
    def handler(message: Any, ctx: Any) -> None:
        seen.append((message.message_id, message.source, message.delivery_count))
        ctx.ack()

    client = processor.test_client()
    message = missive.RawMessage(b"x")
    client.send(message)
    client.send(message, message_id=b"1", source="here", delivery_count=4)
    client.send(b"y", message_id=b"2")
    assert seen == [(message_id := seen[0][0], None, 1), (b"1", "here", 4), (b"2", None, 1)]
    assert len(message_id) == 16


def test_redeliver_sends_what_was_nacked_again_with_its_id_and_a_higher_count() -> None:
    """As a transport does that redelivers."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    seen: list[Any] = []

    @processor.handle_for(missive.otherwise)
    def handler(message: Any, ctx: Any) -> None:
        seen.append((message.message_id, dict(message.headers), message.delivery_count))
        if message.delivery_count < 3:
            ctx.nack()
        else:
            ctx.ack()

    client = processor.test_client()
    client.send(b"x", headers={"a": "b"})
    client.send(missive.RawMessage(b"y"), message_id=b"2", delivery_count=2)
    assert client.redeliver() == [Outcome.NACKED, Outcome.ACKED]
    assert client.redeliver() == [Outcome.ACKED]
    assert client.redeliver() == []
    first = seen[0][0]
    assert seen == [
        (first, {"a": "b"}, 1),
        (b"2", {}, 2),
        (first, {"a": "b"}, 2),
        (b"2", {}, 3),
        (first, {"a": "b"}, 3),
    ]


def test_it_can_play_a_transport_that_cannot_redeliver() -> None:
    """The capabilities of another adapter make it settle as that one does."""
    processor = make()
    client = processor.test_client(
        missive.JSONMessage, capabilities=Capabilities(nack="drop-refused")
    )
    with pytest.raises(missive.errors.NackUnsupported):
        client.send(b'{"do": "nack"}')
    processor.set_dlq({})
    assert client.send(b'{"do": "nack"}') is Outcome.DEAD_LETTERED
    assert client.nacked == []
    assert missive.TestAdapter.capabilities.nack == "redeliver"


def test_processing_hooks_run_once_and_close_ends_the_run() -> None:
    """Plainly they begin at the first send; in a with at its beginning."""
    log: list[str] = []
    processor = make()
    processor.before_processing(lambda ctx: log.append(f"start {ctx.message_cls.__name__}"))
    processor.after_processing(lambda ctx: log.append("end"))
    client = processor.test_client()
    assert log == []
    client.send(missive.JSONMessage(b'{"do": "ack"}'))
    client.send(missive.JSONMessage(b'{"do": "ack"}'))
    client.close()
    client.close()
    assert log == ["start JSONMessage", "end"]
    with processor.test_client(missive.JSONMessage) as client:
        assert log[2:] == ["start JSONMessage"]
        client.send(b'{"do": "ack"}')
    client.close()
    assert log[2:] == ["start JSONMessage", "end"]
    with client:
        client.send(b'{"do": "ack"}')
        with client:
            pass
    assert log[4:] == ["start JSONMessage", "end"]


def test_an_error_inside_a_with_passes_through_the_processing_hooks() -> None:
    """An around-hook sees what ends the run."""
    processor = make()
    seen: list[type[BaseException]] = []

    @processor.around_processing
    def around(ctx: Any) -> Any:
        try:
            yield
        except BaseException as error:
            seen.append(type(error))

    with pytest.raises(missive.errors.NoMatchingHandler), processor.test_client() as client:
        client.send(missive.JSONMessage(b"{}"))
    assert seen == [missive.errors.NoMatchingHandler]


def test_a_class_that_cannot_be_built_is_refused_at_once() -> None:
    """A test learns the same as production would."""
    with pytest.raises(missive.errors.InvalidMessageClass):
        make().test_client(missive.DictMessage)  # type: ignore[arg-type]


def test_what_an_error_kept_from_being_redelivered_stays_to_be_redelivered() -> None:
    """The message that failed is unsettled; those behind it are still the transport's."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_for(missive.otherwise)
    def handle(message: missive.RawMessage, ctx: Any) -> None:
        if message.raw_data == b"2" and message.delivery_count == 2:
            raise LookupError
        ctx.nack()

    client = processor.test_client()
    for body in (b"1", b"2", b"3"):
        client.send(body)
    with pytest.raises(LookupError):
        client.redeliver()
    assert client.redeliver() == [Outcome.NACKED, Outcome.NACKED]
    assert [m.raw_data for m in client.nacked] == [b"1", b"2", b"3", b"1", b"3", b"1"]


def test_text_cannot_be_sent() -> None:
    """The error says what to send instead."""
    with pytest.raises(missive.ConfigurationError, match=r"a str cannot be sent.*encode"):
        make().test_client().send("Hello")  # type: ignore[arg-type]


def test_asend_without_a_with_starts_the_run_and_aexit_ends_it_once() -> None:
    """Entering again changes nothing, and only the first exit runs the after-processing hooks."""
    processor = make()
    log: list[str] = []
    processor.before_processing(lambda ctx: log.append(f"start {ctx.message_cls.__name__}"))
    processor.after_processing(lambda ctx: log.append("end"))

    async def test() -> None:
        client = processor.test_client()
        message = missive.JSONMessage(b'{"do": "ack"}')
        assert await client.asend(message) is Outcome.ACKED
        async with client:
            async with client:
                pass
            assert log == ["start JSONMessage", "end"]
        assert log == ["start JSONMessage", "end"]

    asyncio.run(test())


def test_what_is_delivered_again_runs_on_the_tests_own_loop() -> None:
    """``aredeliver`` and ``aadvance`` do what ``redeliver`` and ``advance`` do, where ``asend`` does."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.set_dlq(missive.MemoryDLQ())
    loops: set[asyncio.AbstractEventLoop] = set()

    async def handle(message: missive.RawMessage, ctx: Any) -> None:
        await asyncio.sleep(0)
        loops.add(asyncio.get_running_loop())
        if message.delivery_count == ctx.attempt == 1:
            if message.raw_data == b"returned":
                ctx.nack()
                return
            raise TimeoutError
        ctx.ack()

    in_order = missive.Retry(on=(TimeoutError,), delay=1.0, jitter=0.0, in_order=True)
    in_store = missive.Retry(on=(TimeoutError,), delay=2.0, jitter=0.0)
    processor.handle_for(lambda m: m.raw_data == b"held", retry=in_order)(handle)
    processor.handle_for(lambda m: m.raw_data != b"held", retry=in_store)(handle)

    async def test() -> None:
        async with processor.test_client() as client:
            assert await client.asend(b"returned") is Outcome.NACKED
            assert await client.aredeliver() == [Outcome.ACKED]
            sent = [await client.asend(body) for body in (b"kept", b"held")]
            assert sent == [Outcome.DEFERRED, Outcome.DEFERRED]
            assert await client.aadvance(1.0) == [Outcome.ACKED]
            assert await client.aadvance(1.0) == [Outcome.ACKED]
            assert [m.raw_data for m in client.acked] == [b"returned", b"kept", b"held", b"kept"]
        assert loops == {asyncio.get_running_loop()}

    asyncio.run(test())


def test_asend_raises_what_left_a_message_unsettled() -> None:
    """As send does where there is no DLQ."""

    async def test() -> None:
        async with make().test_client(missive.JSONMessage) as client:
            await client.asend(b"{}")

    with pytest.raises(missive.errors.NoMatchingHandler):
        asyncio.run(test())


def failing(retry: missive.Retry) -> missive.Processor[missive.RawMessage]:
    processor: missive.Processor[missive.RawMessage] = missive.Processor(retry=retry)

    @processor.handle_for(missive.otherwise)
    def handler(message: Any, ctx: Any) -> None:
        if ctx.attempt == 1:
            raise LookupError
        ctx.ack()

    return processor


IN_A_SECOND = missive.Retry(attempts=2, delay=1.0, jitter=0.0)


@pytest.mark.parametrize("way", ["removed", "given up"])
def test_a_deferred_message_that_was_taken_from_its_store_is_not_attempted(way: str) -> None:
    """Somebody gave it up or removed it meanwhile."""
    processor = failing(IN_A_SECOND)
    processor.set_dlq(store := missive.MemoryDLQ())
    client = processor.test_client()
    assert client.send(b"x", message_id=b"1") is Outcome.DEFERRED
    if way == "removed":
        claimed = store.claim(b"1")
        assert claimed is not None
        store.remove(claimed[0])
    else:
        store.give_up()
    assert client.advance(2) == []
    assert len(client.acked) == 1  # when it was deferred


@pytest.mark.parametrize("order", [(b"x", b"y"), (b"y", b"x")])
def test_deferred_messages_that_share_an_id_are_each_attempted(order: tuple[bytes, bytes]) -> None:
    """The store keeps the second beside the first, and it is found while that is there or gone."""
    delays = {order[0]: 1.0, order[1]: 2.0}
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_for(missive.otherwise)
    def handler(message: Any, ctx: Any) -> None:
        if ctx.attempt == 1:
            ctx.nack(delay=delays[message.raw_data])
        else:
            ctx.ack()

    processor.set_dlq(missive.MemoryDLQ())
    client = processor.test_client()
    for body in (b"x", b"y"):
        assert client.send(body, message_id=b"1") is Outcome.DEFERRED
    assert client.advance(3) == [Outcome.ACKED, Outcome.ACKED]
    assert tuple(message.raw_data for message in client.acked[-2:]) == order
