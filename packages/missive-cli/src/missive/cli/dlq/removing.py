"""Removing just the letters that were asked about."""

from __future__ import annotations

from missive import DeadLetterStore
from missive.letters import Choice

from ..terminal import note, plural, write_json
from .asking import confirm


def remove(
    store: DeadLetterStore, choice: Choice, *, yes: bool, as_json: bool, which: str = ""
) -> None:
    """Ask, remove the letters of a choice, and say how many went and how many changed meanwhile.

    :param yes: the operator agreed already.
    :param as_json: write the counts as JSON.
    :param which: what the letters have in common, for the question.
    :raises Failed: the operator does not agree.
    """
    confirm(f"Remove {plural(len(choice), 'letter')}{which} for good?", yes=yes or not choice)
    removed = store.remove_chosen(choice)
    changed = len(choice) - removed
    if as_json:
        write_json({"removed": removed, "changed": changed} if changed else {"removed": removed})
        return
    note(f"{plural(removed, 'letter')} removed")
    if changed:
        note(
            f"{plural(changed, 'letter')} failed again, changed or left the store meanwhile: not"
            " removed"
        )
