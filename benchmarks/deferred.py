"""Deferred messages: what they cost in SQLite, idle or by the million, and an outage costs others."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from dlq import BATCH, DUE, MILLION, connect, folder, fresh, letters_of
from instrument import Stopwatch, Suite

suite = Suite("deferred", "Deferred messages", unit="µs a message", service=folder)

#: One message in so many goes to the handler whose dependency is down.
ONE_IN = 10
#: How long the other handler waits for each of its messages, in seconds.
WORK = 0.0002


# Among many. A store is made once, by a process of its own, whose memory is not measured.


def fill(path: str, count: int) -> None:
    """Defer so many messages, which are due in another order than they came."""
    from missive.dlq.sqlite import SQLiteDLQ

    (example,) = letters_of(1)
    with SQLiteDLQ(path, synchronous="OFF") as store:
        for start in range(0, count, 1000):
            store.defer(
                example._replace(
                    id=b"%016d" % number,
                    message_id=b"%016d" % number,
                    due=DUE + timedelta(seconds=number * 7919 % 1_000_003),
                )
                for number in range(start, start + 1000)
            )


def filled(folder: str, count: int) -> str:
    """Return the path of a store with so many deferred messages that are due."""
    path = str(Path(folder) / f"deferred-{count}.db")
    if not Path(path).exists():
        program = f"import deferred; deferred.fill({path!r}, {count})"
        subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parent)
    return path


@suite.variant(
    "sqlite3, claim due",
    environment="missive",
    kind="limit",
    semantics=f"{BATCH} rows read and claimed by hand, in one transaction, by the same index",
)
def raw_claim_due(folder: str, count: int) -> Callable[[int], None]:
    """Measure the query and the update alone."""
    connection: sqlite3.Connection = connect(filled(folder, count), "WAL")
    connection.execute("PRAGMA synchronous = NORMAL")

    def run(items: int) -> None:
        for _ in range(0, items, BATCH):
            now = int(time.time() * 1e6)
            connection.execute("BEGIN IMMEDIATE")
            rows = connection.execute(
                "SELECT * FROM letters JOIN contents USING (position) WHERE due <= ?"
                " AND claim_expires IS NULL ORDER BY due LIMIT ?",
                (now, BATCH),
            ).fetchall()
            assert len(rows) == BATCH
            connection.executemany(
                "UPDATE letters SET claim = ?, claimed = ?, claim_expires = ? WHERE position = ?",
                [("a token", now, now + 600_000_000, row[0]) for row in rows],
            )
            connection.execute("COMMIT")

    return run


@suite.variant(
    "Missive, claim due",
    environment="missive",
    kind="missive",
    semantics=f"claim_due({BATCH}): the messages with their claims",
)
def claim_due(folder: str, count: int) -> Callable[[int], None]:
    """Measure the store's claim."""
    from missive.dlq.sqlite import SQLiteDLQ

    store = SQLiteDLQ(filled(folder, count))

    def run(items: int) -> None:
        for _ in range(0, items, BATCH):
            assert len(store.claim_due(BATCH, 600.0)) == BATCH

    return run


# A transport in memory.


def transport() -> Any:
    """Return an adapter class that delivers bodies, then idles until it is stopped."""
    import missive
    from missive.polling import PollingAdapter

    class Memory(PollingAdapter[missive.RawMessage]):
        capabilities = missive.Capabilities(
            delivery="at-least-once", crash_redelivery=True, stable_id=True
        )

        def __init__(self, processor: Any, bodies: Sequence[bytes] = ()) -> None:
            super().__init__(missive.RawMessage, processor)
            self.bodies = list(reversed(bodies))

        def open(self) -> None:
            """Connect to nothing."""

        def close(self) -> None:
            """Close nothing."""

        def receive(self, timeout: float) -> Sequence[missive.Delivery]:
            if not self.bodies:
                self.wait(timeout)
                return ()
            batch = [self.bodies.pop() for _ in range(min(100, len(self.bodies)))]
            return [missive.Delivery(body, body, None, "memory", 1) for body in batch]

        def ack(self, message: missive.RawMessage) -> None:
            """Forget the message."""

        def nack(self, message: missive.RawMessage) -> None:
            """Forget the message."""

    return Memory


def idle(stored: bool) -> Callable[..., Callable[[int], dict[str, float]]]:
    """Return what measures the processor time of a run that has nothing to do."""

    def prepare(folder: str) -> Callable[[int], dict[str, float]]:
        import missive
        from missive.dlq.sqlite import SQLiteDLQ

        processor: Any = missive.Processor()
        processor.handle_for(missive.otherwise)(lambda message, ctx: ctx.ack())
        if stored:
            processor.set_dlq(SQLiteDLQ(fresh(folder)))
        adapter = transport()(processor)

        def run(seconds: int) -> dict[str, float]:
            thread = threading.Thread(target=adapter.run)
            thread.start()
            adapter.ready.wait()
            time.sleep(0.5)  # the start does not count
            watch = Stopwatch()
            time.sleep(seconds)
            used = watch.stop()["cpu"]
            adapter.stop()
            thread.join()
            return {"seconds": used, "cpu": used}

        return run

    return prepare


suite.variant(
    "idle, no store",
    environment="missive",
    kind="limit",
    semantics="the processor time of a run that receives nothing, for each second",
)(idle(stored=False))
suite.variant(
    "idle, empty store",
    environment="missive",
    kind="missive",
    semantics="the same, with a store in which it looks for deferred messages",
)(idle(stored=True))


def beside(down: bool) -> Callable[..., Callable[[int], dict[str, float]]]:
    """Return what measures one handler while the dependency of another is up or down."""

    def prepare(folder: str, work: float) -> Callable[[int], dict[str, float]]:
        import missive
        from missive.dlq.sqlite import SQLiteDLQ

        store = SQLiteDLQ(fresh(folder))
        processor: Any = missive.Processor()
        processor.set_dlq(store)
        breaker = missive.Breaker(on=ConnectionError, pause=600.0)

        @processor.handle_for(lambda message: message.raw_data[:1] == b"a", breaker=breaker)
        def needs_it(message: Any, ctx: Any) -> None:
            if down:
                raise ConnectionError
            ctx.ack()

        def run(items: int) -> dict[str, float]:
            left = items - len(range(0, items, ONE_IN))
            took: dict[str, float] = {}

            @processor.handle_for(missive.otherwise)
            def other(message: Any, ctx: Any) -> None:
                nonlocal left
                if work:
                    time.sleep(work)
                left -= 1
                ctx.ack()
                if not left:
                    took.update(watch.stop())
                    adapter.stop()

            bodies = [b"%c%d" % (b"b" if n % ONE_IN else b"a", n) for n in range(items)]
            adapter = transport()(processor, bodies)
            watch = Stopwatch()
            adapter.run()
            assert not store.counts().dead
            return took

        return run

    return prepare


suite.variant(
    "before an outage",
    environment="missive",
    kind="limit",
    semantics=f"all messages are handled, one of {ONE_IN} by a handler with a breaker",
)(beside(down=False))
suite.variant(
    "during it",
    environment="missive",
    kind="missive",
    semantics=f"the dependency of that handler is down: one message of {ONE_IN} is deferred instead",
)(beside(down=True))

CLAIMS = ("sqlite3, claim due", "Missive, claim due")
for count, text in ((10_000, "ten thousand"), (MILLION, "a million")):
    suite.case(
        f"due, of {text} deferred",
        CLAIMS,
        parameters={"count": count},
        items=1000,
        quick=count < MILLION,
    )
suite.case("a second of idling", ("idle, no store", "idle, empty store"), items=10, quick_items=2)
for text, work in (("0.2 ms", WORK), ("no time", 0.0)):
    suite.case(
        f"an outage beside a handler that takes {text}",
        ("before an outage", "during it"),
        parameters={"work": work},
        items=5000,
        quick_items=1000,
    )

suite.target(
    "claim what is due of a million, of a hand-made query",
    ("due, of a million deferred", "Missive, claim due"),
    ("due, of a million deferred", "sqlite3, claim due"),
    at_most=2,
)
suite.target(
    "memory for a claim of a million, over one of ten thousand",
    ("due, of a million deferred", "Missive, claim due", "megabytes"),
    ("due, of ten thousand deferred", "Missive, claim due", "megabytes"),
    at_most=4,
    difference=True,
    unit="MB",
)
suite.target(
    "looking into an empty store, of a core",
    ("a second of idling", "idle, empty store"),
    ("a second of idling", "idle, no store"),
    at_most=1,
    difference=True,
    unit="%",
    scale=100,
)
suite.target(
    "a message during the outage of another handler, of one before",
    ("an outage beside a handler that takes 0.2 ms", "during it"),
    ("an outage beside a handler that takes 0.2 ms", "before an outage"),
    at_most=1.11,
)
