"""Building an adapter, and its readiness."""

from __future__ import annotations

import signal
import threading
from functools import partial
from pathlib import Path
from typing import Any

from missive import (
    Adapter,
    Capabilities,
    ConfigurationError,
    DictMessage,
    HandlingContext,
    Message,
    Processor,
    RawMessage,
    Runnable,
)

from ..contract import check, expect
from ..lab import AdapterLab


def open_files() -> int | None:
    """Count the files and sockets that this process has open; None where nobody can tell."""
    folder = Path("/proc/self/fd")
    return sum(1 for _ in folder.iterdir()) if folder.is_dir() else None


class NeedsTwoArguments(Message):
    """A message class that bytes alone do not suffice for."""

    def __init__(self, raw_data: bytes, more: object) -> None:
        super().__init__(raw_data)
        self.more = more


class Construction:
    """What holds before any message came."""

    @check("A01", read="adapters#construction")
    def test_a01_construction_has_no_side_effects(self, lab: AdapterLab) -> None:
        """Building an adapter opens nothing, starts no thread and touches no signal handler."""
        before = (threading.active_count(), open_files())
        handlers = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
        adapter = lab.harness.make_adapter(Processor[Any](), RawMessage)
        after = (threading.active_count(), open_files())
        expect(
            before == after,
            f"threads and open files before: {before}; after building the adapter: {after}",
        )
        expect(
            handlers == [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)],
            "the handlers of SIGINT or SIGTERM were exchanged",
        )
        del adapter

    @check("A02", read="adapters#capabilities")
    def test_a02_the_class_states_its_capabilities(self, lab: AdapterLab) -> None:
        """The adapter is an Adapter, can be run and stopped, and its class states Capabilities."""
        adapter: object = lab.harness.make_adapter(Processor[Any](), RawMessage)
        expect(isinstance(adapter, Adapter), f"it is a {type(adapter).__name__}, no Adapter")
        expect(isinstance(adapter, Runnable), "it lacks one of run(), stop() and ready")
        states = next(cls for cls in type(adapter).__mro__ if "capabilities" in vars(cls))
        expect(states is not Adapter, "the class states no capabilities of its own")
        stated: object = vars(states)["capabilities"]
        expect(
            isinstance(stated, Capabilities),
            f"capabilities is a {type(stated).__name__}, not a Capabilities on the class",
        )

    @check("A03", read="messages#classes")
    def test_a03_an_impossible_message_class_is_refused(self, lab: AdapterLab) -> None:
        """A message class that cannot be called with bytes alone is refused when it is built."""
        try:
            lab.harness.make_adapter(Processor[Any](), NeedsTwoArguments)  # type: ignore[arg-type]
        except ConfigurationError as error:
            expect(
                NeedsTwoArguments.__name__ in str(error),
                "the error does not name the message class",
            )
        else:
            expect(False, "the adapter was built")

    @check("A04", needs=("PollingAdapter",), read="adapters#options")
    def test_a04_impossible_options_are_refused(self, lab: AdapterLab) -> None:
        """Options that cannot work are refused when the adapter is built, by a clear error."""
        impossible: list[dict[str, Any]] = [
            {"workers": 0},
            {"max_in_flight": 0},
            {"drain_timeout": -1.0},
            {"connect_timeout": 0.0},
        ]
        for options in impossible:
            (name,) = options
            try:
                lab.harness.make_adapter(Processor[Any](), RawMessage, **options)
            except ConfigurationError as error:
                expect(name in str(error), f"the error about {options} does not name {name}")
            else:
                expect(False, f"the adapter was built with {options}")

    @check("A05", read="adapters#readiness")
    def test_a05_ready_only_while_it_runs(self, lab: AdapterLab) -> None:
        """It is not ready before run(), becomes ready, and is not ready after run() has ended."""
        recorder = lab.record()
        adapter: Any = lab.harness.make_adapter(recorder.processor, RawMessage)
        expect(not adapter.ready.is_set(), "ready was set before run()")
        with lab.running(recorder, adapter=adapter) as running:
            running.stop()
        expect(not adapter.ready.is_set(), "ready was still set after run() had returned")

    @check("A06", read="adapters#readiness")
    def test_a06_what_is_published_when_ready_is_delivered(self, lab: AdapterLab) -> None:
        """A message that is published as soon as it is ready reaches a handler."""
        for number in range(5):
            recorder = lab.record()
            with lab.running(recorder):
                publication = lab.publish(b"at once %d" % number)
                recorder.wait_seen(1)
                lab.expect_settled(publication)

    @check("A07", read="adapters#contexts")
    def test_a07_processing_hooks_surround_each_run(self, lab: AdapterLab) -> None:
        """Processing hooks run before the first message and after the last, once for each run."""
        events: list[str] = []

        def handle(message: Message, ctx: HandlingContext[Any]) -> None:
            events.append("message")
            ctx.ack()

        recorder = lab.record(handle)
        recorder.processor.before_processing(lambda ctx: events.append("before"))
        recorder.processor.after_processing(lambda ctx: events.append("after"))
        with lab.running(recorder):
            publication = lab.publish(b"between the hooks")
            recorder.wait_seen(1)
            lab.expect_settled(publication)
        told = [event for event in events if event != "message"]
        turns = len(told) // 2
        expect(
            told == ["before", "after"] * turns and turns > 0,
            f"the hooks ran in the order {told}",
        )
        if not lab.harness.run_ends:
            expect(events == ["before", "message", "after"], f"the order was {events}")

    @check("A08", read="adapters#contexts")
    def test_a08_a_failing_processing_hook_ends_run(self, lab: AdapterLab) -> None:
        """A before-processing hook that raises ends run() with its error; no message is handled."""
        recorder = lab.record()

        @recorder.processor.before_processing
        def fail(ctx: object) -> None:
            raise LookupError("the hook's own error")

        adapter = lab.harness.make_adapter(recorder.processor, RawMessage)
        with lab.running(recorder, adapter=adapter, ready=False) as running:
            error = running.failure()
        expect(
            isinstance(error, LookupError), f"run() raised {type(error).__name__}, not the error"
        )
        expect(not recorder.seen, "a message was handled")

    @check("A09", needs=("harness.url",), read="adapters#urls")
    def test_a09_a_url_builds_it(self, lab: AdapterLab) -> None:
        """from_url builds an adapter of the class, and refuses an option that it does not know."""
        url, cls = lab.harness.url, lab.harness.adapter_cls
        assert url is not None
        adapter: object = cls.from_url(url, RawMessage, Processor[Any]())
        expect(isinstance(adapter, cls), f"it built a {type(adapter).__name__}")
        wrong = url + ("&" if "?" in url else "?") + "no_such_option=1"
        try:
            cls.from_url(wrong, RawMessage, Processor[Any]())
        except ConfigurationError as error:
            expect("no_such_option" in str(error), "the error does not name the option")
        else:
            expect(False, "an option that does not exist was taken")

    @check("A10", read="messages#classes")
    def test_a10_any_callable_makes_the_message(self, lab: AdapterLab) -> None:
        """Messages are what message_cls makes of the bytes, be it a class or another callable."""

        def decode(raw_data: bytes) -> dict[str, int]:
            return {"length": len(raw_data)}

        recorder = lab.record()
        message_cls = partial(DictMessage, decoder=decode)
        with lab.running(recorder, message_cls=message_cls):
            publication = lab.publish(b"twelve bytes")
            (seen,) = recorder.wait_seen(1)
            lab.expect_settled(publication)
        message = seen.message
        expect(
            isinstance(message, DictMessage) and message.contents() == {"length": 12},
            f"the handler was given a {type(message).__name__}",
        )
