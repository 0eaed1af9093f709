"""A page that is killed in the middle of a replay."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from missive.dlq.sqlite import SQLiteDLQ

pytest.importorskip("selenium")

from browser import DEADLINE, Browser
from page_tools import letter, wait_until

LETTERS = 10_000


@contextmanager
def served(driver: Any, store: Path, journal: Path) -> Iterator[tuple[Browser, Any]]:
    """Serve the page in a process of its own; kill that in the end."""
    program = Path(__file__).with_name("page_process.py")
    with subprocess.Popen(
        [sys.executable, program, store, journal], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline()).rstrip("/")
            yield Browser(driver, address), process
        finally:
            process.kill()
            process.wait(DEADLINE)


def replay_all(page: Browser) -> None:
    """Begin to replay everything."""
    page.go("/letters")
    page.choose("all")
    page.click("Replay…")
    page.wait_for("Leave it empty for full speed.")
    page.click_on("button[name=how][value=replay]")


def test_a_kill_loses_nothing_and_repeats_no_success(driver: Any, tmp_path: Path) -> None:
    """Of ten thousand letters each is handled once, or is there still; the one in flight may be
    handled twice.
    """
    path, journal = tmp_path / "letters.db", tmp_path / "journal"
    with SQLiteDLQ(path, synchronous="OFF") as store:
        store.put_many(letter(number) for number in range(LETTERS))
    journal.touch()
    with served(driver, path, journal) as (page, process):
        replay_all(page)
        wait_until(lambda: journal.stat().st_size > 5_000)
        process.kill()
        process.wait(DEADLINE)
    before = journal.read_bytes().splitlines()
    with SQLiteDLQ(path) as store:
        left = set(store)
        (began,) = store.actions()
        assert (began.what, began.result, began.letters) == ("replay", "began", LETTERS)
    assert 0 < len(before) < LETTERS, "it was not killed in the middle"
    assert len(set(before)) == len(before)
    assert len(left & set(before)) <= 1, "what was handled and acked is there again"
    assert left | set(before) == {b"order-%d" % number for number in range(LETTERS)}
    with served(driver, path, journal) as (page, _):
        replay_all(page)
        page.wait_for("Done.")
    every = journal.read_bytes().splitlines()
    again = every[len(before) :]
    with SQLiteDLQ(path) as store:
        still = set(store)  # the one in flight may be claimed until the lease of the dead page ends
    assert len(still) <= 1
    assert len(again) == len(set(again))
    assert len(set(again) & set(before)) <= 1
    assert set(every) | still == {b"order-%d" % number for number in range(LETTERS)}
