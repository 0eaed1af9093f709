"""``missive run --processes`` on Redis Streams: restarted under load, nothing is lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path
from typing import IO

import pytest
import redis
from patience import eventually
from redis_server import RedisServer
from worker import body_of, read_journal

pytest.importorskip("missive.cli")

HERE = Path(__file__).resolve().parent

APP = """\
import os
import sys

sys.path.insert(0, os.environ["WORKER_FOLDER"])

import missive
from worker import Journal, number_of

processor = missive.Processor()
journal = Journal("journal")


@processor.handle_for(missive.otherwise)
def handle(message, ctx):
    journal.write(number_of(message.raw_data), message.delivery_count, os.getpid())
    ctx.ack()
"""


class Supervised:
    """The command in several processes, whose log is read as it comes."""

    def __init__(self, folder: Path, url: str, *options: str) -> None:
        (folder / "app.py").write_text(APP)
        self._folder = folder
        self._log: list[str] = []
        command = [sys.executable, "-m", "missive.cli", "run", "app:processor", "--message", "raw"]
        command += ["--from", url, "--dlq", "sqlite:///letters.db", "--processes", "3", *options]
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "WORKER_FOLDER": str(HERE)},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stderr,))
        self._reader.start()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            self._log += iter(stream.readline, "")

    def started(self) -> list[int]:
        """Return the processes that were started, in order."""
        return [int(pid) for pid in re.findall(r"\(pid (\d+)\) started", "".join(self._log))]

    def current(self) -> list[int]:
        """Return the processes that were started last in each of the three places."""
        found = re.findall(r"process (\d) \(pid (\d+)\) started", "".join(self._log))
        return [int(pid) for pid in dict(found).values()]

    def handled(self) -> list[list[str]]:
        """Return what was handled: number, delivery count and process of each."""
        return read_journal(self._folder / "journal")

    def signal(self, signum: int) -> None:
        """Send a signal to the supervisor."""
        self._process.send_signal(signum)

    def stop(self) -> int:
        """Have it drain and end; return the exit code."""
        if self._process.poll() is None:
            self._process.terminate()
        code = self._process.wait(60)
        self._reader.join()
        return code


@pytest.mark.parametrize("rounds", [3, pytest.param(44, marks=pytest.mark.soak)])
def test_rolling_restarts_and_kills_under_load_lose_nothing(
    server: RedisServer, client: redis.Redis, tmp_path: Path, rounds: int
) -> None:
    """Each message is handled; twice at most where a process was killed with it in flight.

    Every round restarts the three processes, by SIGHUP or, every third time, by killing one.
    """
    client.xgroup_create("load", "group", "0", mkstream=True)
    url = f"redis+streams://127.0.0.1:{server.port}/0?streams=load&group=group&retry_after=0.5"
    running = Supervised(tmp_path, url)
    sent, killed = 0, set[int]()

    def load(count: int) -> None:
        nonlocal sent
        pipeline = client.pipeline(transaction=False)
        for number in range(sent, sent + count):
            pipeline.xadd("load", {"data": body_of(number)})
        pipeline.execute()
        sent += count

    try:
        for number in range(rounds):
            load(1000)
            eventually(lambda: len(running.current()) == 3, "no processes", seconds=60)
            done, before = len(running.handled()), len(running.started())
            eventually(lambda: len(running.handled()) > done or done >= sent, "idle", seconds=60)  # noqa: B023
            if number % 3 == 2:
                victim = running.current()[number % 2]
                killed.add(victim)
                os.kill(victim, signal.SIGKILL)
                wanted = before + 1
            else:
                running.signal(signal.SIGHUP)
                wanted = before + 3
            load(1000)
            eventually(lambda: len(running.started()) >= wanted, "not restarted", seconds=120)  # noqa: B023
        eventually(
            lambda: len({words[0] for words in running.handled()}) == sent, "lost", seconds=120
        )
        pending = client.xpending  # what a killed process had handled and not acked is redelivered
        eventually(lambda: pending("load", "group")["pending"] == 0, "stuck", seconds=120)
    finally:
        code = running.stop()
    assert code == 0
    by_number: defaultdict[int, list[int]] = defaultdict(list)
    for message, _, process in running.handled():
        by_number[int(message)].append(int(process))
    assert set(by_number) == set(range(sent))
    for message, processes in by_number.items():
        assert killed.issuperset(processes[:-1]), f"{message} was handled by {processes}"
    assert client.xpending("load", "group")["pending"] == 0
    print(f"{len(running.started()) - 3} restarts, {sent} messages, {len(killed)} kills")
