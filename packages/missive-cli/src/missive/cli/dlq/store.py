"""The store that a command works on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from missive import Claim, DeadLetter, DeadLetterStore, format_id

from ..exits import Failed
from ..schemes import open_store
from ..terminal import moment

F = TypeVar("F", bound=Callable[..., Any])


def store_argument(command: F) -> F:
    """Give a command the argument that names the store."""
    return click.argument("url", metavar="URL")(command)


@contextmanager
def opened(url: str, *, existing: bool = True) -> Generator[DeadLetterStore, None, None]:
    """Open a store, and close it in the end.

    :param existing: make none where there is none yet.

    :raises click.UsageError: it cannot be opened.
    """
    store = open_store(url, existing=existing)
    try:
        yield store
    finally:
        store.close()


def letter_of(store: DeadLetterStore, id: bytes) -> DeadLetter:
    """Give the letter with an id.

    :raises Failed: there is none.
    """
    try:
        return store.letter(id)
    except KeyError as error:
        raise Failed(
            f"there is no letter {format_id(id)} in the store (any more);"
            " missive dlq list shows which there are"
        ) from error


def held_by(claim: Claim) -> str:
    """Say until when a letter is claimed, and by whom if the store knows."""
    return f"until {moment(claim.expires)} by {claim.owner or 'another replay'}"


def not_there(ids: Iterable[bytes]) -> Failed:
    """Name letters that were asked for and that the store does not have."""
    return Failed(f"not in the store: {', '.join(map(format_id, ids))}")
