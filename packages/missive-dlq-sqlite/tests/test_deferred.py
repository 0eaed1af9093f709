"""Deferred messages in a file that several processes share, whatever happens to them."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from deferred_suite import EVENTS, FAILURES, RETRIES, Events, Simulation, scenes, world
from hypothesis import given, settings
from missive import DeadLetterStore, Retry
from missive.dlq.sqlite import SQLiteDLQ


# A file takes six times as long as the memory does.
@settings(max_examples=settings().max_examples // 4)
@scenes
@given(events=EVENTS, retry=RETRIES, failures=FAILURES)
def test_each_message_is_tried_as_often_as_allowed_and_never_twice_at_once(
    events: Events, retry: Retry, failures: list[int]
) -> None:
    """Through kills and clocks that jump; one attempt more for each kill, and all end somewhere."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:

        def open_store() -> DeadLetterStore:
            return opened.enter_context(SQLiteDLQ(Path(folder) / "dlq.db", synchronous="OFF"))

        with world("dlq.sqlite.sqlite_dlq") as time:
            Simulation(time, retry, failures, open_store).run(events)
