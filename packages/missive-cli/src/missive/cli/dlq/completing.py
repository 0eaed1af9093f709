"""Completing: the ids of a store, for the shell."""

from __future__ import annotations

from itertools import islice

import click
from click.shell_completion import CompletionItem
from missive import MissiveError, format_id

from ..terminal import escaped
from ..variables import read_variable
from .store import VARIABLE, opened

#: How many ids are offered at most, and how many letters are looked at for them.
MOST_OFFERED, MOST_LOOKED_AT = 100, 10_000


def complete_ids(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the ids that begin with what was typed, the newest first, each with its error.

    Nothing where the store is not named yet, or cannot be opened.
    """
    try:
        url = ctx.params.get("url") or read_variable(VARIABLE)
        if not url:
            return []
        with opened(str(url)) as store:
            letters = store.letters(newest_first=True, limit=MOST_LOOKED_AT, state=None)
            found = ((format_id(letter.id), letter) for letter in letters)
            matching = ((text, each) for text, each in found if text.startswith(incomplete))
            return [
                CompletionItem(text, help=escaped(each.error_type or each.reason[:60]))
                for text, each in islice(matching, MOST_OFFERED)
            ]
    except (MissiveError, click.ClickException):  # a shell has no place for an error
        return []
