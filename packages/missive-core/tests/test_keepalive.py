"""Keepalive: what goes on for the transport while handlers are busy."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import missive
import pytest
from memory_transport import DEADLINE, MemoryTransport, running
from missive import Delivery
from missive.polling.watch import Turnstile
from missive.transport_errors import TransportRefused

LEASE = 0.2


class Refused(Exception):
    """What no new connection mends."""


class Leased(MemoryTransport):
    """A transport that notes its keepalives, and calls of it that overlap."""

    keepalive_interval: float | None = LEASE / 4
    fatal_errors = (Refused,)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.failures: list[BaseException] = []
        self.beats = threading.Semaphore(0)
        self.beating_threads: set[int] = set()
        self.kept: list[list[bytes]] = []
        self.overlaps = 0
        self._busy = threading.Lock()

    def keepalive(self) -> None:
        self._alone()
        self.beating_threads.add(threading.get_ident())
        unsettled = self.unsettled()
        self.kept.append([item.raw_data for item in unsettled if isinstance(item, Delivery)])
        self._busy.release()
        self.beats.release()
        if self.failures:
            raise self.failures.pop(0)

    def _alone(self) -> None:
        if not self._busy.acquire(blocking=False):
            self.overlaps += 1
            self._busy.acquire()

    def receive(self, timeout: float) -> Sequence[Delivery]:
        self._alone()
        try:
            return super().receive(timeout)
        finally:
            self._busy.release()

    def ack(self, message: missive.Message) -> None:
        self._alone()
        try:
            super().ack(message)
        finally:
            self._busy.release()

    def await_beats(self, count: int) -> None:
        """Wait until the transport was kept alive so many times more."""
        for _ in range(count):
            assert self.beats.acquire(timeout=DEADLINE)


class Long:
    """A handler that goes on until the transport was kept alive a few times."""

    def __init__(self, beats: int = 4) -> None:
        self.beats = beats
        self.adapter: Any = None

    def __call__(self, message: missive.Message, ctx: Any) -> None:
        if message.raw_data == b"long":
            while self.adapter.beats.acquire(blocking=False):
                """Only those count that come while this handler runs."""
            self.adapter.await_beats(self.beats)
        ctx.ack()


def leased(handler: Any, *bodies: bytes, **options: Any) -> Leased:
    """Return an adapter that runs a handler, which gets to know it where it is a ``Long``."""
    processor: missive.Processor[Any] = missive.Processor()
    processor.handle_for(missive.otherwise)(handler)
    adapter = Leased(processor, bodies, **options)
    if isinstance(handler, Long):
        handler.adapter = adapter
    return adapter


@pytest.mark.parametrize("workers", [1, 3])
def test_leases_are_kept_alive_while_a_handler_is_long(workers: int) -> None:
    """Keepalive goes on for all that is unsettled, and never beside another call."""
    adapter = leased(Long(), b"long", b"1", b"2", workers=workers, until_settled=True)
    adapter.run()
    assert sorted(adapter.acked) == [b"1", b"2", b"long"]
    assert any(b"long" in kept for kept in adapter.kept)
    assert adapter.overlaps == 0
    here = threading.get_ident()
    assert adapter.settling_threads == {here}
    if workers == 1:  # the receiving thread is occupied, so another one has to
        assert adapter.beating_threads - {here}
        assert any(kept == [b"long", b"1", b"2"] for kept in adapter.kept)
    else:
        assert adapter.beating_threads == {here}


def test_a_batch_is_kept_alive_while_its_handler_is_long() -> None:
    """A batch handler in the receiving thread lets the keepalive in as well."""
    processor: missive.Processor[Any] = missive.Processor()

    @processor.handle_batch_for(missive.otherwise, size=2)
    def handle(messages: Any, ctx: Any) -> None:
        while adapter.beats.acquire(blocking=False):
            """Only those count that come while this handler runs."""
        adapter.await_beats(2)
        ctx.ack_rest()

    adapter = Leased(processor, [b"1", b"2"])
    adapter.run()
    assert adapter.acked == [b"1", b"2"]
    assert adapter.overlaps == 0
    assert adapter.beating_threads - {threading.get_ident()}


def test_a_handler_that_is_overdue_is_named_without_a_keepalive() -> None:
    """Where a transport has no leases, the watch still names the handler that runs too long."""
    named = threading.Event()

    def handle(message: Any, ctx: Any) -> None:
        assert named.wait(DEADLINE)
        ctx.ack()

    class Names(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "handler_timeout" in record.getMessage():
                named.set()

    adapter = leased(handle, b"1", handler_timeout=0.01)
    adapter.keepalive_interval = None
    watcher = Names()
    logging.getLogger("missive.polling.watch").addHandler(watcher)
    try:
        adapter.run()
    finally:
        logging.getLogger("missive.polling.watch").removeHandler(watcher)
    assert adapter.acked == [b"1"]
    assert adapter.kept == []


def test_a_lost_connection_during_a_handler_is_left_to_the_receiving_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A keepalive that fails by the connection is logged, and goes on with the next beat."""

    class Fails(Long):
        def __call__(self, message: Any, ctx: Any) -> None:
            self.adapter.failures.append(ConnectionError())
            super().__call__(message, ctx)

    adapter = leased(Fails(), b"long")
    adapter.run()
    assert adapter.acked == [b"long"]
    assert "keepalive failed: ConnectionError" in caplog.text


@pytest.mark.parametrize("kind", [LookupError, KeyboardInterrupt])
def test_a_foreign_error_of_a_keepalive_ends_the_run(kind: type[BaseException]) -> None:
    """Beside a handler it lets that finish and be settled first; then ``run`` raises it."""
    failure = kind("foreign")
    reached = threading.Event()

    class Fails(Long):
        def __call__(self, message: Any, ctx: Any) -> None:
            self.adapter.failures.append(failure)
            super().__call__(message, ctx)
            reached.set()

    adapter = leased(Fails(beats=1), b"long", endless=True)
    with pytest.raises(kind) as caught:
        adapter.run()
    assert caught.value is failure
    assert reached.is_set()
    assert adapter.acked == [b"long"]


def test_a_lost_connection_that_an_idle_keepalive_notices_is_opened_again() -> None:
    """In the receiving thread a keepalive's connection error has the transport opened again."""
    adapter = leased(Long(), endless=True)
    adapter.failures.append(ConnectionError())
    with running(adapter) as errors:
        adapter.await_beats(2)
    assert errors == []
    assert adapter.opened == 2


def test_a_keepalive_that_is_refused_ends_the_run() -> None:
    """In the receiving thread an error that no new connection mends is raised by ``run``."""
    adapter = leased(Long(), endless=True)
    adapter.failures.append(Refused("no"))
    with pytest.raises(TransportRefused) as caught:
        adapter.run()
    assert isinstance(caught.value.__cause__, Refused)
    assert adapter.opened == 1


def test_a_keepalive_goes_on_while_the_run_drains() -> None:
    """After ``stop`` the leases of what is still being handled are kept alive."""

    class Stops(Long):
        def __call__(self, message: Any, ctx: Any) -> None:
            self.adapter.stop()
            super().__call__(message, ctx)

    adapter = leased(Stops(), b"long", workers=2, endless=True)
    adapter.run()
    assert adapter.acked == [b"long"]


def test_the_transport_is_open_to_others_only_while_a_handler_runs() -> None:
    """Before and after a handler the turnstile lets nobody through."""
    calls: list[str] = []
    turnstile = Turnstile()
    assert not turnstile.pass_through(0.0, lambda: calls.append("before"))
    with turnstile:
        assert turnstile.pass_through(0.0, lambda: calls.append("during"))
    assert not turnstile.pass_through(0.0, lambda: calls.append("after"))
    assert calls == ["during"]


def test_what_a_keepalive_settles_does_not_open_the_turnstile() -> None:
    """Entered by the watch itself, it stays as it is: the receiving thread waits for the watch."""
    turnstile = Turnstile()
    free: list[bool] = []

    def settle() -> None:
        with turnstile:
            free.append(turnstile.shut(blocking=False))

    with turnstile:
        assert turnstile.pass_through(0.0, settle)
    assert free == [False]
    assert not turnstile.pass_through(0.0, settle)


class SlowStore(missive.MemoryDLQ):
    """A store whose writes take as long as it takes to keep a transport alive a few times."""

    adapter: Any = None

    def put_many(self, letters: Any) -> None:
        while self.adapter.beats.acquire(blocking=False):
            """Only those count that come while this is written."""
        self.adapter.await_beats(4)
        super().put_many(letters)


@pytest.mark.parametrize("workers", [1, 3])
def test_leases_are_kept_alive_while_a_letter_is_written(workers: int) -> None:
    """A store that takes long, as one that fails over, costs no message its lease."""

    def fail(message: missive.Message, ctx: Any) -> None:
        raise LookupError("not known")

    adapter = leased(fail, b"1", b"2", workers=workers, until_settled=True)
    store = SlowStore()
    store.adapter = adapter
    adapter.processor.set_dlq(store)
    adapter.run()
    assert sorted(adapter.acked) == [b"1", b"2"]
    assert store.counts().dead == 2
    assert adapter.overlaps == 0
    assert adapter.beating_threads - {threading.get_ident()}
    assert any(sorted(kept) == [b"1", b"2"] for kept in adapter.kept)
    assert all(len(kept) == len(set(kept)) for kept in adapter.kept)


def test_keepalives_that_fail_in_a_row_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """While a long handler's transport is away, the log says so once, and again after it was back."""

    def handle(message: missive.Message, ctx: Any) -> None:
        for count in (3, 1):
            adapter.failures = [ConnectionError("gone") for _ in range(count)]
            while adapter.failures:
                adapter.await_beats(1)
            while adapter.beats.acquire(blocking=False):
                """Only those count that come when it is back."""
            adapter.await_beats(2)
        ctx.ack()

    adapter = leased(handle, b"long", until_settled=True)
    adapter.run()
    assert caplog.text.count("keepalive failed: ConnectionError") == 2
