"""The store that a command works on."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from missive import DeadLetter, DeadLetterStore
from missive.letters import Claim

from ..schemes import is_store_url, open_store
from ..terminal import moment
from ..variables import read_variable
from .prefixes import find_id

#: Where the commands take the URL of the store from, as ``missive run`` does.
VARIABLE = "MISSIVE_DLQ"

F = TypeVar("F", bound=Callable[..., Any])


class StoreCommand(click.Command):
    """A command on a store, whose URL is its first argument, or else in ``MISSIVE_DLQ``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the URL of the environment first where the arguments do not begin with one."""
        given, _, _ = self.make_parser(ctx).parse_args(list(args))
        first = given.get("url")
        if isinstance(first, str) and is_store_url(first):
            return super().parse_args(ctx, args)
        url = read_variable(VARIABLE)
        if url is not None:
            return super().parse_args(ctx, [url, *args])
        try:
            return super().parse_args(ctx, args)
        except click.MissingParameter as error:
            raise click.UsageError(
                f"no store is named; give its URL, such as sqlite:///letters.db, or set {VARIABLE}"
            ) from error


def store_argument(command: F) -> F:
    """Add the argument that names the store to a command."""
    return click.argument("url", metavar="[URL]")(command)


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


def letter_of(store: DeadLetterStore, typed: str) -> DeadLetter:
    """Return the letter whose id, or id prefix, was typed.

    :raises click.UsageError: several ids begin with it.
    :raises Failed: none does.
    """
    return store.letter(find_id(store, typed))


def held_by(claim: Claim) -> str:
    """Say until when a letter is claimed, and by whom if the store knows."""
    return f"until {moment(claim.expires)} by {claim.owner or 'another replay'}"
