"""Removing: letters deleted, brought back or purged; deferred messages retried or given up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

from missive import DeadLetter, DeadLetterStore, format_id
from missive.letters import MAX_ACTION_IDS

from .jobs import Job
from .plans import Plan
from .query import letters_of

#: How many letters are brought back at once.
_BATCH = 500
#: How long a letter is claimed to be deleted, in seconds.
_LEASE = 30.0


def delete(store: DeadLetterStore, plan: Plan, job: Job) -> None:
    """Delete the letters of a plan, and keep those that can be brought back."""
    if not plan.undoable:
        _remove_all(store, plan, job, "deleted")
        return
    for letter in letters_of(store, plan.choice, plan.ids):
        if job.stopping.is_set():
            return
        # Claimed first: a letter that somebody replays just now must not be brought back later.
        claimed = store.claim(letter.id, lease=_LEASE)
        if claimed is None:
            job.count("left alone: claimed elsewhere")
            job.say(letter, format_id(letter.id), "a replay, or another person, has it just now")
            continue
        claim, current = claimed
        if current in plan.choice and store.remove(claim):
            job.removed.append(current)
            _name(job, current.id)
            job.count("deleted")
        else:
            store.release(claim)
            job.say(letter, format_id(letter.id), "it failed again or changed meanwhile")
            job.count("left alone: changed meanwhile")
    _count_changed(job)


def purge(store: DeadLetterStore, plan: Plan, job: Job) -> None:
    """Remove the letters of a plan for good."""
    _remove_all(store, plan, job, "purged")


def _remove_all(store: DeadLetterStore, plan: Plan, job: Job, became: str) -> None:
    for letter in islice(letters_of(store, plan.choice, plan.ids), MAX_ACTION_IDS):
        _name(job, letter.id)
    job.count(became, store.remove_chosen(plan.choice))
    _count_changed(job)


def _count_changed(job: Job) -> None:
    changed = (job.total or 0) - job.done
    if changed > 0:
        job.count("changed or left the store meanwhile", changed)


def undo(store: DeadLetterStore, letters: list[DeadLetter], job: Job) -> None:
    """Bring deleted letters back; one whose message has failed again since stays as it is now."""
    left = iter(letters)
    while batch := list(islice(left, _BATCH)):
        gone = [letter for letter in batch if not _is_there(store, letter.id)]
        store.restore_many(gone)
        for letter in gone:
            _name(job, letter.id)
        if gone:
            job.count("brought back", len(gone))
        if len(gone) < len(batch):
            job.count("back already, by another failure", len(batch) - len(gone))


def _is_there(store: DeadLetterStore, id: bytes) -> bool:
    try:
        store.letter(id)
    except KeyError:
        return False
    return True


def retry_now(store: DeadLetterStore, plan: Plan, job: Job) -> None:
    """Make deferred messages due."""
    _change(store, plan, job, store.retry_now, "due now")


def give_up(store: DeadLetterStore, plan: Plan, job: Job) -> None:
    """Make deferred messages dead letters."""
    _change(store, plan, job, store.give_up, "given up")


def _change(
    store: DeadLetterStore,
    plan: Plan,
    job: Job,
    change: Callable[[Iterable[bytes]], int],
    became: str,
) -> None:
    letters = letters_of(store, plan.choice, plan.ids)
    while batch := [letter.id for letter in islice(letters, _BATCH)]:
        for id in batch:
            _name(job, id)
        job.count(became, change(batch))
        if job.stopping.is_set():
            return
    _count_changed(job)


def _name(job: Job, id: bytes) -> None:
    if len(job.ids) < MAX_ACTION_IDS:
        job.ids.append(id)
