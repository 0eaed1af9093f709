"""The application that the servers under test serve.

The first word of a body says what is to become of the message, the second is its id. What was
handled and which hooks ran is written to files below ``MISSIVE_WEBHOOKS``, each line by one write,
so that processes do not mix them up.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from missive import HandlingContext, ProcessingContext, Processor, RawMessage, route_on
from missive.adapters.wsgi import WSGIAdapter
from missive.dlq.sqlite import SQLiteDLQ

FOLDER = Path(os.environ["MISSIVE_WEBHOOKS"])

processor: Processor[RawMessage] = Processor()
processor.set_dlq(SQLiteDLQ(FOLDER / "dlq.sqlite"))
by_command = route_on(lambda message: message.raw_data.split(b" ")[0])


def note(file: str, line: str) -> None:
    """Append a line to a file, so that it is there also if the process is killed next."""
    descriptor = os.open(FOLDER / file, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


@processor.before_processing
def before(ctx: ProcessingContext[RawMessage]) -> None:
    """Note that a process began."""
    note("hooks", f"before {os.getpid()}")


@processor.after_processing
def after(ctx: ProcessingContext[RawMessage]) -> None:
    """Note that a process ended."""
    note("hooks", f"after {os.getpid()}")


def name_of(message: RawMessage) -> str:
    """Return the id that stands in a body."""
    return message.raw_data.split(b" ")[1].decode()


@processor.handle_for(by_command(b"ack"))
def ack(message: RawMessage, ctx: HandlingContext[RawMessage]) -> None:
    """Handle a message well."""
    note("handled", f"{name_of(message)} {len(message.raw_data)}")
    ctx.ack()


@processor.handle_for(by_command(b"note"))
def note_header(message: RawMessage, ctx: HandlingContext[RawMessage]) -> None:
    """Note what a header holds."""
    note("handled", f"{name_of(message)} {message.headers['X-Note']}")
    ctx.ack()


@processor.handle_for(by_command(b"nack"))
def nack(message: RawMessage, ctx: HandlingContext[RawMessage]) -> None:
    """Ask for the message again."""
    ctx.nack()


@processor.handle_for(by_command(b"again"))
def ack_the_second_time(message: RawMessage, ctx: HandlingContext[RawMessage]) -> None:
    """Ask for the message again, once, as a handler does whose database was away."""
    name = name_of(message)
    try:
        FOLDER.joinpath(f"seen-{name}").touch(exist_ok=False)
    except FileExistsError:
        ack(message, ctx)
    else:
        ctx.nack()


@processor.handle_for(by_command(b"raise"))
def fail(message: RawMessage, ctx: HandlingContext[RawMessage]) -> None:
    """Fail after the decision, which must not count."""
    ctx.ack()
    raise RuntimeError(f"cannot handle {message.raw_data!r}")


@processor.handle_for(by_command(b"leave"))
def leave(message: RawMessage, ctx: HandlingContext[RawMessage]) -> None:
    """Decide nothing."""


@processor.handle_for(by_command(b"exit"))
def exit_in_the_midst(message: RawMessage, ctx: HandlingContext[RawMessage]) -> None:
    """Exit, as a program does that was a script once."""
    sys.exit(f"cannot handle {message.raw_data!r}")


application = WSGIAdapter(
    RawMessage,
    processor,
    nack_status=503,
    retry_after=1,
    id_header="X-Id",
    max_content_length=65536,
)
