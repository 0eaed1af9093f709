"""The processor."""

from __future__ import annotations

from typing import Any

import missive
import pytest
from missive.adapters.stdin import StdinAdapter


def test_every_decorator_returns_the_function() -> None:
    """Functions stay usable, so they can be registered twice and called in tests."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()

    def handler(message: Any, ctx: Any) -> None: ...

    def hook(*args: Any) -> None: ...

    def around(*args: Any) -> Any:
        yield

    assert processor.handle_for(lambda m: True)(handler) is handler
    for register in (
        processor.before_processing,
        processor.after_processing,
        processor.before_handling,
        processor.after_handling,
        processor.on_settled,
    ):
        assert register(hook) is hook
    assert processor.around_processing(around) is around
    assert processor.around_handling(around) is around


def test_a_dlq_that_cannot_be_written_is_refused() -> None:
    """The error names the remedy."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    with pytest.raises(missive.ConfigurationError, match="a str cannot be a DLQ"):
        processor.set_dlq("/var/dlq.db")  # type: ignore[arg-type]
    processor.set_dlq({})
    processor.set_dlq(None)
    assert processor.dlq is None


def test_two_adapters_on_one_processor_have_a_context_each() -> None:
    """Each run has its own state, and the DLQ may stand in for one run only."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    processor.set_dlq(own := {})
    stand_in: dict[bytes, Any] = {}
    one, two = processor.test_client(), processor.test_client()
    with (
        processor.context(missive.RawMessage, one) as first,
        processor.context(missive.RawMessage, two, dlq=stand_in) as second,
    ):
        first.state.name = "first"
        assert "name" not in second.state
        assert second.handle(missive.RawMessage(b"x")) is missive.Outcome.DEAD_LETTERED
        assert (len(own), len(stand_in)) == (0, 1)
        first.handle(missive.RawMessage(b"x"))
        assert (len(own), len(stand_in)) == (1, 1)
        assert (first.processor, first.adapter) == (processor, one)


@pytest.mark.parametrize("cls", [dict, missive.MemoryDLQ])
def test_a_class_is_no_dlq(cls: Any) -> None:
    """Forgotten parentheses are found before a dead letter is lost to them."""
    processor: missive.Processor[missive.RawMessage] = missive.Processor()
    with pytest.raises(missive.ConfigurationError, match=f"class {cls.__name__}.*an instance"):
        processor.set_dlq(cls)
    with pytest.raises(missive.ConfigurationError, match="a list cannot be a DLQ"):
        processor.set_dlq([])  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [missive.Processor, None, lambda m, ctx: None])
def test_an_adapter_refuses_what_is_no_processor(wrong: Any) -> None:
    """When it is built, not when it runs."""
    with pytest.raises(missive.ConfigurationError, match=r"StdinAdapter cannot run .*; give the"):
        StdinAdapter(missive.RawMessage, wrong)
