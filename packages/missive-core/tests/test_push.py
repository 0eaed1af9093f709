"""PushAdapter: clients that hand messages over from a thread of their own."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from typing import Any

import missive
import pytest
from memory_transport import DEADLINE, running
from missive import Capabilities, Delivery
from missive.polling import PushAdapter


class Lost(ConnectionError):
    """How the client of these tests loses its connection."""


class PushTransport(PushAdapter[Any]):
    """A transport whose client is the test: it offers from whatever thread it likes."""

    capabilities = Capabilities(delivery="at-least-once", stable_id=True, crash_redelivery=True)
    connection_errors = (ConnectionError,)

    def __init__(self, processor: missive.Processor[Any], **options: Any) -> None:
        super().__init__(missive.RawMessage, processor, **options)
        self.opened = 0
        self.reopened = threading.Event()
        self.acked: list[bytes] = []
        self.settling_threads: set[int] = set()

    def open(self) -> None:
        self.opened += 1
        if self.opened == 2:
            self.reopened.set()

    def close(self) -> None:
        """Nothing is open."""

    def ack(self, message: missive.Message) -> None:
        self.settling_threads.add(threading.get_ident())
        self.acked.append(message.raw_data)

    def nack(self, message: missive.Message) -> None:
        raise AssertionError("nothing is nacked here")


class Gate:
    """A handler that waits until it is opened, and tells when it was first entered."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, message: missive.Message, ctx: Any) -> None:
        self.entered.set()
        assert self.opened.wait(DEADLINE)
        ctx.ack()


def processor_of(handler: Callable[[Any, Any], None]) -> missive.Processor[Any]:
    processor: missive.Processor[Any] = missive.Processor()
    processor.handle_for(missive.otherwise)(handler)
    return processor


def ack(message: missive.Message, ctx: Any) -> None:
    ctx.ack()


def delivery(number: int) -> Delivery:
    body = b"%d" % number
    return Delivery(body, body)


def in_thread(function: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Call a function in a thread of its own; return that, and where its result will be."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()), daemon=True)
    thread.start()
    return thread, results


def join(thread: threading.Thread) -> None:
    thread.join(DEADLINE)
    assert not thread.is_alive()


@pytest.mark.parametrize("workers", [1, 4])
def test_a_client_hands_messages_over_from_its_own_thread(workers: int) -> None:
    """Every message that a callback offers is settled, in the thread of ``run``, before the end."""
    adapter = PushTransport(processor_of(ack), workers=workers)

    def client() -> None:
        assert adapter.ready.wait(DEADLINE)
        for number in range(500):
            assert adapter.offer(delivery(number), None)
        adapter.end()

    thread, _ = in_thread(client)
    adapter.run()
    join(thread)
    assert sorted(adapter.acked, key=int) == [b"%d" % number for number in range(500)]
    assert adapter.settling_threads == {threading.get_ident()}


def test_an_offer_that_does_not_wait_is_refused_beyond_the_bound() -> None:
    """With a timeout of 0.0 as many as ``max_in_flight`` are taken, and the next stays outside."""
    gate = Gate()
    adapter = PushTransport(processor_of(gate), max_in_flight=3)
    with running(adapter) as errors:
        assert adapter.offer(delivery(0))
        assert gate.entered.wait(DEADLINE)  # received: the receiving thread is busy from now on
        taken = [adapter.offer(delivery(number), 0.0) for number in range(1, 6)]
        assert taken == [True, True, True, False, False]
        assert not adapter.has_room
        gate.opened.set()
        assert adapter.offer(delivery(6), None)
        adapter.end()
    assert errors == []
    assert b"4" not in adapter.acked
    assert b"5" not in adapter.acked


def test_an_offer_without_a_timeout_waits_for_room() -> None:
    """With a timeout of None an offer beyond the bound is taken once there is room."""
    gate = Gate()
    settled = threading.Event()
    processor = processor_of(gate)
    processor.on_settled(lambda ctx, s: settled.set() if s.message.raw_data == b"2" else None)
    adapter = PushTransport(processor, max_in_flight=1)
    with running(adapter) as errors:
        assert adapter.offer(delivery(0))
        assert gate.entered.wait(DEADLINE)
        assert adapter.offer(delivery(1))
        thread, results = in_thread(lambda: adapter.offer(delivery(2), None))
        assert results == []
        gate.opened.set()
        join(thread)
        assert results == [True]
        assert settled.wait(DEADLINE)
    assert errors == []
    assert adapter.acked == [b"0", b"1", b"2"]


def test_stop_ends_an_offer_that_waits_for_room() -> None:
    """An offer that waits without a timeout is refused when ``stop`` is called."""
    gate = Gate()
    adapter = PushTransport(processor_of(gate), max_in_flight=1)
    with running(adapter) as errors:
        assert adapter.offer(delivery(0))
        assert gate.entered.wait(DEADLINE)
        assert adapter.offer(delivery(1))
        thread, results = in_thread(lambda: adapter.offer(delivery(2), None))
        adapter.stop()
        join(thread)
        gate.opened.set()
    assert results == [False]
    assert errors == []
    assert adapter.acked == [b"0"]


def test_a_signal_stops_the_run_and_later_offers_are_refused() -> None:
    """A signal that interrupts the receiving thread finishes what is in flight, and takes no more."""
    taken: list[bool] = []

    def handle(message: missive.Message, ctx: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        taken.append(adapter.offer(delivery(1), None))
        ctx.ack()

    adapter = PushTransport(processor_of(handle))
    adapter.offer(delivery(0))
    adapter.run()
    assert taken == [False]
    assert adapter.acked == [b"0"]


def test_an_error_of_the_client_has_the_transport_connect_again() -> None:
    """What ``fail`` reports is raised by ``receive``: a lost connection is opened again."""
    gate = Gate()
    settled = threading.Event()
    processor = processor_of(gate)
    processor.on_settled(lambda ctx, s: settled.set() if s.message.raw_data == b"2" else None)
    adapter = PushTransport(processor)
    with running(adapter) as errors:
        assert adapter.offer(delivery(0))
        assert gate.entered.wait(DEADLINE)
        assert adapter.offer(delivery(1))  # of the connection that is lost: dropped with it
        adapter.fail(Lost())
        gate.opened.set()
        assert adapter.reopened.wait(DEADLINE)
        assert adapter.offer(delivery(2), None)
        assert settled.wait(DEADLINE)
    assert errors == []
    assert adapter.opened == 2
    assert adapter.acked == [b"0", b"2"]


def test_a_failure_that_is_not_of_the_connection_ends_the_run() -> None:
    """What ``fail`` reports and no new connection mends is what ``run`` raises."""
    adapter = PushTransport(processor_of(ack))
    failure = LookupError("of the client")
    adapter.fail(failure)
    with pytest.raises(LookupError) as caught:
        adapter.run()
    assert caught.value is failure


def test_an_asyncio_client_offers_from_its_event_loop() -> None:
    """A client on an event loop of its own offers without waiting, and tries again when refused."""
    adapter = PushTransport(processor_of(ack), max_in_flight=2)

    async def client() -> None:
        for number in range(100):
            while not adapter.offer(delivery(number)):
                await asyncio.sleep(0)
        adapter.end()

    thread, _ = in_thread(lambda: adapter.ready.wait(DEADLINE) and asyncio.run(client()))
    adapter.run()
    join(thread)
    assert adapter.acked == [b"%d" % number for number in range(100)]
