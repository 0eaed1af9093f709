"""An inbox that is killed between any two of its steps loses nothing, and does nothing over."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BODIES = {"one", "other", "two"}


@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
@pytest.mark.parametrize("vehicle", ["wsgi", "asgi"])
def test_killed_between_any_two_steps(vehicle: str, tmp_path: Path) -> None:
    """Every message is handled; none after it was removed from the store, though it is sent again."""
    done = subprocess.run(
        [sys.executable, str(HERE / "inbox_worker.py"), vehicle, str(tmp_path)],
        stdout=subprocess.PIPE,
        check=True,
        timeout=170,
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) > 15
    for row in rows:
        assert row["ended"] in ([-signal.SIGKILL, 0], [0, 0]), row
        events = [tuple(line.split()) for line in row["diary"]]
        assert {body for what, body in events if what == "handled"} == BODIES, row
        for place, (what, body) in enumerate(events):
            if what == "done":
                assert ("handled", body) not in events[place:], row
    assert rows[-1]["ended"] == [0, 0]
    # A message that is handled more than once was killed before it was removed.
    twice = sum(row["diary"].count(f"handled {body}") > 1 for row in rows for body in BODIES)
    assert 0 < twice < len(rows)
