"""``missive dlq show``: one letter whole."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime

import click
from missive import DeadLetter, format_id
from missive.letters import MAX_REASON, Claim, shortened, to_record

from ..options import debug_option, json_option
from ..terminal import ago, escaped, is_terminal, moment, plural, write, write_json
from .completing import complete_ids
from .list import REASON
from .store import StoreCommand, held_by, letter_of, opened, store_argument

#: How many bytes a line of the hexadecimal view has.
BYTES_A_LINE = 16

HELP = """\
Show one letter: its envelope, its history, the traceback and the body.

\b
  missive dlq show sqlite:///dead-letters.db 0x5f3a
  missive dlq show sqlite:///dead-letters.db order-17 --raw > body.bin

The body is shown as JSON, as text or in hexadecimal. On a terminal, control characters are
escaped. With --raw, the command writes only the bytes of the body.
"""


@click.command(cls=StoreCommand, help=HELP, short_help="Show one letter whole.")
@store_argument
@click.argument("id", metavar="ID", shell_complete=complete_ids)
@click.option("--raw", is_flag=True, help="Write the bytes of the body, and nothing else.")
@json_option("Write the whole record as JSON.")
@debug_option
def show(url: str, id: str, raw: bool, as_json: bool) -> None:
    """Show a letter."""
    with opened(url) as store:
        letter = letter_of(store, id)
        claim = store.claim_of(letter.id)
    if raw:
        sys.stdout.buffer.write(letter.raw_data)
    elif as_json:
        write_json(to_record(letter))
    else:
        for title, lines in _sections(letter, claim):
            write(click.style(title, bold=True))
            for line in lines:
                write(f"  {escaped(line) if is_terminal() else line}")


def _sections(letter: DeadLetter, claim: Claim | None) -> Iterator[tuple[str, Iterator[str]]]:
    yield "letter", _fields(letter, claim)
    if letter.headers:
        yield "headers", (f"{name}: {value}" for name, value in letter.headers.items())
    yield "history", _history(letter)
    if letter.traceback:
        yield "traceback", iter(letter.traceback.splitlines())
    kind, lines = _body(letter.raw_data)
    yield f"body ({plural(len(letter.raw_data), 'byte')}, {kind})", lines


def _fields(letter: DeadLetter, claim: Claim | None) -> Iterator[str]:
    fields = {
        "id": format_id(letter.id),
        "message id": format_id(letter.message_id) if letter.message_id != letter.id else None,
        "source": letter.source,
        "class": letter.message_class,
        "stage": letter.stage,
        "handler": letter.handler,
        "error": letter.error_type,
        "reason": shortened(letter.reason, MAX_REASON),
        "state": f"deferred after {plural(letter.attempt, 'attempt')}" if letter.due else None,
        "due": _when(letter.due) if letter.due else None,
        "failures": str(letter.failures),
        "first failed": _when(letter.first_failed),
        "last failed": _when(letter.last_failed),
        "claimed": held_by(claim) if claim is not None else None,
        "host": letter.host,
        "version": f"missive-core {letter.version}",
    }
    for name, value in fields.items():
        if value:
            yield f"{name:<13} {escaped(value)}"


def _when(when: datetime) -> str:
    relative = ago(when).short
    return f"{moment(when)} ({relative})" if relative.endswith("ago") else moment(when)


def _history(letter: DeadLetter) -> Iterator[str]:
    kept = len(letter.history)
    if lost := letter.failures - kept:
        yield f"({plural(lost, 'earlier failure')} not kept)"
    for failure in letter.history:
        reason = escaped(shortened(failure.reason, REASON))
        what = [failure.stage, failure.handler, failure.error_type, reason]
        yield f"{moment(failure.at)}  {', '.join(filter(None, what))}"


def _body(body: bytes) -> tuple[str, Iterator[str]]:
    """Return a body in the form that suits it, and the name of that."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return "binary", _hex(body)
    if "\0" in text:
        return "binary", _hex(body)
    try:
        pretty = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return "text", iter(text.splitlines())
    return "JSON", iter(pretty.split("\n"))


def _hex(body: bytes) -> Iterator[str]:
    for start in range(0, len(body), BYTES_A_LINE):
        part = body[start : start + BYTES_A_LINE]
        seen = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
        yield f"{start:08x}  {part.hex(' '):<{3 * BYTES_A_LINE}} {seen}"
