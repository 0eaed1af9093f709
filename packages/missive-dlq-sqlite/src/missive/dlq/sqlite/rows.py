"""Rows: how a letter becomes values that SQLite takes, and comes back from them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, cast

from missive import DeadLetter
from missive.letters import Failure, headers_from_json, headers_to_json, kind_from, summary_digest

if TYPE_CHECKING:
    from .origins import Origin

#: A value that SQLite takes.
Value = str | bytes | int | None

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_new = cast("Any", tuple).__new__


def to_micros(moment: datetime) -> int:
    """Return a time as whole microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: Any) -> datetime:
    """Return the time, in UTC; 1970 for an invalid number, so that the letter can be read."""
    try:
        return _EPOCH + timedelta(0, 0, micros)
    except (OverflowError, TypeError):
        return _EPOCH


def to_text(text: str | None) -> str | bytes | None:
    """Return a text as SQLite takes it: lone surrogates, which it refuses, make it a BLOB."""
    if text is None or text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


def from_text(value: Any) -> str | None:
    """Return the text that a value stands for, whatever its type."""
    if value is None or type(value) is str:
        return value
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return value.decode("utf-8", "surrogateescape")
    return str(value)


def from_blob(value: Any) -> bytes:
    """Return the bytes that a value stands for, whatever its type."""
    if type(value) is bytes:
        return value
    return (from_text(value) or "").encode("utf-8", "surrogateescape")


def group_of(error_type: Any, handler: Any, reason: Any, traceback: Any) -> int:
    """Return the number of the group that a letter with these fields is of."""
    kind = kind_from(
        from_text(error_type), from_text(handler), from_text(reason) or "", from_text(traceback)
    )
    return int(kind.digits())


# Parameters, in the order that statements.py names the columns, and what comes back.


def letter_values(letter: DeadLetter) -> tuple[Value, ...]:
    """Return the values of a new row of ``letters``, but for its origin."""
    id = letter.id
    message_id = letter.message_id
    first, last = letter.first_failed, letter.last_failed
    first_micros = to_micros(first)
    return (
        id,
        None if message_id == id else message_id or None,
        first_micros,
        letter.failures,
        to_text(letter.source),
        first_micros if first is last else to_micros(last),
        summary_digest(letter.error_type, letter.handler, letter.reason),
        to_text(letter.reason),
        None if letter.due is None else to_micros(letter.due),
        letter.attempt,
        group_of(letter.error_type, letter.handler, letter.reason, letter.traceback),
    )


def content_values(letter: DeadLetter) -> tuple[Value, ...]:
    """Return the values of a row of ``contents``, but for its position."""
    return (letter.raw_data, headers_to_json(letter.headers), to_text(letter.traceback))


def to_failure(at: Any, reason: Any, origin: Origin) -> Failure:
    """Return the failure of a row of ``history``."""
    return Failure(
        from_micros(at), origin.stage, from_text(reason) or "", origin.error_type, origin.handler
    )


def to_letter(row: tuple[Any, ...], origin: Origin, earlier: Sequence[Failure] = ()) -> DeadLetter:
    """Return the letter of a row that joins ``letters`` and ``contents``.

    Whatever a stranger wrote there makes some letter; nothing of it is executed or imported.

    :param earlier: the failures before the last.
    """
    (
        position,
        _,
        failures,
        id,
        message_id,
        first_failed,
        source,
        last_failed,
        reason,
        body,
        headers,
        traceback,
        due,
        attempt,
    ) = row
    stage, error_type, handler, message_class, host, version = origin
    # Types are looked at here, and only a value that is not of the usual one costs a call; tuples
    # are made without their constructors. A page of a hundred letters takes 60 µs so, beside the
    # 110 µs in SQLite; with calls it took twice that (benchmarks/dlq.py, "a page of 100").
    try:
        first = _EPOCH + timedelta(0, 0, first_failed)
    except (OverflowError, TypeError):
        first = _EPOCH
    last = first if last_failed == first_failed else from_micros(last_failed)
    if type(reason) is not str:
        reason = from_text(reason) or ""
    if source is not None and type(source) is not str:
        source = from_text(source)
    if traceback is not None and type(traceback) is not str:
        traceback = from_text(traceback)
    if type(id) is not bytes:
        id = from_blob(id)
    if type(body) is not bytes:
        body = from_blob(body)
    failure: Failure = _new(Failure, (last, stage, reason, error_type, handler))
    letter: DeadLetter = _new(
        DeadLetter,
        (
            id,
            body,
            reason,
            stage,
            first,
            last,
            id if message_id is None else from_blob(message_id),
            {} if headers is None else headers_from_json(headers),
            source,
            message_class,
            error_type,
            traceback,
            handler,
            failures if type(failures) is int else 1,
            (*earlier, failure) if earlier else (failure,),
            host,
            version,
            position,
            "dead" if due is None else "deferred",
            None if due is None else from_micros(due),
            attempt if type(attempt) is int else 1,
        ),
    )
    return letter
