"""``missive run`` on Redis Streams, killed and stopped: nothing is lost, and letters are replayed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import redis
from patience import eventually
from redis_server import RedisServer

pytest.importorskip("missive.cli")
SQLiteDLQ = pytest.importorskip("missive.dlq.sqlite").SQLiteDLQ

MESSAGES, EVERY_BAD = 1500, 10

APP = """\
import os

import missive

processor = missive.Processor()
journal = os.open("journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


@processor.handle_for(missive.otherwise)
def note(message, ctx):
    number = message.get_json()["n"]
    if number % 10 == 0 and not os.path.exists("mended"):
        raise ValueError(number)
    os.write(journal, b"%d\\n" % number)
    ctx.ack()
"""


def command(*args: str) -> list[str]:
    """Return the command line of the command."""
    return [sys.executable, "-m", "missive.cli", *args]


def handled(folder: Path) -> Counter[int]:
    """Count how often each message was handled to its end."""
    journal = folder / "journal"
    return Counter(map(int, journal.read_text().split())) if journal.exists() else Counter()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_run_is_killed_and_goes_on(
    server: RedisServer, client: redis.Redis, tmp_path: Path, workers: int
) -> None:
    """What kill -9 interrupted is handled by the next run; what failed is a letter, then replayed."""
    (tmp_path / "app.py").write_text(APP)
    client.xgroup_create("load", "group", "0", mkstream=True)
    for number in range(MESSAGES):
        client.xadd("load", {"data": b'{"n": %d}' % number})
    url = f"redis+streams://127.0.0.1:{server.port}/0?streams=load&group=group&retry_after=0.5"
    run = command(
        *("run", "app:processor", "--from", url, "--message", "json", "--workers", str(workers)),
        *("--dlq", "sqlite:///dead.db", "--log-level", "error"),
    )
    good = {number for number in range(MESSAGES) if number % EVERY_BAD}
    for goal in (300, 800):
        process = subprocess.Popen(run, cwd=tmp_path, stderr=subprocess.DEVNULL)
        eventually(lambda: len(handled(tmp_path)) >= goal, "the run stands still", seconds=60)  # noqa: B023
        process.kill()
        process.wait()
    process = subprocess.Popen(run, cwd=tmp_path, stderr=subprocess.DEVNULL)
    eventually(
        lambda: client.xinfo_groups("load")[0]["pending"] == 0 and set(handled(tmp_path)) == good,
        "not all is handled",
        seconds=60,
    )
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    with SQLiteDLQ(tmp_path / "dead.db") as store:
        assert len(store) == MESSAGES // EVERY_BAD
    (tmp_path / "mended").touch()
    replay = command(
        *("dlq", "replay", "sqlite:///dead.db", "app:processor", "--message", "json", "--canary")
    )
    assert subprocess.run(replay, cwd=tmp_path, check=False, timeout=60).returncode == 0
    assert set(handled(tmp_path)) == set(range(MESSAGES))
    with SQLiteDLQ(tmp_path / "dead.db") as store:
        assert len(store) == 0
