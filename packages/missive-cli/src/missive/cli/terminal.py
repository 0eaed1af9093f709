"""Output: tables and colours for a terminal, tab-separated lines for a pipe, JSON for a program."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

#: Wider than any terminal, to measure what a table would like to have.
_ANY_WIDTH = 100_000

#: How many rows are drawn at once: their widths are chosen together, and none beyond is read.
ROWS = 100

#: Unicode categories that a terminal might act on rather than show: controls, and formats such as
#: those that reverse the direction of writing; surrogates cannot be written at all.
_UNSAFE = frozenset({"Cc", "Cf", "Cs"})


def is_terminal() -> bool:
    """Tell whether standard output is a terminal."""
    return sys.stdout.isatty()


def has_colours() -> bool:
    """Tell whether standard output is a terminal with colours, and its user wants them.

    https://no-color.org says how one who does not says so.
    """
    unwanted = os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "unknown")
    return is_terminal() and not unwanted


def console() -> Console:
    """Give the console for tables; call it where standard output is a terminal."""
    from rich.console import Console

    return Console(highlight=False, color_system="auto" if has_colours() else None)


def write(text: str, *, newline: bool = True) -> None:
    """Write text to standard output, whatever its encoding can hold."""
    # The stream is given, else click goes past a progress bar that took its place.
    encodable = _encodable(text, sys.stdout.encoding)
    click.echo(encodable, file=sys.stdout, nl=newline, color=has_colours())


def note(text: str) -> None:
    """Say something to the operator, beside the output: on standard error."""
    click.echo(text, file=sys.stderr)


def write_json(value: Any) -> None:
    """Write one JSON document on one line, in ASCII, so that every text survives."""
    click.echo(json.dumps(value, separators=(",", ":"), default=_plain), file=sys.stdout)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table: drawn on a terminal, else tab-separated with the columns' names first.

    Control characters in the cells are escaped, so a row is always a line.
    """
    if is_terminal():
        left = iter(rows)
        while some := list(islice(left, ROWS)):
            _draw(columns, some)
        return
    click.echo("\t".join(columns))
    for row in rows:
        write("\t".join(escaped(cell_text(cell)) for cell in row))


def _draw(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for name in columns:
        drawn.add_column(name, overflow="fold")
    encoding = sys.stdout.encoding
    cells = [
        [
            Text(
                _encodable(escaped(cell_text(cell)), encoding),
                justify="right" if isinstance(cell, int) else "left",
            )
            for cell in row
        ]
        for row in rows
    ]
    for row in cells:
        drawn.add_row(*row)
    screen = console()
    wide = screen.options.update(width=_ANY_WIDTH)
    if screen.measure(drawn, options=wide).maximum <= screen.width:
        screen.print(drawn)
    else:
        _draw_records(columns, cells)


def _draw_records(columns: Sequence[str], rows: Iterable[Sequence[Text]]) -> None:
    """Write a row as a block, a line for each cell: where a table would have to fold its cells."""
    width = max(map(len, columns))
    for number, row in enumerate(rows):
        if number:
            click.echo()
        for name, cell in zip(columns, row, strict=True):
            if cell.plain:
                write(f"{click.style(name.ljust(width), bold=True)}  {cell.plain}")


def cell_text(cell: object) -> str:
    """Give a table cell's text: nothing for None, times to the second in UTC."""
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return moment(cell)
    return str(cell)


def moment(when: datetime) -> str:
    """Give a moment for reading: to the second, in UTC."""
    return when.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")


def escaped(text: str, keep: str = "") -> str:
    r"""Show what a terminal would act on as ``\x1b``, ``\n``, ``\u202e`` and the like.

    :param keep: characters to leave as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if char in keep or unicodedata.category(char) not in _UNSAFE else _escape(char)
        for char in text
    )


def _escape(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def _encodable(text: str, encoding: str | None) -> str:
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__} has no JSON form")
