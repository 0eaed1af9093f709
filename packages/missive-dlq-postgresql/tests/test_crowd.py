"""Many that write and claim at once."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from missive.dlq.postgresql import PostgreSQLDLQ
from patience import eventually
from postgresql_server import PostgreSQLServer

CROWD = Path(__file__).with_name("crowd.py")
#: Of four threads that write and four that claim, each.
PROCESSES, THREADS = 4, 4


class Crowd:
    """Sixteen writers and sixteen claimers in four processes."""

    def __init__(self, conninfo: str, count: int, folder: Path, pause: float = 0.0) -> None:
        self.ledgers = [folder / f"ledger-{number}" for number in range(PROCESSES)]
        self.expected = PROCESSES * THREADS * count
        self.processes = [
            subprocess.Popen(
                [
                    *(sys.executable, str(CROWD), conninfo, str(number), str(count)),
                    *(str(self.ledgers[number]), str(pause)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(PROCESSES)
        ]

    def wait_written(self) -> None:
        """Wait until all messages are written."""
        for process in self.processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "written\n"

    def handled(self) -> Counter[tuple[str, bool]]:
        """Return how often each message was handled, by whether it could then be removed."""
        found: Counter[tuple[str, bool]] = Counter()
        for ledger in self.ledgers:
            lines = ledger.read_text().splitlines() if ledger.exists() else []
            found.update((line[:-2], line[-1] == "1") for line in lines)
        return found

    def end(self) -> None:
        """Have all processes end by themselves."""
        for process in self.processes:
            process.communicate("over\n", timeout=150)
            assert process.returncode == 0

    def kill(self) -> None:
        """End what is left of them."""
        for process in self.processes:
            process.kill()
            process.communicate()


def test_sixteen_writers_and_sixteen_claimers(
    server: PostgreSQLServer, database: str, store: Callable[..., PostgreSQLDLQ], tmp_path: Path
) -> None:
    """Every message is handled once, and none twice, while all write and claim."""
    opened = store()
    crowd = Crowd(server.conninfo(database), 12, tmp_path)
    try:
        crowd.wait_written()
        eventually(lambda: opened.counts().deferred == 0, "messages are left", 150)
        crowd.end()
    finally:
        crowd.kill()
    handled = crowd.handled()
    assert len(handled) == crowd.expected
    assert set(handled.values()) == {1}
    assert all(removed for _, removed in handled)


@pytest.mark.soak
def test_a_crowd_whose_server_is_killed(own_server: PostgreSQLServer, tmp_path: Path) -> None:
    """While the server is killed again and again, no message is lost, and none removed twice."""
    database = own_server.new_database()
    crowd = Crowd(own_server.conninfo(database), 100, tmp_path, 0.01)
    try:
        for _ in range(10):
            threading.Event().wait(2)  # while much happens
            own_server.kill()
            own_server.start()
        crowd.wait_written()
        with PostgreSQLDLQ(own_server.conninfo(database)) as opened:
            eventually(lambda: opened.counts().deferred == 0, "messages are left", 300)
        crowd.end()
    finally:
        crowd.kill()
    handled = crowd.handled()
    assert len({id for id, _ in handled}) == crowd.expected
    assert max(count for (_, removed), count in handled.items() if removed) == 1
