"""Pauses: nothing is taken off the transport, and everything stays alive."""

from __future__ import annotations

import logging
import threading
from typing import Any

import missive
import pytest
from memory_transport import MemoryTransport
from missive import Processor, RawMessage
from shelf_transport import ShelfTransport, finish, start, wait_until


def processor_of(handle: Any) -> Processor[Any]:
    processor: Processor[Any] = Processor()
    processor.handle_for(missive.otherwise)(handle)
    return processor


def ack(message: RawMessage, ctx: Any) -> None:
    ctx.ack()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_pause_takes_nothing_off_the_transport_and_keeps_it_alive(workers: int) -> None:
    """The connection stays, and keepalive goes on."""
    adapter = ShelfTransport(processor_of(ack), [b"a"], workers=workers)
    adapter.keepalive_interval = 0.01
    beats = threading.Semaphore(0)
    adapter.keepalive = beats.release  # type: ignore[method-assign]
    adapter.pause("maintenance")
    run = start(adapter)
    for _ in range(5):
        assert beats.acquire(timeout=30)
    status = adapter.status()
    assert (status.paused, status.connected, adapter.receives) == (("maintenance",), True, 0)
    adapter.resume()
    finish(*run)
    assert adapter.acked == [b"a"]
    assert adapter.status().paused == ()


def test_a_pause_out_of_a_handler_begins_no_other_message() -> None:
    """What was received waits; what was handled is settled, also where acks are batched."""
    handled: list[bytes] = []
    flushed: list[int] = []

    def handle(message: RawMessage, ctx: Any) -> None:
        handled.append(message.raw_data)
        if len(handled) == 2:
            adapter.pause()
        ctx.ack()

    adapter = ShelfTransport(processor_of(handle), [b"a%d" % number for number in range(5)])
    adapter.flush_interval = 3600.0
    adapter.flush = lambda: flushed.append(len(adapter.acked))  # type: ignore[method-assign]
    run = start(adapter)
    wait_until(lambda: 2 in flushed)
    assert handled == [b"a0", b"a1"]
    assert adapter.acked == [b"a0", b"a1"]
    adapter.resume()
    finish(*run)
    assert len(adapter.acked) == 5


def test_what_is_being_handled_when_a_pause_begins_is_settled() -> None:
    """A pause is no stop."""
    began, go_on = threading.Event(), threading.Event()

    def handle(message: RawMessage, ctx: Any) -> None:
        began.set()
        assert go_on.wait(30)
        ctx.ack()

    adapter = ShelfTransport(processor_of(handle), [b"a"], workers=2)
    run = start(adapter)
    assert began.wait(30)
    adapter.pause()
    go_on.set()
    wait_until(lambda: adapter.acked == [b"a"])
    adapter.resume()
    finish(*run)


def test_several_reasons_hold_together() -> None:
    """Each is ended by its name; without a name, all."""
    adapter = ShelfTransport(processor_of(ack))
    adapter.pause("one")
    adapter.pause("two")
    adapter.resume("one")
    adapter.resume("never given")
    assert adapter.status().paused == ("two",)
    adapter.pause("one")
    adapter.resume()
    assert adapter.status().paused == ()


def test_the_log_says_so_once_a_change(caplog: pytest.LogCaptureFixture) -> None:
    """However often the same pause is asked for."""
    adapter = ShelfTransport(processor_of(ack))
    with caplog.at_level(logging.WARNING, "missive.polling"):
        for _ in range(3):
            adapter.pause("maintenance")
        for _ in range(3):
            adapter.resume("maintenance")
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 2
    assert "is paused: maintenance" in texts[0]
    assert "is resumed after" in texts[1]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_paused_run_can_be_stopped(workers: int) -> None:
    """At once, without a message begun."""
    adapter = ShelfTransport(processor_of(ack), [b"a"], workers=workers)
    adapter.pause()
    run = start(adapter)
    wait_until(lambda: adapter.status().connected)
    adapter.stop()
    finish(*run)
    assert adapter.acked == []


@pytest.mark.parametrize("flush_interval", [None, 30.0])
@pytest.mark.parametrize("by_key", [False, True])
def test_an_adapter_may_delay_nacks_itself(by_key: bool, flush_interval: float | None) -> None:
    """With a ``nack_delay`` a nacked message is handled again, before later ones of its key."""
    processor: missive.Processor[Any] = missive.Processor()
    seen: list[tuple[bytes, int]] = []

    @processor.handle_for(missive.otherwise)
    def handle(message: Any, ctx: Any) -> None:
        seen.append((message.raw_data, ctx.attempt))
        if message.raw_data == b"a1" and ctx.attempt < 3:
            ctx.nack()
        else:
            ctx.ack()

    key: dict[str, Any] = {"ordering_key": lambda message: message.raw_data[:1]} if by_key else {}
    adapter = MemoryTransport(processor, [b"a1", b"a2", b"b1"], until_settled=True, **key)
    adapter.nack_delay = 0.02
    adapter.flush_interval = flush_interval
    adapter.run()
    assert [attempt for body, attempt in seen if body == b"a1"] == [1, 2, 3]
    assert adapter.nacked == []
    bodies = [body for body, _ in seen]
    if by_key:
        assert bodies[:2] == [b"a1", b"b1"]
        assert bodies[-1] == b"a2"
    else:
        assert bodies[:3] == [b"a1", b"a2", b"b1"]
