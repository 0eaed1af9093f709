"""Choosing the letters of one command, as they stand when it begins."""

from __future__ import annotations

from collections.abc import Sequence

import click
from missive import DeadLetterStore
from missive.letters import Choice, LetterFilters


def choose(
    store: DeadLetterStore,
    ids: Sequence[bytes] | None,
    filters: LetterFilters,
    group: str | None,
) -> Choice:
    """Choose the letters with these ids, or those that the filters match.

    :param group: of those, only the letters of the group with this number.
    :raises click.UsageError: there is no such group.
    """
    return store.choose(ids, **with_group(store, filters, group))


def with_group(store: DeadLetterStore, filters: LetterFilters, number: str | None) -> LetterFilters:
    """Return filters that match the letters of one group only, where its number was given.

    :raises click.UsageError: no group has it, or several have.
    """
    if number is None:
        return filters
    groups = store.groups(state=filters.get("state", "dead"))
    found = [one for one in groups if one.kind.digits().startswith(number)]
    if len(found) == 1 and number.isdigit():
        return {**filters, "group": found[0].kind.digits()}
    there = ", ".join(one.number for one in found or groups) or "none"
    if found:
        raise click.UsageError(f"{number} is the beginning of several groups: {there}")
    raise click.UsageError(
        f"there is no group {number}; there are {there}; see missive dlq summary"
    )
