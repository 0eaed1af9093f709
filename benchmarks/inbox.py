"""The inbox of webhooks: how many are answered while each takes its handler 20 ms, or hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dlq import folder, fresh
from instrument import Suite
from instrument.ports import free_port
from instrument.processes import processor_time
from postgresql_service import postgresql_service
from wsgi import CONNECTIONS, Load, wait_for

#: How long a handler takes, in seconds, and how long one that hangs does.
WORK, HANGING = 0.02, 60.0
#: The commands of the servers: one process each, and as many threads as are usual.
SERVERS = {
    "gunicorn sync": "gunicorn --bind 127.0.0.1:{port} --log-level=warning inbox:wsgi_{kind}()",
    "gunicorn gthread": (
        "gunicorn --bind 127.0.0.1:{port} --log-level=warning --threads=8 inbox:wsgi_{kind}()"
    ),
    "waitress": "waitress --listen=127.0.0.1:{port} --call inbox:wsgi_{kind}",
    "uvicorn": (
        "uvicorn --factory --port={port} --no-access-log --log-level=error inbox:asgi_{kind}"
    ),
}


@contextmanager
def stores() -> Iterator[dict[str, Any]]:
    """Make a folder on the disk, and run a PostgreSQL server."""
    with folder() as on_disk, postgresql_service() as served:
        yield {**on_disk, **served}


suite = Suite("inbox", "Webhook inbox", unit="µs a request", service=stores)

# The applications. What they are told of the store and the handler is in the environment, since the
# servers call these without arguments.


def wsgi_bare() -> Any:
    """Build an application of nothing but a function: what the server can do at best."""
    from wsgi import bare_application

    return bare_application()


def asgi_bare() -> Any:
    """Build an application of nothing but a coroutine."""
    from asgi import bare_application

    return bare_application()


def wsgi_missive() -> Any:
    """Build the application whose handler takes its time."""
    import missive
    from missive.adapters.wsgi import WSGIAdapter

    processor: Any = missive.Processor()

    @processor.handle_for(lambda message: True)
    def handle(message: Any, ctx: Any) -> None:
        time.sleep(float(os.environ["MISSIVE_BENCH_WORK"]))
        ctx.ack()

    return WSGIAdapter(missive.RawMessage, processor, id_header="X-Id", inbox=set_store(processor))


def asgi_missive() -> Any:
    """Build the same application with an async handler."""
    import asyncio

    import missive
    from missive.adapters.asgi import ASGIAdapter

    processor: Any = missive.Processor()

    @processor.handle_for(lambda message: True)
    async def handle(message: Any, ctx: Any) -> None:
        await asyncio.sleep(float(os.environ["MISSIVE_BENCH_WORK"]))
        ctx.ack()

    return ASGIAdapter(missive.RawMessage, processor, id_header="X-Id", inbox=set_store(processor))


def set_store(processor: Any) -> bool:
    """Set the store that the environment names; return whether there is one."""
    path, conninfo = os.environ["MISSIVE_BENCH_SQLITE"], os.environ["MISSIVE_BENCH_POSTGRESQL"]
    if path:
        from missive.dlq.sqlite import SQLiteDLQ

        processor.set_dlq(SQLiteDLQ(path))
    elif conninfo:
        from missive.dlq.postgresql import PostgreSQLDLQ

        processor.set_dlq(PostgreSQLDLQ(conninfo, table=f"inbox_{os.getppid()}_{os.getpid()}"))
    return bool(path or conninfo)


@contextmanager
def served(
    server: str, kind: str, path: str, conninfo: str, work: float
) -> Iterator[tuple[int, int]]:
    """Serve an application in a process of its own, which is killed: no store may mind that.

    :param server: one of ``SERVERS``.
    :param kind: ``bare`` or ``missive``.
    :param path: the file of the SQLite store, or nothing.
    :param conninfo: the PostgreSQL store's server, or nothing.
    :param work: how long a handler takes, in seconds.
    :returns: the port, and the id of the process.
    """
    port = free_port()
    command = [sys.executable, "-m", *SERVERS[server].format(port=port, kind=kind).split()]
    environment = {
        "MISSIVE_BENCH_SQLITE": path,
        "MISSIVE_BENCH_POSTGRESQL": conninfo,
        "MISSIVE_BENCH_WORK": str(work),
    }
    with subprocess.Popen(
        command,
        cwd=Path(__file__).parent,
        env={**os.environ, **environment},
        start_new_session=True,
    ) as process:
        try:
            wait_for(port, process)
            yield port, process.pid
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def variant(name: str, environment: str, kind: str, semantics: str, store: str = "") -> None:
    """Register an application that is served, with a store or without one."""

    @suite.variant(name, environment=environment, kind=kind, semantics=semantics)
    def prepare(
        folder: str, conninfo: str, server: str, work: float
    ) -> Iterator[Callable[[int], dict[str, float]]]:
        application = "bare" if kind == "limit" else "missive"
        path = fresh(folder) if store == "SQLite" else ""
        address = conninfo if store == "PostgreSQL" else ""
        with served(server, application, path, address, work) as (port, pid):
            load = Load(port, 202 if store else 200, numbered=True)
            load.run(2 * CONNECTIONS)  # warm

            def run(requests: int) -> dict[str, float]:
                before = processor_time(pid)
                load.latencies.clear()
                figures = {"seconds": load.run(requests)}
                after = processor_time(pid)
                if before is not None and after is not None:
                    figures["cpu"] = after - before  # of the server, and not of the load
                slowest = sorted(load.latencies)[-max(requests // 100, 1)]
                return {**figures, "p99": slowest}

            yield run


variant(
    "bare function",
    "limit",
    "limit",
    "reads the body and answers: neither stores nor handles anything",
)
variant(
    "after the handler",
    "missive",
    "missive",
    "answered when the handler has finished; what is not answered is lost unless sent again",
)
variant(
    "inbox, SQLite",
    "missive",
    "missive",
    "answered when it is on the disk, once for each id; handled in the same process, one at a time",
    store="SQLite",
)
variant(
    "inbox, PostgreSQL",
    "missive",
    "missive",
    "answered when it is committed, once for each id; handled in the same process, one at a time",
    store="PostgreSQL",
)

ALL = tuple(suite.variants)
STORED = ALL[2:]

for name in SERVERS:
    suite.case(
        f"{name}, 20 ms",
        ALL,
        parameters={"server": name, "work": WORK},
        items=480,
        quick_items=160,
        quick=name == "gunicorn sync",
        rounds=5,
    )
# Under the other servers handlers overlap, so that not even a function that does nothing is 10 times
# as quick: README.md, "What an inbox can win".
for stored in STORED:
    suite.target(
        f"gunicorn sync, {stored}: requests a second of answering after the handler",
        ("gunicorn sync, 20 ms", "after the handler"),
        ("gunicorn sync, 20 ms", stored),
        at_least=10,
    )
for name in SERVERS:
    suite.case(
        f"{name}, handlers hang",
        ("bare function", *STORED),
        parameters={"server": name, "work": HANGING},
        items=1000,
        quick=False,
        rounds=3,
    )
    for stored in STORED:
        suite.target(
            f"{name}, {stored}: 99 of 100 requests are answered within, beyond a bare function's",
            (f"{name}, handlers hang", stored, "p99"),
            (f"{name}, handlers hang", "bare function", "p99"),
            at_most=1.0,
            difference=True,
            unit="s",
        )
