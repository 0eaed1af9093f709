"""Every DLQ behind every adapter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from missive import HandlingContext, MemoryDLQ, Message
from missive.conformance.lab import AdapterLab, wait_until
from missive.dlq.sqlite import SQLiteDLQ

from . import harnesses

ADAPTERS = [
    harnesses.TestAdapterHarness,
    harnesses.StdinHarness,
    harnesses.WSGIHarness,
    harnesses.PubSubHarness,
    harnesses.StreamsHarness,
]
DLQS: dict[str, Callable[[Path], Any]] = {
    "dict": lambda path: {},
    "MemoryDLQ": lambda path: MemoryDLQ(),
    "SQLiteDLQ": lambda path: SQLiteDLQ(path / "letters.db"),
}


@pytest.mark.parametrize("harness", ADAPTERS, ids=lambda cls: cls.adapter_cls.__name__)
@pytest.mark.parametrize("make_dlq", DLQS.values(), ids=DLQS)
def test_letters_of_every_adapter_go_to_every_dlq(
    harness: Any, make_dlq: Callable[[Path], Any], tmp_path: Path
) -> None:
    """What fails under an adapter is in the DLQ with its bytes and reason, and the rest is acked."""

    def fail_some(message: Message, ctx: HandlingContext[Any]) -> None:
        if message.raw_data.startswith(b"bad"):
            raise LookupError("the handler's own words")
        ctx.ack()

    with AdapterLab(harness, tmp_path / "lab") as lab:
        dlq = make_dlq(tmp_path)
        if hasattr(dlq, "close"):
            lab.at_end.callback(dlq.close)
        recorder = lab.record(fail_some, dlq=dlq)
        with lab.running(recorder):
            publications = [lab.publish(body) for body in (b"bad 1", b"good", b"bad 2")]
            recorder.wait_seen(3)
            wait_until(lambda: len(dlq) == 2, lab.patience, "not both letters came")
            lab.expect_settled(*publications)
        letters = sorted((message.raw_data, reason) for message, reason in dlq.values())
        assert letters == [
            (b"bad 1", "the handler's own words"),
            (b"bad 2", "the handler's own words"),
        ]
