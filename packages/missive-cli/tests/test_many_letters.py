"""A store with very many letters: answers within a second, in flat memory, and nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from missive import DeadLetter
from missive.letters import Failure

SQLiteDLQ = pytest.importorskip("missive.dlq.sqlite").SQLiteDLQ

BEGAN = datetime(2026, 3, 1, tzinfo=timezone.utc)
#: More than the interpreter, click and a page of letters need: 31 MB in the whole.
MEMORY_KB = 60_000


def many(count: int) -> Iterator[DeadLetter]:
    """Return letters of about 1 KB, of 280 groups; every seventh body is no UTF-8."""
    for number in range(count):
        at = BEGAN + timedelta(seconds=number)
        reason, handler = f"reason {number % 40}", f"app.handler{number % 7}"
        yield DeadLetter(
            id=b"m%d" % number,
            message_id=b"m%d" % number,
            raw_data=(b'{"n": %d, "pad": "' % number) + b"x" * 900 + b"\xff" * (number % 7 == 0),
            reason=reason,
            stage="handling",
            first_failed=at,
            last_failed=at,
            headers={"kind": "order"},
            source="orders",
            error_type="ValueError",
            handler=handler,
            traceback="ValueError: boom\n",
            history=(Failure(at, "handling", reason, "ValueError", handler),),
        )


def fill(path: Path, count: int) -> None:
    """Make a store with so many letters."""
    letters = many(count)
    with SQLiteDLQ(path, synchronous="OFF") as store:
        for _ in range(0, count, 5000):
            store.restore_many([letter for _, letter in zip(range(5000), letters, strict=False)])


#: Runs a command and tells its processor time and memory. In a small process of its own, since the
#: kernel counts in a child's memory what its parent had when it was forked.
MEASURE = """\
import os, subprocess, sys
process = subprocess.Popen(
    sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
)
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
print(process.returncode, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
"""


def measure(cwd: Path, *args: str) -> tuple[float, int]:
    """Run a command to its end; gives its seconds of processor time and its memory, in KB.

    Of processor time, so that a busy machine does not count; the disk is read from its cache.
    """
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, sys.executable, "-m", "missive.cli", *args],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    )
    code, seconds, memory = done.stdout.split()
    assert code == "0"
    return float(seconds), int(memory)


@pytest.mark.soak
def test_a_million_letters_are_looked_through_within_a_second(tmp_path):
    """Every view of a million letters comes within 1 s, in the memory that a page needs."""
    fill(tmp_path / "many.db", 1_000_000)
    url = "sqlite:///many.db"
    for args in (
        ("summary", url),
        ("list", url),
        ("list", url, "--newest-first", "--handler", "app.handler3"),
        ("list", url, "--after", "900000", "--json"),
        ("list", url, "--since", "2026-03-12T00:00"),
        ("list", url, "--reason", "there is no such reason"),
        ("show", url, "m999999"),
    ):
        seconds, memory = min(measure(tmp_path, "dlq", *args) for _ in range(3))
        assert seconds < 1, args
        assert memory < MEMORY_KB, args


@pytest.mark.soak
def test_100000_letters_are_exported_and_imported_without_loss(tmp_path):
    """Export piped into import gives the same letters, in flat memory on both sides."""
    fill(tmp_path / "old.db", 100_000)
    _, memory = measure(tmp_path, "dlq", "export", "sqlite:///old.db", "-o", "letters.jsonl")
    assert memory < MEMORY_KB
    _, memory = measure(tmp_path, "dlq", "import", "sqlite:///new.db", "letters.jsonl")
    assert memory < MEMORY_KB
    with SQLiteDLQ(tmp_path / "old.db") as old, SQLiteDLQ(tmp_path / "new.db") as new:
        assert len(new) == 100_000
        for was, now in zip(old.letters(), new.letters(), strict=True):
            assert now == was
