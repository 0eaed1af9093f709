"""Async handlers and hooks: on one event loop, settled under the same table as plain ones."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
import threading
import types
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextvars import ContextVar, copy_context
from functools import partial, wraps
from pathlib import Path
from typing import Any

import missive
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_transport import DEADLINE, MemoryTransport, running
from missive import MemoryDLQ, Outcome, RawMessage, Retry
from missive.errors import DrainTimeout, HandlerCancelled
from missive.loop_tasks import CANCELLED, live, raised_in_callers_task
from missive.loop_thread import LoopThread
from missive.polling.event_loop import EventLoopExecutor
from missive.polling.threads import ThreadExecutor

Processor = missive.Processor[Any]


class Broken(Exception):
    """What handlers of these tests raise."""


def processor_of(handler: Callable[..., Any], **options: Any) -> Processor:
    processor: Processor = missive.Processor()
    processor.handle_for(missive.otherwise, **options)(handler)
    return processor


def numbered(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


async def ack(message: RawMessage, ctx: Any) -> None:
    await asyncio.sleep(0)
    ctx.ack()


# Where handlers run.


def test_async_handlers_share_one_loop_and_the_receiving_thread_settles() -> None:
    """Every task runs on one event loop in a thread of its own; acks are sent by that of run."""
    loops, threads = set(), set()

    async def handler(message: RawMessage, ctx: Any) -> None:
        loops.add(asyncio.get_running_loop())
        threads.add(threading.get_ident())
        ctx.ack()

    adapter = MemoryTransport(processor_of(handler), numbered(20))
    adapter.run()
    assert sorted(adapter.acked) == sorted(numbered(20))
    assert len(loops) == len(threads) == 1
    assert adapter.settling_threads == {threading.get_ident()}
    assert threads != {threading.get_ident()}


def test_async_handlers_wait_together() -> None:
    """Messages are handled at the same time on one loop, with one worker."""
    everybody = asyncio.Event()
    inside = 0

    async def handler(message: RawMessage, ctx: Any) -> None:
        nonlocal inside
        inside += 1
        if inside == 50:
            everybody.set()
        await asyncio.wait_for(everybody.wait(), DEADLINE)
        ctx.ack()

    adapter = MemoryTransport(processor_of(handler), numbered(50))
    adapter.run()
    assert len(adapter.acked) == 50


def test_max_in_flight_bounds_what_is_handled_and_taken_off_the_transport() -> None:
    """No more is taken off than max_in_flight, however many the transport has and one read brings."""
    most, inside = 0, 0
    release = threading.Event()
    full = threading.Event()

    async def handler(message: RawMessage, ctx: Any) -> None:
        nonlocal most, inside
        inside += 1
        most = max(most, inside)
        if inside == 7:
            full.set()
        while not release.is_set():
            await asyncio.sleep(0.001)
        inside -= 1
        ctx.ack()

    adapter = MemoryTransport(
        processor_of(handler), numbered(40), endless=True, batch_size=5, max_in_flight=7
    )
    with running(adapter) as errors:
        assert full.wait(DEADLINE)
        for _ in range(20):
            adapter.wake()
        release.set()
        while len(adapter.acked) < 40:
            assert not errors
            threading.Event().wait(0.005)
    assert most == adapter.most_unacked == 7


def test_plain_handlers_of_an_async_run_go_to_threads() -> None:
    """A plain handler beside an async one runs in a worker thread, and may block there."""
    processor: Processor = missive.Processor()
    loop_thread: set[int] = set()
    both = threading.Barrier(2, timeout=DEADLINE)
    threads: set[int] = set()

    @processor.handle_for(lambda message: message.raw_data == b"async")
    async def on_loop(message: RawMessage, ctx: Any) -> None:
        loop_thread.add(threading.get_ident())
        ctx.ack()

    @processor.handle_for(lambda message: message.raw_data != b"async")
    def in_thread(message: RawMessage, ctx: Any) -> None:
        threads.add(threading.get_ident())
        both.wait()
        ctx.ack()

    adapter = MemoryTransport(processor, [b"1", b"2", b"async"], workers=2)
    adapter.run()
    assert len(adapter.acked) == 3
    assert len(threads) == 2
    assert not threads & loop_thread
    assert threading.get_ident() not in threads


def test_a_plain_handler_within_async_hooks_goes_to_a_thread_too() -> None:
    """An async hook runs on the loop, the plain handler in it elsewhere, so it blocks nothing."""
    threads: dict[str, int] = {}

    def handler(message: RawMessage, ctx: Any) -> None:
        threads["handler"] = threading.get_ident()
        ctx.ack()

    processor = processor_of(handler)

    @processor.around_handling
    async def around(processing_ctx: Any, ctx: Any) -> AsyncIterator[None]:
        threads["hook"] = threading.get_ident()
        yield

    adapter = MemoryTransport(processor, [b"1"])
    adapter.run()
    assert adapter.acked == [b"1"]
    assert len({threading.get_ident(), *threads.values()}) == 3


def test_plain_handlers_that_have_not_begun_are_given_back_at_stop() -> None:
    """A plain handler of an async run that waits for a thread does not begin after stop."""
    processor: Processor = missive.Processor()
    begun = threading.Event()
    release = threading.Event()
    handled: list[bytes] = []

    @processor.handle_for(lambda message: message.raw_data == b"async")
    async def on_loop(message: RawMessage, ctx: Any) -> None:
        ctx.ack()

    @processor.handle_for(missive.otherwise)
    def in_thread(message: RawMessage, ctx: Any) -> None:
        handled.append(message.raw_data)
        begun.set()
        assert release.wait(DEADLINE)
        ctx.ack()

    adapter = MemoryTransport(processor, numbered(10), endless=True)
    with running(adapter):
        assert begun.wait(DEADLINE)
        adapter.stop()
        release.set()
    assert adapter.acked == handled == [b"0"]
    assert sorted(adapter.given_back) == numbered(10)[1:]


def test_a_returned_awaitable_is_awaited_although_the_function_is_plain() -> None:
    """A plain wrapper around an async handler is awaited, never dropped."""

    @wraps(ack)
    def wrapped(message: RawMessage, ctx: Any) -> Any:
        return ack(message, ctx)

    adapter = MemoryTransport(processor_of(wrapped), numbered(3))
    adapter.run()
    assert len(adapter.acked) == 3


def test_a_loop_factory_makes_the_loop() -> None:
    """``loop_factory=`` takes the place of asyncio's own, as uvloop's would."""
    made: list[asyncio.AbstractEventLoop] = []
    used: list[asyncio.AbstractEventLoop] = []

    def factory() -> asyncio.AbstractEventLoop:
        made.append(asyncio.SelectorEventLoop())
        return made[0]

    async def handler(message: RawMessage, ctx: Any) -> None:
        used.append(asyncio.get_running_loop())
        ctx.ack()

    MemoryTransport(processor_of(handler), [b"1"], loop_factory=factory).run()
    assert used == made
    assert made[0].is_closed()


def test_a_plain_run_imports_no_asyncio() -> None:
    """Without an async handler or hook, asyncio is not imported."""
    program = """
import io, sys, missive
from missive import StdinAdapter
processor = missive.Processor()
@processor.handle_for(missive.otherwise)
def handler(message, ctx): ctx.ack()
@processor.around_delivery
def around(processing_ctx, ctx): yield
StdinAdapter(missive.RawMessage, processor).run()
assert "asyncio" not in sys.modules
"""
    subprocess.run(
        [sys.executable, "-c", program],
        input=b"1\n2\n",
        check=True,
        timeout=60,
        capture_output=True,
    )


# Processing hooks, and what they make.


def test_processing_hooks_live_on_the_loop_of_the_handlers() -> None:
    """A client that before_processing makes belongs to the loop that handlers run on."""
    seen: dict[str, Any] = {}

    async def handler(message: RawMessage, ctx: Any) -> None:
        seen["handler"] = asyncio.get_running_loop()
        await asyncio.wait_for(seen["queue"].put(message), DEADLINE)
        ctx.ack()

    processor = processor_of(handler)

    @processor.before_processing
    async def connect(processing_ctx: Any) -> None:
        seen["before"] = asyncio.get_running_loop()
        seen["queue"] = asyncio.Queue()

    @processor.after_processing
    async def disconnect(processing_ctx: Any) -> None:
        seen["after"] = asyncio.get_running_loop()
        seen["got"] = await seen["queue"].get()

    MemoryTransport(processor, [b"1"]).run()
    assert seen["before"] is seen["handler"] is seen["after"]
    assert seen["got"].raw_data == b"1"


def test_around_processing_is_entered_and_left_in_one_task() -> None:
    """What is bound to a task, such as a timeout or a task group, can span the whole run."""
    tasks: list[Any] = []
    processor = processor_of(ack)

    @processor.around_processing
    async def around(processing_ctx: Any) -> AsyncIterator[None]:
        tasks.append(asyncio.current_task())
        yield
        tasks.append(asyncio.current_task())

    MemoryTransport(processor, [b"1"]).run()
    assert tasks[0] is tasks[1]


@pytest.mark.parametrize("when", ["before", "around", "after"])
def test_what_an_async_processing_hook_raises_ends_the_run(when: str) -> None:
    """run raises it, and every after-hook ran."""
    ran: list[str] = []
    processor = processor_of(ack)

    async def failing(processing_ctx: Any) -> None:
        raise Broken

    async def failing_around(processing_ctx: Any) -> AsyncIterator[None]:
        yield
        raise Broken

    @processor.after_processing
    async def last(processing_ctx: Any) -> None:
        ran.append("after")

    hooks: dict[str, Any] = {
        "before": lambda: processor.before_processing(failing),
        "around": lambda: processor.around_processing(failing_around),
        "after": lambda: processor.after_processing(failing),
    }
    hooks[when]()
    with pytest.raises(Broken):
        MemoryTransport(processor, [b"1"]).run()
    assert ran == ["after"]


# The table.


def outcomes_of(processor: Processor, *bodies: bytes) -> list[Outcome | None]:
    with processor.test_client() as client:
        return [client.send(body, message_id=b"%d" % n) for n, body in enumerate(bodies)]


def test_an_exception_of_an_async_handler_is_a_dead_letter() -> None:
    """What an async handler raises is the reason of the letter, which is written before the ack."""

    async def handler(message: RawMessage, ctx: Any) -> None:
        await asyncio.sleep(0)
        raise Broken("why")

    processor = processor_of(handler)
    store = MemoryDLQ()
    processor.set_dlq(store)
    adapter = MemoryTransport(processor, [b"1"])
    adapter.run()
    assert adapter.acked == [b"1"]
    (letter,) = store.letters()
    assert letter.reason == "why"


def test_an_exception_without_a_dlq_ends_the_run() -> None:
    """Without a DLQ run raises what the handler raised, and nothing is acked."""

    async def handler(message: RawMessage, ctx: Any) -> None:
        raise Broken

    adapter = MemoryTransport(processor_of(handler), [b"1"])
    with pytest.raises(Broken):
        adapter.run()
    assert not adapter.acked


def test_an_async_handler_that_decides_nothing_is_an_error() -> None:
    """No decision is a failure of the message, as with plain handlers."""

    async def handler(message: RawMessage, ctx: Any) -> None:
        await asyncio.sleep(0)

    processor = processor_of(handler)
    processor.set_dlq({})
    assert outcomes_of(processor, b"1") == [Outcome.DEAD_LETTERED]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("deep", [False, True], ids=["handler", "task"])
def test_what_is_no_exception_ends_the_run_and_leaves_the_message(
    error: BaseException, deep: bool
) -> None:
    """SystemExit and its kind: run raises it, the message is unsettled, hooks are unwound."""
    unwound: list[str] = []

    async def leave() -> None:
        raise error

    async def handler(message: RawMessage, ctx: Any) -> None:
        if deep:
            await asyncio.get_running_loop().create_task(leave())
        raise error

    processor = processor_of(handler)
    processor.set_dlq({})

    @processor.around_delivery
    async def around(processing_ctx: Any, ctx: Any) -> AsyncIterator[None]:
        try:
            yield
        finally:
            unwound.append("delivery")

    @processor.after_processing
    async def after(processing_ctx: Any) -> None:
        unwound.append("processing")

    adapter = MemoryTransport(processor, [b"1"])
    with pytest.raises(type(error)):
        adapter.run()
    assert not adapter.acked
    assert unwound == ["delivery", "processing"]


@pytest.mark.parametrize("kind", ["inline", "threads", "loop", "batch"])
def test_around_delivery_is_unwound_whatever_ends_the_run(kind: str) -> None:
    """SystemExit in a handler unwinds around_delivery wherever handlers run."""
    unwound: list[str] = []

    def handler(message: Any, ctx: Any) -> None:
        raise SystemExit

    async def async_handler(message: Any, ctx: Any) -> None:
        raise SystemExit

    processor: Processor = missive.Processor()
    if kind == "batch":
        processor.handle_batch_for(missive.otherwise, size=2)(handler)
    else:
        processor.handle_for(missive.otherwise)(async_handler if kind == "loop" else handler)

    @processor.around_delivery
    def around(processing_ctx: Any, ctx: Any) -> Iterator[None]:
        try:
            yield
        finally:
            unwound.append("delivery")

    adapter = MemoryTransport(processor, numbered(2), workers=2 if kind == "threads" else 1)
    with pytest.raises(SystemExit):
        adapter.run()
    assert unwound
    assert not adapter.acked


def test_a_background_task_that_exits_ends_the_run() -> None:
    """SystemExit in a task of the user's own ends the run, and hangs nothing."""
    tasks: set[Any] = set()

    async def leave() -> None:
        raise SystemExit(4)

    async def handler(message: RawMessage, ctx: Any) -> None:
        tasks.add(asyncio.get_running_loop().create_task(leave()))
        await asyncio.sleep(0.01)
        ctx.ack()

    adapter = MemoryTransport(processor_of(handler), [b"1"], endless=True)
    with pytest.raises(SystemExit):
        adapter.run()
    for task in tasks:
        assert isinstance(task.exception(), SystemExit)


def cancelled_by(kind: str) -> Callable[..., Any]:
    async def handler(message: RawMessage, ctx: Any) -> None:
        if kind == "raised":
            raise asyncio.CancelledError
        if kind == "child":
            child = asyncio.get_running_loop().create_task(asyncio.sleep(DEADLINE))
            child.cancel()
            await child
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(DEADLINE)

    return handler


@pytest.mark.parametrize("kind", ["raised", "child", "itself"])
@pytest.mark.parametrize("hooked", [False, True], ids=["bare", "hooked"])
def test_a_cancelled_error_of_the_handlers_own_is_a_failure_of_its_message(
    kind: str, hooked: bool
) -> None:
    """CancelledError that the run did not cause becomes a dead letter, and the run goes on."""
    processor = processor_of(cancelled_by(kind))
    ended: list[Outcome | None] = []
    store = MemoryDLQ()
    processor.set_dlq(store)
    if hooked:

        @processor.around_delivery
        async def around(processing_ctx: Any, ctx: Any) -> AsyncIterator[None]:
            yield
            ended.append(ctx.outcome)

    adapter = MemoryTransport(processor, numbered(2))
    adapter.run()
    assert sorted(adapter.acked) == numbered(2)
    assert {letter.error_type for letter in store.letters()} == {"missive.errors.HandlerCancelled"}
    assert ended == [Outcome.DEAD_LETTERED] * (2 if hooked else 0)


def test_a_returned_awaitable_that_is_cancelled_is_a_failure_of_its_message() -> None:
    """Where a plain function returned what is cancelled, its message fails; the run goes on."""

    def handler(message: RawMessage, ctx: Any) -> Any:
        return cancelled_by("raised")(message, ctx)

    processor = processor_of(handler)
    processor.set_dlq({})
    assert outcomes_of(processor, b"1") == [Outcome.DEAD_LETTERED]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups are new in 3.11")
@pytest.mark.parametrize(
    ("parts", "outcome"),
    [
        ((ConnectionError(),), Outcome.DEFERRED),
        ((ConnectionError(), TimeoutError()), Outcome.DEFERRED),
        ((ConnectionError(), ValueError()), Outcome.DEAD_LETTERED),
        ((ConnectionError(), ConnectionResetError()), Outcome.DEAD_LETTERED),
    ],
)
def test_an_exception_group_is_retried_where_each_of_its_exceptions_is(
    parts: Sequence[Exception], outcome: Outcome
) -> None:
    """A group that a task group raises is judged by what is in it, nested groups included."""

    async def handler(message: RawMessage, ctx: Any) -> None:
        raise ExceptionGroup("outer", [ExceptionGroup("inner", parts)])  # noqa: F821

    retry = Retry(on=(ConnectionError, TimeoutError), not_on=(ConnectionResetError,))
    processor = processor_of(handler, retry=retry)
    processor.set_dlq(MemoryDLQ())
    assert outcomes_of(processor, b"1") == [outcome]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups are new in 3.11")
def test_a_group_that_holds_system_exit_ends_the_run() -> None:
    """A BaseExceptionGroup is no Exception: the message is unsettled and run raises it."""

    async def handler(message: RawMessage, ctx: Any) -> None:
        raise BaseExceptionGroup("group", [SystemExit()])  # noqa: F821

    processor = processor_of(handler)
    processor.set_dlq({})
    adapter = MemoryTransport(processor, [b"1"])
    with pytest.raises(BaseExceptionGroup):  # noqa: F821
        adapter.run()
    assert not adapter.acked


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups are new in 3.11")
def test_a_group_with_an_outage_in_it_opens_the_breaker() -> None:
    """A breaker sees an outage in a group of exceptions."""

    async def handler(message: RawMessage, ctx: Any) -> None:
        raise ExceptionGroup("group", [ConnectionError()])  # noqa: F821

    breaker = missive.Breaker(on=(ConnectionError,), failures=1)
    processor = processor_of(handler, breaker=breaker)
    processor.set_dlq(MemoryDLQ())
    assert outcomes_of(processor, b"1") == [Outcome.DEFERRED]


def test_a_retry_of_an_async_handler_counts_its_attempts() -> None:
    """A retry in place has the async handler called again, with the next attempt."""
    attempts: list[int] = []

    async def handler(message: RawMessage, ctx: Any) -> None:
        attempts.append(ctx.attempt)
        if ctx.attempt < 3:
            raise Broken
        ctx.ack()

    retry = Retry(attempts=3, delay=0.0, in_order=True)
    adapter = MemoryTransport(processor_of(handler, retry=retry), [b"1"])
    adapter.run()
    assert attempts == [1, 2, 3]
    assert adapter.acked == [b"1"]


def test_seconds_are_measured_for_async_handlers() -> None:
    """``ctx.seconds`` is how long handling took, wherever it ran."""
    seconds: list[float] = []
    processor = processor_of(ack)

    @processor.on_settled
    async def note(processing_ctx: Any, ctx: Any) -> None:
        seconds.append(ctx.seconds)

    MemoryTransport(processor, numbered(3)).run()
    assert len(seconds) == 3
    assert all(0 < each < DEADLINE for each in seconds)


# Order.


def test_ordering_key_holds_for_async_handlers() -> None:
    """Messages of one key are handled one after the other, those of other keys beside them."""
    active: Counter[bytes] = Counter()
    order: dict[bytes, list[int]] = {}
    together = 0

    async def handler(message: RawMessage, ctx: Any) -> None:
        nonlocal together
        key, number = message.raw_data.split(b":")
        active[key] += 1
        assert active[key] == 1
        together = max(together, active.total() if hasattr(active, "total") else 2)
        for _ in range(int(number) % 3):
            await asyncio.sleep(0)
        order.setdefault(key, []).append(int(number))
        active[key] -= 1
        ctx.ack()

    bodies = [b"%d:%d" % (number % 5, number) for number in range(200)]
    adapter = MemoryTransport(
        processor_of(handler), bodies, ordering_key=lambda m: m.raw_data.split(b":")[0]
    )
    adapter.run()
    assert len(adapter.acked) == 200
    assert all(numbers == sorted(numbers) for numbers in order.values())
    assert together > 1


@pytest.mark.parametrize("colour", ["threads", "async"])
def test_a_key_goes_on_after_an_ack_that_was_lost_with_its_connection(colour: str) -> None:
    """A settlement that the connection lost holds back no later message of its ordering key."""

    def plain(message: RawMessage, ctx: Any) -> None:
        ctx.ack()

    handler = plain if colour == "threads" else ack
    adapter = MemoryTransport(
        processor_of(handler),
        [b"1"],
        until_settled=True,
        workers=2,
        ordering_key=lambda message: "key",
    )
    adapter.fail_next_ack = ConnectionError()
    done = threading.Event()

    def run() -> None:
        adapter.run()
        done.set()

    threading.Thread(target=run, daemon=True).start()
    assert done.wait(DEADLINE)
    assert adapter.acked == [b"1"]
    assert adapter.opened == 2


# The end.


def test_stop_lets_tasks_finish() -> None:
    """What is being handled when stop is called is finished and settled."""
    begun = threading.Event()
    release = threading.Event()

    async def handler(message: RawMessage, ctx: Any) -> None:
        begun.set()
        while not release.is_set():
            await asyncio.sleep(0.001)
        ctx.ack()

    adapter = MemoryTransport(processor_of(handler), [b"1"], endless=True)
    with running(adapter) as errors:
        assert begun.wait(DEADLINE)
        adapter.stop()
        release.set()
    assert adapter.acked == [b"1"]
    assert not errors


@pytest.mark.parametrize("manner", ["ends", "acks regardless", "acks later", "goes on"])
@pytest.mark.parametrize("hooked", [False, True], ids=["bare", "hooked"])
def test_the_drain_deadline_cancels_tasks_and_reports_their_ids(
    manner: str, hooked: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At the deadline tasks are cancelled and never acked, whatever they do about it."""
    monkeypatch.setattr("missive.loop_thread.GRACE", 0.4)
    monkeypatch.setattr("missive.polling.event_loop.GRACE", 0.4)
    begun, over = threading.Event(), threading.Event()
    ended: list[str] = []

    async def handler(message: RawMessage, ctx: Any) -> None:
        begun.set()
        try:
            await asyncio.sleep(DEADLINE)
        except asyncio.CancelledError:
            while manner == "goes on" and not over.is_set():
                try:
                    await asyncio.sleep(0.001)
                except asyncio.CancelledError:
                    continue
            if manner == "ends":
                raise
            if manner == "acks later":
                await asyncio.sleep(0)
        finally:
            ended.append("handler")
        ctx.ack()

    processor = processor_of(handler)
    if hooked:

        @processor.around_delivery
        async def around(processing_ctx: Any, ctx: Any) -> AsyncIterator[None]:
            try:
                yield
            finally:
                ended.append("hook")

    adapter = MemoryTransport(processor, [b"seven"], endless=True, drain_timeout=0.0)
    with running(adapter) as errors:
        assert begun.wait(DEADLINE)
        adapter.stop()
    over.set()
    (error,) = errors
    assert isinstance(error, DrainTimeout)
    assert "seven" in str(error)
    assert not adapter.acked
    assert "cancelled at the drain deadline, unsettled: seven" in caplog.text
    if manner != "goes on":
        assert ended == ["handler", "hook"][: 2 if hooked else 1]


def test_what_finishes_while_others_are_cancelled_is_settled() -> None:
    """At the drain deadline only what has not finished when the cancellation is over is given up."""
    plain_begun, async_begun, release = (threading.Event() for _ in range(3))
    processor: missive.Processor[Any] = missive.Processor()

    @processor.handle_for(lambda message: message.raw_data == b"plain")
    def plain(message: RawMessage, ctx: Any) -> None:
        plain_begun.set()
        assert release.wait(DEADLINE)
        ctx.ack()

    @processor.handle_for(missive.otherwise)
    async def cancelled(message: RawMessage, ctx: Any) -> None:
        async_begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            release.set()
            while not adapter._loop.executor.has_finished:  # type: ignore[union-attr]
                await asyncio.sleep(0)

    adapter = MemoryTransport(processor, [b"plain", b"seven"], endless=True, drain_timeout=0.0)
    with running(adapter) as errors:
        assert plain_begun.wait(DEADLINE)
        assert async_begun.wait(DEADLINE)
        adapter.stop()
    (error,) = errors
    assert isinstance(error, DrainTimeout)
    assert "seven" in str(error)
    assert adapter.acked == [b"plain"]


def test_what_a_cancelled_handler_raises_beyond_exceptions_ends_the_run() -> None:
    """A handler that answers its cancellation with a SystemExit has ``run`` raise that."""
    begun = threading.Event()

    async def handler(message: RawMessage, ctx: Any) -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            raise SystemExit(7)

    adapter = MemoryTransport(processor_of(handler), [b"seven"], endless=True, drain_timeout=0.0)
    with running(adapter) as errors:
        assert begun.wait(DEADLINE)
        adapter.stop()
    (error,) = errors
    assert isinstance(error, SystemExit)
    assert error.code == 7
    assert not adapter.acked


def test_a_blocked_loop_keeps_no_run_from_its_drain_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a handler blocks the loop for good, run ends all the same."""
    monkeypatch.setattr("missive.loop_thread.GRACE", 0.1)
    monkeypatch.setattr("missive.polling.event_loop.GRACE", 0.1)
    begun, release = threading.Event(), threading.Event()

    async def handler(message: RawMessage, ctx: Any) -> None:
        begun.set()
        release.wait(DEADLINE)

    adapter = MemoryTransport(processor_of(handler), [b"1"], endless=True, drain_timeout=0.0)
    try:
        with running(adapter) as errors:
            assert begun.wait(DEADLINE)
            adapter.stop()
        assert isinstance(errors[0], DrainTimeout)
    finally:
        release.set()


def test_a_handler_that_blocks_the_loop_is_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning names the handler, and shows no content."""
    monkeypatch.setattr("missive.polling.event_loop.BLOCKED_AFTER", 0.05)
    warned = threading.Event()

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warned.set()

    async def blocking(message: RawMessage, ctx: Any) -> None:
        assert warned.wait(DEADLINE)
        ctx.ack()

    log = logging.getLogger("missive.polling.event_loop")
    noting = Noting()
    log.addHandler(noting)
    try:
        MemoryTransport(processor_of(blocking), [b"secret", b"other"]).run()
    finally:
        log.removeHandler(noting)
    (record,) = (r for r in caplog.records if r.name == log.name)
    assert "blocking blocks the event loop" in record.getMessage()
    assert "secret" not in record.getMessage()


def test_many_quick_tasks_are_not_taken_for_one_that_blocks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A loop that is busy with many tasks in turn names none of them."""
    now, looked, look = [0.0], threading.Event(), EventLoopExecutor._look_for_blocking

    def look_and_tell(executor: Any) -> None:
        look(executor)
        looked.set()

    async def quick(message: RawMessage, ctx: Any) -> None:
        now[0] += 0.01  # on the executor's clock, whatever time the machine takes
        if int(message.raw_data) % 50 == 0:
            looked.clear()
            assert looked.wait(DEADLINE)
        ctx.ack()

    monkeypatch.setattr("missive.polling.event_loop.BLOCKED_AFTER", 0.05)
    monkeypatch.setattr("missive.polling.event_loop.monotonic", lambda: now[0])
    monkeypatch.setattr(EventLoopExecutor, "_look_for_blocking", look_and_tell)
    MemoryTransport(processor_of(quick), numbered(300), batch_size=300, max_in_flight=300).run()
    assert "blocks the event loop" not in caplog.text


# The test client.


def test_asend_settles_on_the_running_loop_with_the_same_lists() -> None:
    """Inside a loop, ``async with`` and ``asend`` run handlers and hooks on that very loop."""
    loops: list[Any] = []

    async def handler(message: RawMessage, ctx: Any) -> None:
        loops.append(asyncio.get_running_loop())
        if message.raw_data == b"bad":
            raise Broken
        if message.raw_data == b"again":
            ctx.nack()
        else:
            ctx.ack()

    processor = processor_of(handler)
    processor.set_dlq({})

    @processor.before_processing
    async def before(processing_ctx: Any) -> None:
        loops.append(asyncio.get_running_loop())

    async def test() -> None:
        async with processor.test_client() as client:
            assert await client.asend(b"good") is Outcome.ACKED
            assert await client.asend(b"bad") is Outcome.DEAD_LETTERED
            assert await client.asend(b"again") is Outcome.NACKED
        assert [m.raw_data for m in client.acked] == [b"good", b"bad"]
        assert [m.raw_data for m in client.dead_lettered] == [b"bad"]
        assert [m.raw_data for m in client.nacked] == [b"again"]
        assert set(loops) == {asyncio.get_running_loop()}

    asyncio.run(test())


def test_send_works_from_plain_code() -> None:
    """``send`` has async handlers run on a loop of the client's own."""
    assert outcomes_of(processor_of(ack), b"1", b"2") == [Outcome.ACKED] * 2


@pytest.mark.skipif(sys.version_info < (3, 11), reason="3.10 cannot tell who cancelled a task")
def test_asend_tells_the_handlers_own_cancellation_from_the_tests() -> None:
    """A handler's own CancelledError is settled; a test that is cancelled stays cancelled."""
    processor = processor_of(cancelled_by("raised"))
    store = MemoryDLQ()
    processor.set_dlq(store)

    async def test() -> None:
        async with processor.test_client() as client:
            assert await client.asend(b"1") is Outcome.DEAD_LETTERED

    asyncio.run(test())
    (letter,) = store.letters()
    assert letter.error_type == f"{HandlerCancelled.__module__}.HandlerCancelled"
    forever = processor_of(partial(_sleep, DEADLINE))

    async def cancelled() -> None:
        async with forever.test_client() as client:
            await asyncio.wait_for(client.asend(b"1"), 0.01)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(cancelled())


async def _sleep(seconds: float, message: RawMessage, ctx: Any) -> None:
    await asyncio.sleep(seconds)


PROGRAM = """
import asyncio
import missive
import pytest
MARKER

processor = missive.Processor()


@processor.handle_for(missive.otherwise)
async def handle(message, ctx):
    await asyncio.sleep(0)
    ctx.ack()


@FIXTURE
async def client():
    async with processor.test_client() as client:
        yield client


async def test_it(client):
    assert await client.asend(b"1") is missive.Outcome.ACKED
    assert [message.raw_data for message in client.acked] == [b"1"]
"""


@pytest.mark.parametrize(
    ("plugin", "marker", "fixture"),
    [
        ("pytest_asyncio", "import pytest_asyncio", "pytest_asyncio.fixture"),
        ("anyio", "@pytest.fixture\ndef anyio_backend(): return 'asyncio'", "pytest.fixture"),
    ],
    ids=["pytest-asyncio", "anyio"],
)
def test_asend_works_under_the_plugins_that_there_are(
    plugin: str, marker: str, fixture: str, tmp_path: Path
) -> None:
    """pytest-asyncio and anyio run tests of async handlers, without a plugin of ours."""
    pytest.importorskip(plugin)
    mark = "asyncio" if plugin == "pytest_asyncio" else "anyio"
    text = PROGRAM.replace("MARKER", f"pytestmark = pytest.mark.{mark}\n{marker}")
    tmp_path.joinpath("test_it.py").write_text(text.replace("FIXTURE", fixture))
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "test_it.py"]
    asyncio_options = ["-o", "asyncio_default_fixture_loop_scope=function"]
    command += asyncio_options if mark == "asyncio" else ["-p", "no:asyncio"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


# Equivalence.

ACTIONS = ("ack", "nack", "raise", "nothing", "ack raise", "nack delay", "both")


def act(action: str, ctx: Any) -> None:
    if action.startswith("ack"):
        ctx.ack()
    if action == "nack":
        ctx.nack()
    if action == "nack delay":
        ctx.nack(delay=3.0)
    if action == "both":
        ctx.ack()
        ctx.nack()
    if action.endswith("raise"):
        raise Broken(action)


@given(
    actions=st.lists(st.sampled_from(ACTIONS), max_size=12),
    hook=st.sampled_from(("none", "before", "around", "raises")),
    retried=st.booleans(),
)
def test_async_handlers_settle_exactly_as_plain_ones(
    actions: list[str], hook: str, retried: bool
) -> None:
    """A processor with its handlers and hooks turned async settles as the plain one."""

    def plain(message: RawMessage, ctx: Any) -> None:
        act(message.raw_data.decode(), ctx)

    async def coloured(message: RawMessage, ctx: Any) -> None:
        await asyncio.sleep(0)
        act(message.raw_data.decode(), ctx)

    def add_hooks(processor: Processor, is_async: bool) -> None:
        def before(processing_ctx: Any, ctx: Any) -> None:
            if hook == "raises" and len(ctx.message.raw_data) == 4:
                raise Broken("hook")

        async def abefore(processing_ctx: Any, ctx: Any) -> None:
            before(processing_ctx, ctx)

        def around(processing_ctx: Any, ctx: Any) -> Iterator[None]:
            yield

        async def aaround(processing_ctx: Any, ctx: Any) -> AsyncIterator[None]:
            yield

        if hook in ("before", "raises"):
            processor.before_handling(abefore if is_async else before)
        if hook == "around":
            processor.around_handling(aaround if is_async else around)

    results = []
    for handler in (plain, coloured):
        retry = Retry(attempts=2, jitter=0.0) if retried else None
        processor = processor_of(handler, retry=retry)
        store = MemoryDLQ()
        processor.set_dlq(store)
        add_hooks(processor, handler is coloured)
        outcomes = outcomes_of(processor, *(action.encode() for action in actions))
        letters = [(letter.error_type, letter.reason, letter.attempt) for letter in store.letters()]
        results.append((outcomes, letters))
    assert results[0] == results[1]


# The loop thread by itself.


def test_a_task_that_exits_on_the_loop_is_logged_where_no_run_listens(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The loop goes on, and the log names the type and the place alone."""
    thread = LoopThread()

    async def leave() -> None:
        raise SystemExit("secret")

    async def answer() -> int:
        return 42

    try:
        left = thread.submit(leave())
        with pytest.raises(SystemExit):
            left.result(DEADLINE)
        assert thread.run(answer(), DEADLINE) == 42
    finally:
        thread.close()
    (text,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert text.startswith("a task raised SystemExit at ")
    assert "secret" not in text


class Blocked:
    """A plain function that blocks in its thread until it is released."""

    def __init__(self) -> None:
        self.begun, self.release = threading.Event(), threading.Event()
        self.thread: threading.Thread | None = None

    def __call__(self) -> None:
        self.thread = threading.current_thread()
        self.begun.set()
        assert self.release.wait(DEADLINE)

    def end(self) -> None:
        self.release.set()
        assert self.thread is not None
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive()


def test_a_function_may_return_after_its_task_was_cancelled() -> None:
    """Nobody waits for its result any more, and the loop has no error to report."""
    thread, blocked, reported = LoopThread(), Blocked(), []

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: reported.append(context))
        task = loop.create_task(thread.call(blocked))
        while not blocked.begun.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])
        blocked.end()
        await asyncio.sleep(0)  # what the thread handed back is looked at here

    try:
        thread.run(scene(), DEADLINE)
    finally:
        thread.close()
    assert reported == []


def test_a_function_may_return_after_the_loop_was_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its thread ends quietly; the debug log tells of it."""
    thread, blocked = LoopThread(), Blocked()
    with caplog.at_level(logging.DEBUG, "missive.loop"):
        thread.submit(thread.call(blocked))
        assert blocked.begun.wait(DEADLINE)
        thread.close()
        blocked.end()
    assert "a function returned after the end of its run" in caplog.text


def test_an_interrupt_of_an_async_handler_is_raised_where_it_was_sent() -> None:
    """Through the loop's thread, which goes on for the next message."""

    async def handler(message: RawMessage, ctx: Any) -> None:
        if message.raw_data == b"leave":
            raise SystemExit(3)
        ctx.ack()

    with processor_of(handler).test_client() as client:
        with pytest.raises(SystemExit) as caught:
            client.send(b"leave")
        assert caught.value.code == 3
        assert client.send(b"stay") is Outcome.ACKED


@pytest.mark.parametrize("hooked", [False, True], ids=["bare", "hooked"])
def test_a_run_that_ends_before_it_settles_unwinds_the_delivery_hooks(hooked: bool) -> None:
    """Their task is cancelled, and the hook sees that the message was not settled."""
    seen: list[type[BaseException]] = []
    processor = processor_of(ack)
    if hooked:

        @processor.around_delivery
        async def around(processing_ctx: Any, ctx: Any) -> AsyncIterator[None]:
            try:
                yield
            except BaseException as error:
                seen.append(type(error))
                raise

    client = processor.test_client()
    with processor.context(RawMessage, client) as ctx:
        context = ctx.process(missive.Delivery(b"x", b"x"))
        assert context.outcome is Outcome.ACKED
    assert client.acked == []
    assert seen == [GeneratorExit] * hooked


def test_an_unroutable_message_of_an_async_processor_fails_without_the_loop() -> None:
    """No handler of it needs one."""
    made: list[asyncio.AbstractEventLoop] = []

    def factory() -> asyncio.AbstractEventLoop:
        made.append(asyncio.new_event_loop())
        return made[-1]

    processor: Processor = missive.Processor()
    processor.handle_for(lambda message: False)(ack)
    ctx = missive.ProcessingContext(
        RawMessage, processor.test_client(), processor, loop_factory=factory
    )
    with ctx.entered(), pytest.raises(missive.errors.NoMatchingHandler):
        ctx.handle(RawMessage(b"x"))
    assert made == []


def test_a_run_may_be_finished_in_another_thread_than_it_was_started_in() -> None:
    """The context variables that its async hooks set are over with that thread."""
    variable: ContextVar[str] = ContextVar("variable", default="outside")
    log: list[str] = []
    processor = processor_of(ack)

    @processor.around_processing
    async def around(processing_ctx: Any) -> AsyncIterator[None]:
        variable.set("inside")
        yield
        log.append("left")

    client = processor.test_client()
    starting = copy_context()
    starting.run(client.__enter__)
    assert starting[variable] == "inside"
    client.close()
    assert log == ["left"]
    assert variable.get() == "outside"


@pytest.mark.parametrize("colour", ["threads", "async"])
def test_what_has_not_begun_when_an_executor_halts_is_skipped(colour: str) -> None:
    """It is handed back unhandled; the one that must be handled even so is."""
    handled: list[bytes] = []

    async def handler(message: RawMessage, ctx: Any) -> None:
        handled.append(message.raw_data)
        ctx.ack()

    def plain(message: RawMessage, ctx: Any) -> None:
        handled.append(message.raw_data)
        ctx.ack()

    processor = processor_of(handler if colour == "async" else plain)
    kind = EventLoopExecutor if colour == "async" else ThreadExecutor
    with processor.context(RawMessage, processor.test_client()) as ctx:
        skipped, last = (ctx.begin(body, missive.Delivery(body, body)) for body in (b"1", b"2"))
        executor = kind(ctx, 1, lambda: None)
        executor.halt()
        executor.submit([skipped])
        executor.submit([last], last=True)
        finished: list[Any] = []
        while executor.in_flight:
            finished += executor.collect(DEADLINE)
        executor.close()
        executor.join()
    assert executor.skipped == [skipped]
    assert [job[0] for job in finished] == [last]
    assert handled == [b"2"]


def test_a_cancelled_executor_of_threads_gives_up_what_has_not_begun() -> None:
    """A thread itself cannot be cancelled: what it handles is still collected."""
    begun, release = threading.Event(), threading.Event()
    handled: list[bytes] = []

    def handler(message: RawMessage, ctx: Any) -> None:
        handled.append(message.raw_data)
        begun.set()
        assert release.wait(DEADLINE)
        ctx.ack()

    processor = processor_of(handler)
    with processor.context(RawMessage, processor.test_client()) as ctx:
        first, second = (ctx.begin(body, missive.Delivery(body, body)) for body in (b"1", b"2"))
        executor: ThreadExecutor[Any] = ThreadExecutor(ctx, 1, lambda: None)
        executor.submit([first])
        assert begun.wait(DEADLINE)
        executor.submit([second], last=True)
        executor.close()
        executor.cancel()
        assert executor.skipped == [second]
        assert executor.in_flight == 1
        release.set()
        executor.join()
        assert [job[0] for job in executor.collect(0)] == [first]
    assert handled == [b"1"]


def test_a_cancelled_executor_of_tasks_gives_up_what_has_not_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the loop comes to only after that is not handled, nor collected."""
    monkeypatch.setattr("missive.polling.event_loop.GRACE", 0.01)
    begun, release = threading.Event(), threading.Event()
    handled: list[bytes] = []

    async def handler(message: RawMessage, ctx: Any) -> None:
        handled.append(message.raw_data)
        begun.set()
        assert release.wait(DEADLINE)
        ctx.ack()

    processor = processor_of(handler)
    with processor.context(RawMessage, processor.test_client()) as ctx:
        first, second = (ctx.begin(body, missive.Delivery(body, body)) for body in (b"1", b"2"))
        executor: EventLoopExecutor[Any] = EventLoopExecutor(ctx, 1, lambda: None)
        executor.submit([first])
        assert begun.wait(DEADLINE)
        executor.submit([second], last=True)
        executor.close()
        executor.cancel()
        assert executor.skipped == [second]
        release.set()
        while len(executor._handed) < 2:
            ctx.loop.run(asyncio.sleep(0), DEADLINE)
        assert [job[0] for job in executor.collect(DEADLINE)] == [first]
        assert not executor.in_flight
        executor.join()
    assert handled == [b"1"]


def test_a_task_that_its_run_has_cancelled_leaves_its_message_unsettled() -> None:
    """Whatever its handler decides, there is no outcome."""
    decided: list[str] = []
    processor = processor_of(ack)

    async def cancelled(ctx: Any, context: Any) -> None:
        setattr(asyncio.current_task(), CANCELLED, True)
        with pytest.raises(asyncio.CancelledError):
            await live(ctx, [context], lambda: decided.append("decided"))

    with processor.context(RawMessage, processor.test_client()) as ctx:
        context = ctx.begin(b"1", missive.Delivery(b"1", b"1"))
        asyncio.run(cancelled(ctx, context))
    assert context.outcome is None
    assert not decided


@pytest.mark.parametrize("acks", [True, False])
def test_on_settled_hooks_may_wait_or_fail_whatever_the_outcome(
    acks: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """What such a hook returns is awaited, and what it raises is logged."""
    seen: list[str] = []
    processor: missive.Processor[Any] = missive.Processor()

    @processor.handle_for(missive.otherwise)
    def handle(message: RawMessage, ctx: Any) -> None:
        ctx.ack() if acks else ctx.nack()

    async def wait(ctx: Any) -> None:
        await asyncio.sleep(0)
        seen.append(ctx.outcome.value)

    @processor.on_settled
    def returns_an_awaitable(processing_ctx: Any, ctx: Any) -> Any:
        return wait(ctx)

    @processor.on_settled
    def fails(processing_ctx: Any, ctx: Any) -> None:
        raise Broken

    with processor.test_client() as client:
        client.send(b"1")
    assert seen == ["acked" if acks else "nacked"]
    assert "on_settled" in caplog.text


def test_a_batch_that_goes_on_after_its_cancellation_is_not_acked() -> None:
    """At the drain deadline a batch is cancelled, and stays unsettled whatever its handler does."""
    begun = threading.Event()

    async def handler(messages: Sequence[RawMessage], ctx: Any) -> None:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        ctx.ack_rest()

    processor: missive.Processor[Any] = missive.Processor()
    processor.handle_batch_for(missive.otherwise, size=2)(handler)
    adapter = MemoryTransport(processor, [b"1", b"2"], endless=True, drain_timeout=0.0)
    with running(adapter) as errors:
        assert begun.wait(DEADLINE)
        adapter.stop()
    assert isinstance(errors[0], DrainTimeout)
    assert not adapter.acked


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        (types.SimpleNamespace(), asyncio.CancelledError),
        (types.SimpleNamespace(cancelling=lambda: 1), asyncio.CancelledError),
        (types.SimpleNamespace(cancelling=lambda: 0), HandlerCancelled),
    ],
)
def test_a_cancellation_in_a_callers_task_is_the_handlers_own_only_where_that_is_known(
    task: Any, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that cannot tell, or is being cancelled, passes the cancellation on."""
    monkeypatch.setattr(asyncio, "current_task", lambda: task)
    error = raised_in_callers_task(missive.RawMessage(b"x"), asyncio.CancelledError())
    assert type(error) is kind


def test_a_message_that_no_async_handler_matches_is_a_dead_letter() -> None:
    """As where handlers are plain, and those that are matched go on."""
    processor: Processor[RawMessage] = Processor()

    @processor.handle_for(lambda message: message.raw_data == b"known")
    async def handler(message: RawMessage, ctx: Any) -> None:
        ctx.ack()

    dlq = missive.MemoryDLQ()
    processor.set_dlq(dlq)
    adapter = MemoryTransport(processor, [b"unknown", b"known"], until_settled=True)
    adapter.run()
    assert sorted(adapter.acked) == [b"known", b"unknown"]
    (letter,) = dlq.letters()
    assert (letter.raw_data, letter.stage) == (b"unknown", "matching")


def test_an_observer_that_fails_on_the_callers_loop_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As in a run: it changes no outcome."""

    async def handler(message: RawMessage, ctx: Any) -> None:
        ctx.ack()

    processor = processor_of(handler)

    @processor.on_settled
    def observe(run: Any, ctx: Any) -> None:
        raise LookupError("no such metric")

    async def main() -> None:
        async with processor.test_client() as client:
            assert await client.asend(b"good") is Outcome.ACKED

    asyncio.run(main())
    assert "on_settled" in caplog.text
    assert "LookupError" in caplog.text


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 cannot tell who cancelled")
def test_a_handler_that_cancels_itself_on_the_callers_loop_fails_its_message_alone() -> None:
    """A CancelledError of its own is a failure of the message where nobody cancelled the task."""

    async def handler(message: RawMessage, ctx: Any) -> None:
        raise asyncio.CancelledError

    processor = processor_of(handler)
    processor.set_dlq(MemoryDLQ())

    async def main() -> None:
        async with processor.test_client() as client:
            assert await client.asend(b"bad") is Outcome.DEAD_LETTERED

    asyncio.run(main())
