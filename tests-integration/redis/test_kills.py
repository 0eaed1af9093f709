"""Consumers of one group that die in the middle of their work."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from patience import eventually
from redis_server import RedisServer
from worker import body_of, read_journal

pytestmark = pytest.mark.faults

HERE = Path(__file__).resolve().parent
MESSAGES = 20_000


class Fleet:
    """Worker processes, of which some are killed."""

    def __init__(self, server: RedisServer, folder: Path, **options: float) -> None:
        self.journal, self.letters = folder / "journal", folder / "letters"
        self._command = [sys.executable, str(HERE / "worker.py"), server.url]
        self._command += [str(self.journal), str(self.letters)]
        self._command += [f"{name}={value}" for name, value in options.items()]
        self.processes: list[subprocess.Popen[bytes]] = []
        self.killed: set[int] = set()

    def start(self) -> None:
        """Start one more worker."""
        self.processes.append(subprocess.Popen(self._command, stderr=subprocess.DEVNULL))

    def kill(self, index: int) -> None:
        """Kill a worker, as the kernel does when memory is short."""
        process = self.processes.pop(index)
        process.kill()
        process.wait()
        self.killed.add(process.pid)

    def revive(self) -> None:
        """Start a worker for each that has ended by itself."""
        for process in [process for process in self.processes if process.poll() is not None]:
            self.processes.remove(process)
            self.killed.add(process.pid)
            self.start()

    def stop(self) -> None:
        """Stop all, in an orderly way."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(30)

    def handled(self) -> list[list[str]]:
        """Return what was handled: number, delivery count and process of each."""
        return read_journal(self.journal)


@contextmanager
def fleet(server: RedisServer, folder: Path, size: int, **options: float) -> Iterator[Fleet]:
    """Run so many workers."""
    workers = Fleet(server, folder, **options)
    for _ in range(size):
        workers.start()
    try:
        yield workers
    finally:
        workers.stop()


def settled(client: redis.Redis) -> Callable[[], bool]:
    """Return what says whether the group has nothing left to do."""

    def is_settled() -> bool:
        groups = client.xinfo_groups("load")
        return bool(groups) and groups[0]["pending"] == 0 and groups[0]["lag"] == 0

    return is_settled


def load(client: redis.Redis, numbers: range) -> None:
    """Add messages."""
    for begin in range(numbers.start, numbers.stop, 500):
        pipeline = client.pipeline(transaction=False)
        for number in range(begin, min(begin + 500, numbers.stop)):
            pipeline.xadd("load", {"data": body_of(number)})
        pipeline.execute()


@pytest.mark.parametrize(
    ("kills", "workers"), [(4, 1), pytest.param(30, 1, marks=pytest.mark.soak), (4, 3)]
)
def test_nothing_is_lost_when_workers_are_killed_under_load(
    server: RedisServer, client: redis.Redis, tmp_path: Path, kills: int, workers: int
) -> None:
    """Each message is handled, whole, however often one of three processes is killed.

    What is handled twice was handled first by a process that was killed before it could ack.
    """
    client.xgroup_create("load", "group", "0", mkstream=True)
    with fleet(server, tmp_path, 3, retry_after=1.0, workers=workers) as running:
        for kill in range(kills):
            begin, end = MESSAGES * kill // kills, MESSAGES * (kill + 1) // kills
            done = len(running.handled())
            load(client, range(begin, end))
            # In the middle of this portion.
            some = random.randrange(1, (end - begin) // 2)
            eventually(
                lambda: len(running.handled()) >= done + some,  # noqa: B023
                "the workers stand still",
                seconds=60,
            )
            running.kill(random.randrange(3))
            running.start()
        eventually(settled(client), "something is stuck", seconds=60)
    by_number: defaultdict[int, list[int]] = defaultdict(list)
    for number, _, process in running.handled():
        by_number[int(number)].append(int(process))
    assert set(by_number) == set(range(MESSAGES))
    assert not read_journal(running.letters)
    twice = {number: by for number, by in by_number.items() if len(by) > 1}
    for number, processes in twice.items():
        assert running.killed.issuperset(processes[:-1]), f"{number} was handled by {processes}"
    assert client.xpending("load", "group")["pending"] == 0


@pytest.mark.parametrize(("workers", "max_deliveries"), [(1, 3), (3, 3), (3, 2)])
def test_a_message_that_kills_its_process_ends_as_a_dead_letter(
    server: RedisServer, client: redis.Redis, tmp_path: Path, workers: int, max_deliveries: int
) -> None:
    """It is tried as often as allowed, and what was read beside it is handled all the same."""
    load(client, range(100))
    client.xadd("load", {"data": "poison"})
    load(client, range(100, 200))
    options = {"retry_after": 1.0, "max_deliveries": max_deliveries, "workers": workers}
    with fleet(server, tmp_path, 2, **options) as running:

        def is_through() -> bool:
            running.revive()
            return settled(client)()

        eventually(is_through, "something is stuck", seconds=60)
    attempts = [words for words in running.handled() if words[0] == "poison"]
    assert [int(count) for _, count, _ in attempts] == [*range(1, max_deliveries + 1)]
    others = {int(words[0]) for words in running.handled() if words[0] != "poison"}
    assert others == set(range(200))
    reason = f"delivered_{max_deliveries}_times_without_being_settled"
    assert read_journal(running.letters) == [["poison", reason]]
