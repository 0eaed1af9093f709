"""A progress bar on standard error, where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Bar:
    """Shows how far something is.

    :param advance: moves the bar on, by so many.
    """

    def __init__(self, advance: Callable[[int], None]) -> None:
        self.advance = advance


@contextmanager
def bar(total: int | None, what: str) -> Generator[Bar, None, None]:
    """Show a bar while a job is done; nothing is shown where standard error is no terminal.

    :param total: how much there is to do, where that is known.
    :param what: what is being done.
    """
    if not sys.stderr.isatty():
        yield Bar(lambda _: None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        # What is written to the same terminal goes above the bar; a pipe is left alone.
        redirect_stdout=sys.stdout.isatty(),
    )
    with progress:
        task = progress.add_task(what, total=total)
        yield Bar(lambda count: progress.advance(task, count))


def counted(things: Iterable[T], total: int | None, what: str) -> Iterator[T]:
    """Yield things one by one, and show a progress bar meanwhile."""
    with bar(total, what) as progress:
        for thing in things:
            yield thing
            progress.advance(1)
