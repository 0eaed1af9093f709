"""Stores that are dropped without being closed, wherever Python collects them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from missive import RawMessage
from missive.dlq.sqlite import SQLiteDLQ, connections

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

DROPPED_BETWEEN_THE_HOOKS = """
import os, sys

held = []
# Registered before the store's own, so the one before runs after it, and those after before it.
os.register_at_fork(
    before=lambda: held and held.pop(),
    after_in_parent=lambda: held and held.pop(),
    after_in_child=lambda: held and held.pop(),
)

from missive import RawMessage
from missive.dlq.sqlite import SQLiteDLQ

path = sys.argv[1]
for number in range(3):
    for again in range(2):
        store = SQLiteDLQ(path)
        store[b"%d-%d" % (number, again)] = (RawMessage(b"body"), "reason")
        held.append(store)
        del store
    pid = os.fork()
    if pid == 0:
        with SQLiteDLQ(path) as store:
            store[b"child %d" % number] = (RawMessage(b"body"), "reason")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert not held
with SQLiteDLQ(path) as store:
    assert len(store) == 9, len(store)
print([name for name in os.listdir(os.path.dirname(path))])
"""


def test_dropped_between_the_hooks_of_a_fork(tmp_path: Path) -> None:
    """A store collected while a fork holds its locks is closed after it, and the fork returns."""
    done = subprocess.run(
        [sys.executable, "-c", DROPPED_BETWEEN_THE_HOOKS, str(tmp_path / "dlq.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "['dlq.db']\n"


def test_dropped_while_another_is_made(tmp_path: Path) -> None:
    """A store collected while somebody holds the lock of forks is closed by that one."""
    path = tmp_path / "dlq.db"
    store = SQLiteDLQ(path)
    store[b"1"] = (RawMessage(b"body"), "reason")
    with connections._forking:
        del store
        assert (tmp_path / "dlq.db-wal").exists(), "it was closed without the lock"
    SQLiteDLQ(":memory:").close()
    assert list(tmp_path.iterdir()) == [path]


def test_dropped_at_the_end_of_the_process(tmp_path: Path) -> None:
    """A store that was never closed closes its files when the process ends."""
    script = (
        "import sys; from missive import RawMessage; from missive.dlq.sqlite import SQLiteDLQ\n"
        "store = SQLiteDLQ(sys.argv[1]); store[b'1'] = (RawMessage(b''), '')"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "dlq.db")], check=True)
    assert [file.name for file in tmp_path.iterdir()] == ["dlq.db"]
