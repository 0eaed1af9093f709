"""From SQLite's errors to Missive's."""

from __future__ import annotations

import sqlite3

from missive import DeadLetterStoreError
from missive.errors import DeadLetterStoreBusy, DeadLetterStoreFull, DeadLetterStoreRefused


def is_busy(error: BaseException) -> bool:
    """Return whether an error means that others hold the database."""
    # Python 3.10 gives the text alone. It comes from sqlite3.h's table of results and is stable.
    return isinstance(error, sqlite3.OperationalError) and "is locked" in str(error)


def translated(error: Exception, path: str, busy_timeout: float) -> DeadLetterStoreError:
    """Return the error of ours that an error of SQLite's means; raise it ``from`` that.

    :param path: the file that it is about.
    :param busy_timeout: how long was waited, in seconds.
    """
    text = str(error)
    if is_busy(error):
        return DeadLetterStoreBusy(path, busy_timeout)
    if "is full" in text:
        return DeadLetterStoreFull(path)
    if "readonly" in text:
        return DeadLetterStoreRefused(
            path,
            "it cannot be written to, by this user or on this mount; run"
            " this as its owner, or only look at it, with read_only=True or ?read_only=true",
        )
    if "not a database" in text:
        return DeadLetterStoreRefused(path, "it is not a SQLite database; choose another path")
    if "malformed" in text:
        return DeadLetterStoreError(
            f"{path} is damaged ({text}); stop what writes to it, set the file aside, and save what"
            " can be read with the sqlite3 shell's .recover"
        )
    if "too big" in text or "longer than INT_MAX" in text:
        return DeadLetterStoreError(
            f"{path} cannot hold a letter of that size: SQLite ends at 1 GB; limit what is received"
        )
    return DeadLetterStoreError(f"{path} cannot be used: SQLite says {text!r}")
