"""Output: tables and colours for a terminal, tab-separated lines for a pipe, JSON for a program."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_NO_STYLES: Mapping[str, str] = MappingProxyType({})
#: What a table has between two columns, in characters.
_GAP = 2
#: A column is not cut to less than this, in characters.
_LEAST_WIDTH = 10

#: The units of times past: name, seconds, and up to how many seconds.
_UNITS = (
    ("s", 1, 100),
    ("min", 60, 2 * 3600),
    ("h", 3600, 2 * 86400),
    ("d", 86400, 100 * 86400),
)

#: How many rows are drawn at once: their widths are chosen together, and none beyond is read.
ROWS = 100

#: Unicode categories that a terminal might act on rather than show: controls, and formats such as
#: those that reverse the direction of writing; surrogates cannot be written at all.
_UNSAFE = frozenset({"Cc", "Cf", "Cs"})


def is_terminal() -> bool:
    """Return whether standard output is a terminal."""
    return sys.stdout.isatty()


def has_colours() -> bool:
    """Return whether standard output is a terminal with colours, and its user wants them.

    https://no-color.org says how one who does not says so.
    """
    unwanted = os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "unknown")
    return is_terminal() and not unwanted


def console() -> Console:
    """Return the console for tables; call it where standard output is a terminal."""
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


class Abridged(NamedTuple):
    """A cell that is shorter in a drawn table than where there is room.

    :ivar whole: what a pipe gets.
    :ivar short: what a table on a terminal shows.
    """

    whole: object
    short: str


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    flexible: Collection[str] = (),
    optional: Sequence[str] = (),
    styles: Mapping[str, str] = _NO_STYLES,
) -> None:
    """Write a table: drawn on a terminal, else tab-separated with the columns' names first.

    Control characters in the cells are escaped, so a row is always a line.

    :param flexible: columns whose texts are cut where the terminal is too narrow.
    :param optional: columns that are left out, in this order, where even that is too wide.
    :param styles: how columns are drawn, as rich names it.
    """
    if is_terminal():
        left = iter(rows)
        while some := list(islice(left, ROWS)):
            _draw(columns, some, flexible, optional, styles)
        return
    click.echo("\t".join(columns))
    for row in rows:
        write("\t".join(escaped(cell_text(cell)) for cell in row))


def _draw(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    flexible: Collection[str],
    optional: Sequence[str],
    styles: Mapping[str, str],
) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    encoding = sys.stdout.encoding
    cells = [
        [
            Text(
                _encodable(escaped(_short_text(cell)), encoding),
                justify="right" if isinstance(cell, int) else "left",
            )
            for cell in row
        ]
        for row in rows
    ]
    screen = console()
    natural = [
        max([len(name), *(row[index].cell_len for row in cells)])
        for index, name in enumerate(columns)
    ]
    widths = _fit(dict(zip(columns, natural, strict=True)), flexible, optional, screen.width)
    if widths is None:
        _draw_records(columns, rows)
        return
    # One space of padding and one of the box: a gap of two.
    drawn = Table(
        box=box.SIMPLE_HEAD,
        header_style="bold",
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for name, width in widths.items():
        drawn.add_column(name, style=styles.get(name), no_wrap=True, width=width)
    for row in cells:
        shown = [cell for name, cell in zip(columns, row, strict=True) if name in widths]
        for cell, width in zip(shown, widths.values(), strict=True):
            _cut(cell, width)
        drawn.add_row(*shown)
    screen.print(drawn)


def _fit(
    natural: Mapping[str, int], flexible: Collection[str], optional: Sequence[str], room: int
) -> dict[str, int] | None:
    """Choose the widths of columns: the widest flexible ones are cut first, to the least at most.

    :returns: the widths of the columns that are shown; None where even they do not fit.
    """
    least = {
        name: min(width, _LEAST_WIDTH) if name in flexible else width
        for name, width in natural.items()
    }
    widths = dict(natural)
    left_out = iter(optional)
    while _total(least[name] for name in widths) > room:
        name = next(left_out, None)
        if name is None:
            return None
        widths.pop(name)
    for _ in range(_total(widths.values()) - room):
        cuttable = [name for name in widths if widths[name] > least[name]]
        widths[max(cuttable, key=widths.__getitem__)] -= 1
    return widths


def _total(widths: Iterable[int]) -> int:
    each = list(widths)
    return sum(each) + _GAP * (len(each) - 1)


def _cut(cell: Text, width: int) -> None:
    if cell.cell_len <= width:
        return
    dots = "…" if is_encodable("…") else "..."
    cell.truncate(width - len(dots))
    cell.append(dots)


def _draw_records(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a row as a block, a line for each cell: where not even a cut table has room."""
    width = max(map(len, columns))
    for number, row in enumerate(rows):
        if number:
            click.echo()
        for name, cell in zip(columns, row, strict=True):
            if text := escaped(cell_text(cell)):
                write(f"{click.style(name.ljust(width), bold=True)}  {text}")


def _short_text(cell: object) -> str:
    return cell.short if isinstance(cell, Abridged) else cell_text(cell)


def cell_text(cell: object) -> str:
    """Return a table cell's text: nothing for None, times to the second in UTC."""
    if isinstance(cell, Abridged):
        return cell_text(cell.whole)
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return moment(cell)
    return str(cell)


def short_name(name: str | None) -> Abridged | None:
    """Return a qualified name that a table shows without its module."""
    return None if name is None else Abridged(name, name.rpartition(".")[2])


def ago(when: datetime, now: datetime | None = None) -> Abridged:
    """Return a time that a table shows as how long ago it is, such as ``2 h ago``."""
    seconds = ((now or datetime.now(timezone.utc)) - when).total_seconds()
    if seconds < 0:  # another machine's clock
        return Abridged(when, moment(when))
    for unit, length, limit in _UNITS:
        if seconds < limit:
            return Abridged(when, f"{int(seconds // length)} {unit} ago")
    return Abridged(when, when.astimezone(timezone.utc).strftime("%Y-%m-%d"))


def is_encodable(text: str) -> bool:
    """Return whether standard output's encoding can hold a text."""
    return _encodable(text, sys.stdout.encoding) == text


def plural(count: int, noun: str) -> str:
    """Return a number of things: ``1 letter``, ``2 letters``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def moment(when: datetime) -> str:
    """Return a time for people: to the second, in UTC."""
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
