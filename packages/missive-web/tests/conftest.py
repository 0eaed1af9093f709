"""The fixtures of these tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from missive import DeadLetterStore, JSONMessage, MemoryDLQ

sys.path.insert(0, str(Path(__file__).resolve().parent))

from missive.web import DeadLetterApp
from page_tools import Page, letter, make_processor


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DeadLetterStore]:
    """A store with six orders that failed, of two groups, the newest last."""
    dlq: DeadLetterStore
    if request.param == "sqlite":
        sqlite = pytest.importorskip("missive.dlq.sqlite")
        dlq = sqlite.SQLiteDLQ(tmp_path / "letters.db", synchronous="OFF")
    else:
        dlq = MemoryDLQ()
    with dlq:
        dlq.put_many(letter(number, "pen" if number < 4 else "ink") for number in range(6))
        yield dlq


@pytest.fixture
def page(store: DeadLetterStore) -> Iterator[Page]:
    """The page of that store, with the processor."""
    with DeadLetterApp(store, processor=make_processor(), message_cls=JSONMessage) as app:
        yield Page(app)
