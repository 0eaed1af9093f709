"""Prefixes: ids that are typed and shown by their beginnings."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator

import click
from missive import DeadLetterStore, format_id, parse_id
from missive.letters import shared_beginning

from ..exits import Failed

#: How many characters of an id are shown at least.
SHORTEST = 8
_HEX = re.compile("0x[0-9a-fA-F]*")
#: How many ids are named that begin with what was typed.
_NAMED = 5


def short_ids(store: DeadLetterStore, ids: Iterable[str]) -> dict[str, str]:
    """Return for each of these ids the shortest beginning that the commands know it by.

    All ids of the store are looked at, and only these are remembered.
    """
    texts = sorted(set(ids))
    shared = dict.fromkeys(texts, 0)
    for text in map(format_id, _all_ids(store)):
        at = bisect_left(texts, text)
        # What has more in common with one further away has it with a neighbour of that one too.
        for near in {*texts[max(at - 1, 0) : at + 2]} - {text}:
            shared[near] = max(shared[near], shared_beginning(text, near))
    return {text: text[: max(SHORTEST, common + 1)] for text, common in shared.items()}


def find_ids(store: DeadLetterStore, typed: Iterable[str]) -> tuple[list[bytes], list[str]]:
    """Find the letters whose ids, or the beginnings of whose ids, were typed.

    :returns: the ids that are there, each once, and what was typed of those that are not.
    :raises click.UsageError: several ids begin with what was typed, or ids are not written so.
    """
    wanted = list(dict.fromkeys(typed))
    whole = {text: _whole(store, text) for text in wanted}
    begun = _beginning_with(store, [text for text, id in whole.items() if id is None])
    found: dict[bytes, None] = {}
    missing: list[str] = []
    for text in wanted:
        id = whole[text]
        ids = begun[text] if id is None else [id]
        if len(ids) > 1:
            named = ", ".join(map(format_id, ids[:_NAMED])) + ", ..." * (len(ids) > _NAMED)
            raise click.UsageError(
                f"{text} is the beginning of several ids ({named}); type more of it"
            )
        found.update(dict.fromkeys(ids))
        missing += [] if ids else [text]
    return list(found), missing


def _beginning_with(store: DeadLetterStore, typed: Iterable[str]) -> dict[str, list[bytes]]:
    """Return for each text the ids that begin with it; one more than are named, at most."""
    found: dict[str, list[bytes]] = {text: [] for text in typed}
    by_prefix: dict[str, list[list[bytes]]] = {}
    for text, ids in found.items():
        # Hexadecimal digits may be typed as capitals.
        prefix = text.lower() if text.startswith("0x") else text
        by_prefix.setdefault(prefix, []).append(ids)
    lengths = {len(prefix) for prefix in by_prefix if prefix}
    if not lengths:
        return found
    for id in _all_ids(store):
        text = format_id(id)
        for length in lengths:
            for ids in by_prefix.get(text[:length], ()):
                if len(ids) <= _NAMED:
                    ids.append(id)
    return found


def _all_ids(store: DeadLetterStore) -> Iterator[bytes]:
    yield from store
    yield from (letter.id for letter in store.letters(state="deferred"))


def find_id(store: DeadLetterStore, text: str) -> bytes:
    """Find the letter whose id, or the beginning of whose id, was typed.

    :raises click.UsageError: several ids begin with it.
    :raises Failed: none does.
    """
    found, missing = find_ids(store, [text])
    if missing:
        raise not_there(missing)
    return found[0]


def not_there(typed: Iterable[str]) -> Failed:
    """Name letters that were asked for and that the store does not have, as they were typed."""
    return Failed(
        f"not in the store (any more): {', '.join(typed)}; missive dlq list shows what is there"
    )


def _whole(store: DeadLetterStore, text: str) -> bytes | None:
    """Return an id that was typed whole; None where the store has none such."""
    try:
        id = parse_id(text)
    except ValueError as error:
        if _HEX.fullmatch(text) is None:
            raise click.UsageError(str(error)) from error
        return None  # an odd number of digits: a beginning
    try:
        return store.letter(id).id
    except KeyError:
        return None
