"""Webhooks on an event loop: what a POST of 1 KB of JSON costs, called in process and under uvicorn."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from instrument import Suite
from instrument.ports import free_port
from instrument.processes import processor_time
from wsgi import ANSWER, BODY, CONNECTIONS, HEADERS, SPELLS, Load, wait_for

RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS]

suite = Suite("asgi", "ASGI", unit="µs a request", clock="cpu")

# The applications. Each reads the body whole and answers the same JSON.


def bare_application() -> Any:
    """Build an application of nothing but a function: the limit."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
            return
        more = True
        while more:
            more = (await receive()).get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": RAW_HEADERS.copy()})
        await send({"type": "http.response.body", "body": ANSWER})

    return application


def missive_application() -> Any:
    """Build the application of Missive, with one async handler that acks."""
    import missive
    from missive.adapters.asgi import ASGIAdapter

    processor: Any = missive.Processor()

    @processor.handle_for(lambda message: True)
    async def handle(message: Any, ctx: Any) -> None:
        ctx.ack()

    return ASGIAdapter(missive.RawMessage, processor)


def called(application: Any, loop: asyncio.AbstractEventLoop) -> Callable[[int], None]:
    """Call an application as a server does, with a scope made for each request."""
    base = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "root_path": "",
        "query_string": b"",
        "headers": [
            (b"host", b"localhost:8000"),
            (b"user-agent", b"bench"),
            (b"accept", b"*/*"),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(BODY)),
        ],
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 40000),
    }
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(event: Any) -> None:
        sent.append(event)

    async def several(requests: int) -> None:
        for _ in range(requests):
            await application(dict(base), receive, send)
            sent.clear()

    async def once() -> None:
        await application(dict(base), receive, send)

    loop.run_until_complete(once())
    if [event.get("status") for event in sent] != [200, None] or sent[1]["body"] != ANSWER:
        raise SystemExit(f"the application sends {sent}")
    return lambda requests: loop.run_until_complete(several(requests))


@contextmanager
def served(factory: str) -> Iterator[tuple[int, int]]:
    """Serve the application that a function of this module builds with uvicorn, as pip installs it.

    :param factory: the name of the function.
    :returns: the port, and the id of the process.
    """
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", f"--port={port}", "--no-access-log"]
    command += ["--log-level=error", f"asgi:{factory}"]
    with subprocess.Popen(command, cwd=Path(__file__).parent) as process:
        try:
            wait_for(port, process)
            yield port, process.pid
        finally:
            process.terminate()


def variant(name: str, environment: str, kind: str, semantics: str, factory: Any) -> None:
    """Register an application, to be called in process or to be served."""

    @suite.variant(name, environment=environment, kind=kind, semantics=semantics)
    def prepare(server: str | None = None) -> Iterator[Callable[[int], Any]]:
        if server is None:
            loop = asyncio.new_event_loop()
            yield called(factory(), loop)
            loop.close()
            return
        with served(factory.__name__) as (port, pid):
            load = Load(port)
            load.run(10 * CONNECTIONS)  # warm

            def spell(requests: int) -> dict[str, float]:
                before = processor_time(pid)
                figures = {"seconds": load.run(requests)}
                after = processor_time(pid)
                if before is not None and after is not None:
                    figures["cpu"] = after - before  # of the server, and not of the load
                return figures

            def run(requests: int) -> dict[str, float]:
                spells = [spell(requests // SPELLS) for _ in range(SPELLS)]
                return {clock: SPELLS * min(each[clock] for each in spells) for clock in spells[0]}

            yield run


variant(
    "bare function",
    "limit",
    "limit",
    "reads the body to its end and answers; looks at nothing",
    bare_application,
)
variant(
    "Missive",
    "missive",
    "missive",
    "path, method, codings and lengths checked, exactly one handler must match and settle, 503 while"
    " it drains",
    missive_application,
)

ALL = tuple(suite.variants)

suite.case("in process", ALL)
suite.case(
    "uvicorn",
    ALL,
    parameters={"server": "uvicorn"},
    items=4000,
    quick_items=1500,
    quick=True,
)
suite.target(
    "uvicorn, requests a second of a bare function's",
    ("uvicorn", "bare function", "seconds"),
    ("uvicorn", "Missive", "seconds"),
    at_least=0.9,
)
