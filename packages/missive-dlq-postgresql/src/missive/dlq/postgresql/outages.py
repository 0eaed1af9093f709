"""Outages: which of PostgreSQL's errors pass, and all of them in Missive's words."""

from __future__ import annotations

import psycopg
from missive import DeadLetterStoreError
from missive.errors import DeadLetterStoreBusy, DeadLetterStoreFull, DeadLetterStoreRefused

#: The classes of errors that pass, and single ones: the connection, a rollback that only another
#: transaction explains, want of room, an operator's hand; a lock or a transaction that took too
#: long, a server that only reads (a standby, until it is promoted).
_PASSING_CLASSES = ("08", "40", "53", "57")
_PASSING = ("25006", "25P03", "55P03")
#: After these a connection is of no more use: another may lead to a server that can be written to.
_READ_ONLY = "25006"

#: What a server says that will refuse the next time too; it gives no code while one connects.
_REFUSALS = (
    "authentication failed",
    "does not exist",
    "no password supplied",
    "no pg_hba.conf entry",
    "not permitted to log in",
    "permission denied",
)


def passes(error: psycopg.Error) -> bool:
    """Return whether what failed may work a little later."""
    code = error.sqlstate
    if code is None:
        if isinstance(error, psycopg.OperationalError):
            return not any(refusal in str(error) for refusal in _REFUSALS)
        return isinstance(error, psycopg.InterfaceError)  # the connection was closed meanwhile
    return code.startswith(_PASSING_CLASSES) or code in _PASSING


def spoils(error: psycopg.Error) -> bool:
    """Return whether no connection to that server serves any more."""
    code = error.sqlstate
    return code is None or code.startswith(("08", "57P")) or code == _READ_ONLY


def without_content(error: psycopg.Error) -> psycopg.Error:
    """Return an error whose text has no value of a row, which PostgreSQL's details may show."""
    if error.sqlstate is None:
        return error
    return type(error)(f"{error.sqlstate}: {error.diag.message_primary or type(error).__name__}")


def translated(error: psycopg.Error, place: str, seconds: float) -> DeadLetterStoreError:
    """Return the error of ours that an error of PostgreSQL's means; raise it ``from`` that.

    :param place: the store that it is about.
    :param seconds: how long was waited.
    """
    code = error.sqlstate or ""
    if code in ("53100", "53400"):
        return DeadLetterStoreFull(place)
    if code in ("55P03", "40001", "40P01", "57014"):
        return DeadLetterStoreBusy(place, seconds)
    if code == _READ_ONLY:
        return DeadLetterStoreRefused(
            place,
            f"the server only reads, and did for {seconds:.0f} s (a standby?); give the address of"
            " the primary, or of all servers (host=a,b)",
        )
    if code == "42501":
        return DeadLetterStoreRefused(
            place, "this user lacks a privilege; the store's page says which it needs"
        )
    if code in ("42P01", "42703", "3F000"):
        return DeadLetterStoreRefused(
            place,
            "its table is not there, or is another than this version needs; run missive dlq migrate",
        )
    if code in ("54000", "22001", "22P05") or code.startswith("54"):
        return DeadLetterStoreError(
            f"{place} cannot hold a letter of that size: PostgreSQL ends at 1 GB; limit what is"
            " received"
        )
    if not code and not passes(error):
        return DeadLetterStoreRefused(
            place, "the server refuses the connection; check user, password and database"
        )
    if not code or code.startswith(("08", "57P", "53")):
        return DeadLetterStoreError(
            f"{place} could not be reached for {seconds:.0f} s ({type(error).__name__}); check the"
            " address and that the server runs, or give the store a longer busy_timeout"
        )
    return DeadLetterStoreError(f"{place} cannot be used: PostgreSQL says {code}")
