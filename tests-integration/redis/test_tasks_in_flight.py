"""A thousand tasks in flight when the process is killed, the connection is cut, or the run drains."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import missive
import pytest
import redis
from missive.adapters.redis import RedisStreamsAdapter
from missive.errors import DrainTimeout
from patience import DEADLINE, eventually
from proxy import Proxy
from redis_server import RedisServer
from running import Running
from worker import read_journal

pytestmark = pytest.mark.faults

HERE = Path(__file__).resolve().parent
TASKS = 1000
#: Once with the other tests of faults; twenty times in a row in the soak run.
rounds = pytest.mark.parametrize("rounds", [1, pytest.param(20, marks=pytest.mark.soak)])


class Tasks:
    """A processor whose handler waits until it is let go on, and then acks.

    :ivar begun: the bodies whose handling began, and how often.
    :ivar ended: the bodies whose handling ended, and how often.
    :ivar released: how many may end before all are let go on.
    """

    def __init__(self) -> None:
        self.begun: Counter[bytes] = Counter()
        self.ended: Counter[bytes] = Counter()
        self.go_on = threading.Event()
        self.released = 0
        self.processor: missive.Processor[Any] = missive.Processor()

        @self.processor.handle_for(missive.otherwise)
        async def handle(message: Any, ctx: Any) -> None:
            self.begun[message.raw_data] += 1
            while not self.go_on.is_set() and len(self.ended) >= self.released:
                await asyncio.sleep(0.01)
            ctx.ack()
            self.ended[message.raw_data] += 1

    def adapter(self, port: int, **options: Any) -> RedisStreamsAdapter[Any]:
        """Return an adapter that takes all of them at once."""
        url = f"redis://127.0.0.1:{port}"
        options = {"max_in_flight": TASKS, "retry_after": 1.0, **options}
        return RedisStreamsAdapter(
            missive.RawMessage, self.processor, "orders", "billing", url=url, **options
        )

    def wait_begun(self) -> None:
        """Wait until all are in flight."""
        eventually(lambda: len(self.begun) == TASKS, "not all of them began")


def publish(client: redis.Redis, count: int = TASKS) -> set[bytes]:
    """Add entries to an empty server, and return their bodies."""
    client.flushall()
    bodies = [b"%d" % number for number in range(count)]
    pipeline = client.pipeline(transaction=False)
    for body in bodies:
        pipeline.xadd("orders", {"data": body})
    pipeline.execute()
    return set(bodies)


def wait_settled(client: redis.Redis) -> None:
    """Wait until nothing is left of the stream for the group."""

    def is_settled() -> bool:
        (group,) = client.xinfo_groups("orders")
        return bool(group["entries-read"] == TASKS and not group["pending"])

    eventually(is_settled, "something is stuck")


@rounds
def test_a_killed_process_loses_none_of_its_tasks(
    server: RedisServer, client: redis.Redis, tmp_path: Path, rounds: int
) -> None:
    """Another process handles all that were in flight, and each is settled."""
    for turn in range(rounds):
        bodies = publish(client)
        journal = tmp_path / f"journal-{turn}"
        command = [sys.executable, str(HERE / "tasks_worker.py"), server.url, str(journal)]
        with subprocess.Popen([*command, str(TASKS)]) as victim:
            try:
                eventually(lambda: len(read_journal(journal)) == TASKS, "it did not begin them")  # noqa: B023
            finally:
                victim.kill()
        heirs = Tasks()
        heirs.go_on.set()
        with Running(heirs.adapter(server.port)):
            wait_settled(client)
        assert set(heirs.ended) == bodies


@rounds
@pytest.mark.parametrize("fault", [Proxy.cut, Proxy.reset])
def test_a_cut_connection_loses_none_of_its_tasks(
    server: RedisServer, client: redis.Redis, fault: Any, rounds: int
) -> None:
    """What was in flight is handled on, and settled on the next connection."""
    for _ in range(rounds):
        bodies = publish(client)
        tasks = Tasks()
        with Proxy(server.port) as proxy, Running(tasks.adapter(proxy.port, retry_after=60.0)):
            tasks.wait_begun()
            fault(proxy)
            tasks.go_on.set()
            wait_settled(client)
        assert set(tasks.ended) == bodies
        assert tasks.begun == tasks.ended


@rounds
def test_a_drained_run_settles_its_tasks(
    server: RedisServer, client: redis.Redis, rounds: int
) -> None:
    """Tasks that end within the drain are settled, every one, and handled once."""
    for _ in range(rounds):
        bodies = publish(client)
        tasks = Tasks()
        adapter = tasks.adapter(server.port, drain_timeout=DEADLINE, retry_after=60.0)
        with Running(adapter):
            tasks.wait_begun()
            adapter.stop()
            tasks.go_on.set()
        wait_settled(client)
        assert tasks.ended == Counter(bodies)


@rounds
def test_tasks_cancelled_at_the_drain_deadline_are_redelivered(
    server: RedisServer, client: redis.Redis, rounds: int
) -> None:
    """None of them is acked; the error names each, and another run handles each."""
    for _ in range(rounds):
        bodies = publish(client)
        tasks = Tasks()
        with Running(adapter := tasks.adapter(server.port, drain_timeout=0.0)) as running:
            tasks.wait_begun()
            adapter.stop()
            error = running.fails()
        assert isinstance(error, DrainTimeout)
        assert len(error.message_ids) == TASKS
        assert not tasks.ended
        heirs = Tasks()
        heirs.go_on.set()
        with Running(heirs.adapter(server.port)):
            wait_settled(client)
        assert set(heirs.ended) == bodies


def test_receiving_stays_within_the_bound(server: RedisServer, client: redis.Redis) -> None:
    """While 10,000 handlers wait, and as some of them end, no more than max_in_flight are pending."""
    most, ending = 9_990, 30  # no multiples of what one read brings
    publish(client, most + 500)
    tasks, highest = Tasks(), 0

    def look(condition: Callable[[], bool]) -> bool:
        nonlocal highest
        highest = max(highest, client.xpending("orders", "billing")["pending"])
        return condition()

    with Running(tasks.adapter(server.port, max_in_flight=most, retry_after=60.0)):
        for released in (0, ending):
            tasks.released = released
            eventually(partial(look, lambda: len(tasks.begun) == most + released), "stuck")  # noqa: B023
        tasks.go_on.set()
        eventually(partial(look, lambda: len(tasks.ended) == most + 500), "stuck")
    assert highest == most
