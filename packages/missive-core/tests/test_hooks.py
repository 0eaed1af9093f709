"""Hooks: their order, their nesting, and what becomes of their errors."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import Mock

import missive
import pytest
from hypothesis import given
from hypothesis import strategies as st
from missive import Outcome


class Broken(Exception):
    pass


def note_all(processor: missive.Processor[Any], log: list[str], breaking: set[str]) -> None:
    """Register two hooks of every kind, for processing and handling, that log and may break."""

    def step(name: str) -> None:
        log.append(name)
        if name in breaking:
            raise Broken(name)

    def register(kind: str, n: int) -> None:
        getattr(processor, f"before_{kind}")(lambda *args: step(f"before-{kind}-{n}"))
        getattr(processor, f"after_{kind}")(lambda *args: step(f"after-{kind}-{n}"))

        @getattr(processor, f"around_{kind}")
        def around(*args: Any) -> Any:
            step(f"in-{kind}-{n}")
            try:
                yield
            except Broken:
                log.append(f"seen-{kind}-{n}")
            step(f"out-{kind}-{n}")

    for kind in ("processing", "handling"):
        for n in (1, 2):
            register(kind, n)


def test_hooks_nest() -> None:
    """Before in order, around in order, handler, around in reverse, after in reverse."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    log: list[str] = []
    note_all(processor, log, set())

    @processor.handle_for(lambda m: True)
    def handler(message: Any, ctx: Any) -> None:
        log.append("handler")
        ctx.ack()

    with processor.test_client() as client:
        client.send(b"x")
    handling = [
        *("before-handling-1", "before-handling-2", "in-handling-1", "in-handling-2", "handler"),
        *("out-handling-2", "out-handling-1", "after-handling-2", "after-handling-1"),
    ]
    assert log == [
        *("before-processing-1", "before-processing-2", "in-processing-1", "in-processing-2"),
        *handling,
        *("out-processing-2", "out-processing-1", "after-processing-2", "after-processing-1"),
    ]


STEPS = [f"{when}-handling-{n}" for when in ("before", "in", "out", "after") for n in (1, 2)]


@given(st.sets(st.sampled_from([*STEPS, "handler"])))
def test_every_after_hook_runs_and_every_entered_around_hook_is_unwound(breaking: set[str]) -> None:
    """Whatever breaks on the way in or out; and the first error decides."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    log: list[str] = []
    note_all(processor, log, breaking)

    @processor.handle_for(lambda m: True)
    def handler(message: Any, ctx: Any) -> None:
        log.append("handler")
        ctx.ack()
        if "handler" in breaking:
            raise Broken("handler")

    processor.set_dlq(dlq := {})
    client = processor.test_client()
    outcome = client.send(b"x", message_id=b"1")
    client.close()
    steps = [name for name in log if not name.startswith("seen") and "processing" not in name]
    broken = [name for name in steps if name in breaking]
    assert outcome is (Outcome.DEAD_LETTERED if broken else Outcome.ACKED)
    assert ([reason for _, reason in dlq.values()] or [None]) == (broken[:1] or [None])
    assert steps[-2:] == ["after-handling-2", "after-handling-1"]
    for n in (1, 2):
        was_entered = f"in-handling-{n}" in steps and f"in-handling-{n}" not in broken
        assert (f"out-handling-{n}" in steps) == was_entered
    assert len(client.acked) == 1


def test_hooks_see_error_and_decision_and_may_decide() -> None:
    """An after-hook is shown what happened, and decides what nobody else has."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(lambda m: m.raw_data == b"fail")(lambda m, ctx: {}["key"])
    processor.handle_for(lambda m: m.raw_data == b"ack")(lambda m, ctx: ctx.ack())
    processor.handle_for(missive.otherwise)(lambda m, ctx: None)
    seen: list[Any] = []

    @processor.after_handling
    def look(processing_ctx: Any, handling_ctx: Any) -> None:
        seen.append((type(handling_ctx.error), handling_ctx.decision))
        if handling_ctx.error is None and handling_ctx.decision is None:
            processing_ctx.nack(handling_ctx.message)

    processor.set_dlq({})
    client = processor.test_client()
    assert client.send(b"fail") is Outcome.DEAD_LETTERED
    assert client.send(b"ack") is Outcome.ACKED
    assert client.send(b"undecided") is Outcome.NACKED
    assert seen == [(KeyError, None), (type(None), Outcome.ACKED), (type(None), None)]


def test_a_commit_hook_that_fails_changes_the_outcome() -> None:
    """The transport is told after the hooks: what was acked can still become a dead letter."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(lambda m: True)(lambda m, ctx: ctx.ack())

    @processor.around_handling
    def transaction(processing_ctx: Any, handling_ctx: Any) -> Any:
        yield
        raise Broken("commit failed")

    processor.set_dlq(dlq := {})
    assert processor.test_client().send(b"x", message_id=b"1") is Outcome.DEAD_LETTERED
    assert dlq[b"1"][1] == "commit failed"


def test_later_errors_are_logged_and_noted_on_the_first(caplog: pytest.LogCaptureFixture) -> None:
    """No error is lost, and no text of one is logged."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_for(lambda m: True)
    def handler(message: Any, ctx: Any) -> None:
        raise Broken("first secret")

    @processor.after_handling
    def clean_up(processing_ctx: Any, handling_ctx: Any) -> None:
        raise LookupError("second secret")

    with pytest.raises(Broken) as caught:
        processor.test_client().send(b"x")
    (note,) = caught.value.__notes__  # type: ignore[attr-defined]
    assert "LookupError at" in note
    assert "clean_up" in note
    (record,) = [r for r in caplog.records if r.levelname == "ERROR"]
    assert "secret" not in record.getMessage() + note


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_hook_goes_before_any_exception(kind: type[BaseException]) -> None:
    """It propagates even where the handler has failed already."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(lambda m: True)(lambda m, ctx: {}["key"])

    @processor.after_handling
    def interrupted(processing_ctx: Any, handling_ctx: Any) -> None:
        raise kind

    processor.set_dlq(dlq := {})
    with pytest.raises(kind):
        processor.test_client().send(b"x")
    assert dlq == {}


def test_an_error_is_not_noted_on_itself() -> None:
    """However often it comes round."""
    error = Broken("once")
    missive.hooks.note_later_error(error, error)
    assert not hasattr(error, "__notes__")


def test_a_frozen_error_is_noted_on() -> None:
    """Errors that are frozen dataclasses refuse to be changed in the usual way."""

    @dataclass(frozen=True)
    class Frozen(Exception):
        code: int

    error = Frozen(5)
    missive.hooks.note_later_error(error, LookupError())
    assert [note.partition(" at ")[0] for note in error.__notes__] == ["then also: LookupError"]  # type: ignore[attr-defined]


def test_an_error_that_takes_no_notes_is_raised_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The later error is in the log, and so is why it was not noted."""

    class Unreadable(Exception):
        @property
        def __notes__(self) -> list[str]:
            raise RuntimeError("broken")

    caplog.set_level(logging.DEBUG, "missive.errors")
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.handle_for(missive.otherwise)
    def handle(message: missive.RawMessage, ctx: Any) -> None:
        raise Unreadable

    @processor.after_handling
    def fail(processing_ctx: Any, ctx: Any) -> None:
        raise LookupError

    with pytest.raises(Unreadable):
        processor.test_client().send(b"x")
    assert "after Unreadable: LookupError at " in caplog.text
    assert "the note was not added: RuntimeError" in caplog.text


def test_an_around_hook_cannot_swallow_the_error() -> None:
    """It sees what the handler raised, and the message is dead-lettered all the same."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    thrown: list[BaseException] = []

    @processor.handle_for(lambda m: True)
    def handler(message: Any, ctx: Any) -> None:
        raise StopIteration if message.raw_data == b"stop" else Broken("x")

    @processor.around_handling
    def swallow(processing_ctx: Any, handling_ctx: Any) -> Any:
        try:
            yield
        except (Broken, StopIteration) as error:
            thrown.append(error)

    @processor.around_handling
    def passing(processing_ctx: Any, handling_ctx: Any) -> Any:
        yield

    processor.set_dlq({})
    client = processor.test_client()
    assert client.send(b"x") is Outcome.DEAD_LETTERED
    assert client.send(b"stop") is Outcome.DEAD_LETTERED
    assert [type(error) for error in thrown] == [Broken, StopIteration]
    assert not any(hasattr(error, "__notes__") for error in thrown)


def test_an_around_hook_must_yield_exactly_once() -> None:
    """One that never yields, or twice, is an error that names it."""
    for times, problem in ((0, "did not yield"), (2, "yielded more than once")):
        processor: missive.Processor[missive.RawMessage] = missive.Processor()
        processor.handle_for(lambda m: True)(lambda m, ctx: ctx.ack())

        @processor.around_handling
        def around(processing_ctx: Any, handling_ctx: Any, times: int = times) -> Any:
            for _ in range(times):
                yield

        with pytest.raises(missive.errors.HookError, match=f"around.*{problem}") as caught:
            processor.test_client().send(b"x")
        assert caught.value.hook is around
    with pytest.raises(missive.errors.InvalidHandler, match="does not yield"):
        missive.Processor[missive.RawMessage]().around_handling(lambda *args: None)  # type: ignore[arg-type]


def test_an_async_around_hook_that_yields_twice_is_closed() -> None:
    """It is an error that names it, as of a plain one, and what it has open is closed."""
    closed: list[bool] = []
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(lambda m: True)(lambda m, ctx: ctx.ack())

    @processor.around_handling
    async def around(processing_ctx: Any, handling_ctx: Any) -> Any:
        try:
            yield
            yield
        finally:
            closed.append(True)

    with (
        processor.test_client() as client,
        pytest.raises(missive.errors.HookError, match=r"around.*yielded more than once"),
    ):
        client.send(b"x")
    assert closed == [True]


def test_an_around_hook_that_raises_a_runtime_error_of_its_own_is_no_swallowing() -> None:
    """Its error is noted on the first."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(lambda m: True)(lambda m, ctx: {}["key"])

    @processor.around_handling
    def around(processing_ctx: Any, handling_ctx: Any) -> Any:
        try:
            yield
        finally:
            raise RuntimeError("of its own")

    with pytest.raises(KeyError) as caught:
        processor.test_client().send(b"x")
    assert "RuntimeError" in caught.value.__notes__[0]  # type: ignore[attr-defined]


def test_a_processing_hook_that_raises_crashes_the_processor() -> None:
    """It is no message's fault, so nothing is dead-lettered."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    log: list[str] = []
    note_all(processor, log, {"before-processing-1"})
    processor.handle_for(lambda m: True)(lambda m, ctx: ctx.ack())
    processor.set_dlq(dlq := {})
    with pytest.raises(Broken), processor.test_client() as client:
        client.send(b"x")
    assert log == ["before-processing-1", "after-processing-2", "after-processing-1"]
    assert dlq == {}


def test_an_after_processing_hook_that_raises_crashes_a_run_that_went_well() -> None:
    """Its error is not lost in the shutdown."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    note_all(processor, [], {"after-processing-1"})
    client = processor.test_client()
    with pytest.raises(Broken), client:
        pass


def test_a_message_has_its_own_state_and_the_run_has_one() -> None:
    """handling_ctx.state is new for each message, processing_ctx.state lasts."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.before_processing
    def start(processing_ctx: Any) -> None:
        processing_ctx.state.count = 0

    @processor.before_handling
    def count(processing_ctx: Any, handling_ctx: Any) -> None:
        assert list(handling_ctx.state) == []
        handling_ctx.state.started = True
        processing_ctx.state.count += 1

    @processor.handle_for(lambda m: True)
    def handler(message: Any, ctx: Any) -> None:
        assert ctx.state.started
        assert ctx.state is ctx.state
        ctx.ack()

    counts: list[int] = []
    processor.after_processing(lambda ctx: counts.append(ctx.state.count))
    with processor.test_client() as client:
        client.send(b"a")
        client.send(b"b")
    assert counts == [2]


def test_a_decision_outside_of_the_handling_is_refused() -> None:
    """An ack that comes when the handler has returned cannot take effect, and says so."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    kept: list[Any] = []
    processor.handle_for(lambda m: True)(lambda m, ctx: kept.append(ctx))
    processor.set_dlq({})
    client = processor.test_client()
    message = missive.RawMessage(b"x")
    client.send(message)
    (ctx,) = kept
    for late in (ctx.ack, ctx.nack, lambda: ctx.processing_ctx.ack(message)):
        with pytest.raises(missive.errors.DecisionTooLate, match="not being handled"):
            late()
    assert repr(ctx).startswith("<HandlingContext dead-lettered: <RawMessage")


def test_handling_context_runs_the_hooks_and_settles_nothing() -> None:
    """The original's way to enter the hooks by hand."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    log: list[str] = []
    note_all(processor, log, set())
    client = processor.test_client()
    with processor.context(missive.RawMessage, client) as ctx:
        log.clear()
        with ctx.handling_context(message := missive.RawMessage(b"x")) as handling_ctx:
            ctx.ack(message)
            assert handling_ctx.decision is Outcome.ACKED
            assert handling_ctx.message is message
        assert log[-1] == "after-handling-1"
        with pytest.raises(Broken), ctx.handling_context(message):
            raise Broken
    assert client.acked == []


def test_an_error_that_an_around_hook_makes_of_the_first_is_noted_on_it() -> None:
    """A RuntimeError raised from the handler's error is a later error like any other."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    @processor.around_handling
    def translate(processing_ctx: Any, handling_ctx: Any) -> Any:
        try:
            yield
        except LookupError as error:
            raise RuntimeError("translated") from error

    @processor.handle_for(missive.otherwise)
    def handle(message: missive.RawMessage, ctx: Any) -> None:
        raise LookupError("first")

    with pytest.raises(LookupError, match="first") as caught:
        processor.test_client().send(b"x")
    (note,) = caught.value.__notes__  # type: ignore[attr-defined]
    assert "then also: RuntimeError at" in note


def test_a_mock_can_be_a_handler_a_matcher_and_a_hook() -> None:
    """It has every attribute that it is asked for, those of a partial function too."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    matcher, handler, hook = Mock(return_value=True), Mock(), Mock()
    handler.side_effect = lambda message, ctx: ctx.ack()
    processor.handle_for(matcher)(handler)
    processor.before_handling(hook)
    assert processor.test_client().send(b"x") is Outcome.ACKED
    assert (matcher.call_count, handler.call_count, hook.call_count) == (1, 1, 1)
    assert processor.handlers[0].name == "unittest.mock.Mock"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_on_the_way_out_of_hooks_that_failed_to_enter(
    kind: type[BaseException],
) -> None:
    """It propagates, and the message stays unsettled, though a before-hook had failed first."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(missive.otherwise)(lambda m, ctx: ctx.ack())

    @processor.before_handling
    def fail(processing_ctx: Any, handling_ctx: Any) -> None:
        raise Broken

    @processor.after_handling
    def interrupted(processing_ctx: Any, handling_ctx: Any) -> None:
        raise kind

    processor.set_dlq(dlq := {})
    client = processor.test_client()
    with pytest.raises(kind):
        client.send(b"x")
    assert (dlq, client.acked) == ({}, [])


def test_what_yields_is_an_around_hook_alone() -> None:
    """Called as another hook or as a handler, a generator function would run nothing."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    def generator(*arguments: Any) -> Any:
        yield

    for register in (
        processor.before_processing,
        processor.before_handling,
        processor.after_handling,
        processor.after_processing,
        processor.on_settled,
        processor.handle_for(missive.otherwise),
        processor.handle_for,
    ):
        with pytest.raises(
            missive.errors.InvalidHandler, match="it yields, so calling it would run"
        ):
            register(generator)
    assert processor.around_handling(generator) is generator


def test_an_around_hook_is_no_context_manager_yet() -> None:
    """The error names what is too much, not what is missing."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    with pytest.raises(
        missive.errors.InvalidHandler, match=r"does not yield; leave .*contextmanager"
    ):

        @processor.around_handling
        @contextmanager
        def transaction(processing_ctx: Any, handling_ctx: Any) -> Any:
            yield


def test_handling_context_raises_what_a_before_hook_raised() -> None:
    """The block never runs, and the after-hooks do."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    log: list[str] = []
    note_all(processor, log, {"before-handling-1"})
    with processor.context(missive.RawMessage, processor.test_client()) as ctx:
        log.clear()
        with pytest.raises(Broken), ctx.handling_context(missive.RawMessage(b"x")):
            log.append("block")
    assert log[:3] == ["before-handling-1", "after-handling-2", "after-handling-1"]


def test_a_delivery_hook_that_raises_keeps_the_message_from_its_handler() -> None:
    """Its error is the message's, which becomes a dead letter."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    called: list[bytes] = []
    processor.handle_for(missive.otherwise)(lambda m, ctx: called.append(m.raw_data))

    @processor.around_delivery
    def refuse(processing_ctx: Any, handling_ctx: Any) -> Any:
        raise Broken("at the door")
        yield

    processor.set_dlq(dlq := {})
    assert processor.test_client().send(b"x", message_id=b"1") is Outcome.DEAD_LETTERED
    assert dlq[b"1"][1] == "at the door"
    assert called == []


def test_an_interrupt_in_a_delivery_hook_leaves_the_message_unsettled() -> None:
    """It propagates, and the hooks that were entered are unwound with it."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(missive.otherwise)(lambda m, ctx: ctx.ack())
    seen: list[BaseException] = []

    @processor.around_delivery
    def outer(processing_ctx: Any, handling_ctx: Any) -> Any:
        try:
            yield
        except BaseException as error:
            seen.append(error)
            raise

    @processor.around_delivery
    def interrupted(processing_ctx: Any, handling_ctx: Any) -> Any:
        raise KeyboardInterrupt
        yield

    client = processor.test_client()
    with pytest.raises(KeyboardInterrupt) as caught:
        client.send(b"x")
    assert seen == [caught.value]
    assert client.acked == []


def test_what_a_delivery_hook_raises_after_settlement_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The outcome stands, for the transport knows it."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.handle_for(missive.otherwise)(lambda m, ctx: ctx.ack())

    @processor.around_delivery
    def late(processing_ctx: Any, handling_ctx: Any) -> Any:
        yield
        raise Broken("secret")

    client = processor.test_client()
    assert client.send(b"x") is Outcome.ACKED
    assert len(client.acked) == 1
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "Broken" in record.getMessage()
    assert "secret" not in record.getMessage()
