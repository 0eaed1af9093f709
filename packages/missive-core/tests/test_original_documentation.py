"""The programs of the original documentation, as they were written there."""

from __future__ import annotations

import importlib
import inspect
import io
import json
import logging
import subprocess
import sys
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import missive
import pytest

HELLO_PROCESSOR = """
import missive

from missive.adapters.stdin import StdinAdapter

processor = missive.Processor()

@processor.handle_for(lambda m: m.raw_data == b"Hello")
def greet(message, ctx):
    print("Hello whoever you are")
    ctx.ack()

stdin_processor = StdinAdapter(missive.RawMessage, processor)

if __name__ == "__main__":
    stdin_processor.run()
"""


def test_the_simple_example_greets(tmp_path: Path) -> None:
    """Saved as hello_processor.py and run with python3, it answers each Hello."""
    (tmp_path / "hello_processor.py").write_text(HELLO_PROCESSOR)
    done = subprocess.run(
        [sys.executable, "hello_processor.py"],
        cwd=tmp_path,
        input="Hello\nHello\n",
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("Hello whoever you are\n" * 2, "")
    assert done.returncode == 0


class HasLabelMatcher:
    def __init__(self, label: str) -> None:
        self.label = label

    def __call__(self, json_message: Any) -> bool:
        return bool(json_message.get_json().get("label") == self.label)


def test_a_matcher_may_be_an_object() -> None:
    """The label example routes sign-ins to their handler."""
    processor: Any = missive.Processor()
    signed_in: list[Any] = []

    @processor.handle_for(HasLabelMatcher("sign-in"))
    def record_sign_ins(message: Any, ctx: Any) -> None:
        signed_in.append(message.get_json())
        ctx.ack()

    @processor.handle_for(HasLabelMatcher("sign-out"))
    def another_matcher(message: Any, ctx: Any) -> None:
        ctx.ack()

    client = processor.test_client()
    client.send(missive.JSONMessage(b'{"label": "sign-in"}'))
    client.send(missive.JSONMessage(b'{"label": "sign-out"}'))
    assert signed_in == [{"label": "sign-in"}]


def test_the_hooks_example_logs_the_time_taken(caplog: pytest.LogCaptureFixture) -> None:
    """State set before handling is there after handling."""
    proc: Any = missive.Processor()
    logger = logging.getLogger(__name__)

    @proc.handle_for(lambda m: True)
    def some_handler(message: Any, ctx: Any) -> None:
        ctx.ack()

    @proc.before_handling
    def record_start_time(processing_ctx: Any, handling_ctx: Any) -> None:
        handling_ctx.state.start_time = datetime.utcnow()  # noqa: DTZ003

    @proc.after_handling
    def print_end_time(processing_ctx: Any, handling_ctx: Any) -> None:
        logger.debug("took %s", datetime.utcnow() - handling_ctx.state.start_time)  # noqa: DTZ003

    caplog.set_level(logging.DEBUG, logger=__name__)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # utcnow, from Python 3.12 on
        proc.test_client().send(missive.RawMessage(b"x"))
    assert "took 0:00:00" in caplog.text


def test_the_testing_example_asserts_on_acked() -> None:
    """The test client plainly, without a with."""
    json_processor: missive.Processor[missive.JSONMessage] = missive.Processor()

    @json_processor.handle_for(lambda m: m.get_json()["name"] == "Cal")
    def handler(message: missive.JSONMessage, ctx: Any) -> None:
        ctx.ack()

    test_client = json_processor.test_client()
    message = missive.JSONMessage(json.dumps({"name": "Cal"}).encode("utf-8"))

    test_client.send(message)

    assert message in test_client.acked
    assert test_client.nacked == []
    test_client.close()


def test_the_test_client_works_in_a_with() -> None:
    """As it had to in 0.8.1."""
    processor: Any = missive.Processor()
    processor.handle_for(lambda m: True)(lambda m, ctx: ctx.nack())
    with processor.test_client() as test_client:
        test_client.send(message := missive.RawMessage(b"x"))
        assert message in test_client.nacked


def test_a_custom_adapter_needs_ack_and_nack_only() -> None:
    """The way that it is run is its own affair."""

    class ListAdapter(missive.Adapter[missive.RawMessage]):
        def __init__(self, processor: Any, messages: list[missive.RawMessage]) -> None:
            self.processor = processor
            self.messages = messages
            self.log: list[tuple[str, bytes]] = []

        def ack(self, message: missive.RawMessage) -> None:
            self.log.append(("ack", message.raw_data))

        def nack(self, message: missive.RawMessage) -> None:
            self.log.append(("nack", message.raw_data))

        def run(self) -> None:
            with self.processor.context(missive.RawMessage, self) as ctx:
                for message in self.messages:
                    ctx.handle(message)

    processor: Any = missive.Processor()
    processor.handle_for(lambda m: m.raw_data == b"good")(lambda m, ctx: ctx.ack())
    processor.handle_for(lambda m: m.raw_data == b"bad")(lambda m, ctx: ctx.nack())
    adapter = ListAdapter(processor, [missive.RawMessage(b"good"), missive.RawMessage(b"bad")])
    adapter.run()
    assert adapter.log == [("ack", b"good"), ("nack", b"bad")]


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("missive.missive", "Adapter DLQ HandlingContext JSONMessage M Message ProcessingContext"),
        ("missive.missive", "Processor ProcessorHooks RawMessage State TestAdapter"),
        ("missive.missive", "Handler HandlingHook Matcher ProcessingHook"),
        ("missive.messages", "DictMessage"),
        ("missive.shutdown_handler", "ShutdownHandler"),
        ("missive.state", "State"),
        ("missive.adapters.stdin", "StdinAdapter"),
    ],
)
def test_the_original_dotted_names_lead_to_the_same_objects(module: str, names: str) -> None:
    """What was importable there is importable there."""
    for name in names.split():
        found = getattr(importlib.import_module(module), name)
        assert found is getattr(missive, name, found)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Message", ["raw_data"]),
        ("RawMessage", ["raw_data"]),
        ("JSONMessage", ["raw_data"]),
        ("DictMessage", ["raw_data", "decoder"]),
        ("Adapter", ["processor"]),
        ("TestAdapter", ["processor"]),
        ("HandlingContext", ["message", "processing_ctx"]),
        ("ProcessingContext", ["message_cls", "adapter", "processor"]),
        ("Processor", []),
        ("Processor.context", ["self", "message_cls", "adapter"]),
        ("Processor.handle_for", ["self", "matcher"]),
        ("Processor.set_dlq", ["self", "dlq"]),
        ("TestAdapter.send", ["self", "message"]),
        ("ShutdownHandler", ["callback"]),
        ("ShutdownHandler.enable", ["self"]),
        ("ShutdownHandler.set_flag", ["self"]),
        ("ShutdownHandler.should_exit", ["self"]),
        ("ShutdownHandler.wait_for_flag", ["self"]),
    ],
)
def test_signatures_stay_callable_as_documented(name: str, parameters: list[str]) -> None:
    """The documented parameters come first, under their names; what was added has defaults."""
    target: Any = missive
    for part in name.split("."):
        target = getattr(target, part)
    signature = inspect.signature(target)
    assert list(signature.parameters)[: len(parameters)] == parameters
    for added in list(signature.parameters.values())[len(parameters) :]:
        assert added.default is not added.empty or added.kind is added.VAR_KEYWORD


def test_stdin_takes_a_filelike() -> None:
    """StdinAdapter(message_cls, processor, filelike)."""
    adapter_cls = importlib.import_module("missive.adapters.stdin").StdinAdapter
    processor: Any = missive.Processor()
    got: list[bytes] = []

    @processor.handle_for(lambda m: True)
    def handler(message: Any, ctx: Any) -> None:
        got.append(message.raw_data)
        ctx.ack()

    adapter_cls(missive.RawMessage, processor, io.BytesIO(b"a\nb\n")).run()
    adapter_cls(
        message_cls=missive.RawMessage, processor=processor, filelike=io.BytesIO(b"c")
    ).run()
    assert got == [b"a", b"b", b"c"]
