"""The applications that the servers under test serve.

The first word of a body says what becomes of the message, the second is its id. What was handled
and which hooks ran is written to files below ``MISSIVE_WEBHOOKS``, each line by one write.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from missive import HandlingContext, ProcessingContext, Processor, RawMessage, route_on
from missive.adapters.asgi import ASGIAdapter
from missive.dlq.sqlite import SQLiteDLQ

FOLDER = Path(os.environ["MISSIVE_WEBHOOKS"])

processor: Processor[RawMessage] = Processor()
processor.set_dlq(SQLiteDLQ(FOLDER / "dlq.sqlite"))
by_command = route_on(lambda message: message.raw_data.split(b" ")[0])


def note(file: str, line: str) -> None:
    """Append a line to a file, so that it is there even if the process is killed next."""
    descriptor = os.open(FOLDER / file, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


@processor.around_processing
async def around(ctx: ProcessingContext[RawMessage]) -> Any:
    """Note that a process began, and that it ended."""
    note("hooks", f"before {os.getpid()}")
    yield
    note("hooks", f"after {os.getpid()}")


def name_of(message: RawMessage) -> str:
    """Return the id that stands in a body."""
    return message.raw_data.split(b" ")[1].decode()


@processor.handle_for(by_command(b"ack"))
async def ack(message: RawMessage, ctx: HandlingContext[RawMessage]) -> None:
    """Handle a message well."""
    note("handled", name_of(message))
    ctx.ack()


@processor.handle_for(by_command(b"plain"))
def plain(message: RawMessage, ctx: HandlingContext[RawMessage]) -> None:
    """Handle a message well, in a thread."""
    note("handled", name_of(message))
    ctx.ack()


@processor.handle_for(by_command(b"wait"))
async def wait(message: RawMessage, ctx: HandlingContext[RawMessage]) -> None:
    """Handle a message when a file is there."""
    note("begun", name_of(message))
    while not (FOLDER / "go").exists():
        await asyncio.sleep(0.01)
    note("handled", name_of(message))
    ctx.ack()


@processor.handle_for(by_command(b"fail"))
async def fail(message: RawMessage, ctx: HandlingContext[RawMessage]) -> None:
    """Fail."""
    raise RuntimeError(f"cannot handle {message.raw_data!r}")


application = ASGIAdapter(RawMessage, processor, id_header="X-Id", max_content_length=65536)
inbox = ASGIAdapter(
    RawMessage, processor, id_header="X-Id", max_content_length=65536, inbox=True, inbox_workers=2
)
