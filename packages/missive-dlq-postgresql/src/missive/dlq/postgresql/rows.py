"""Rows: how a letter becomes values that PostgreSQL takes, and comes back from them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import Any, cast

from missive import DeadLetter
from missive.letters import (
    Failure,
    Stage,
    headers_from_json,
    headers_to_json,
    kind_of,
    summary_digest,
)

#: An index holds keys of up to 2.7 kB; a longer id is cut here, and a digest of all of it follows.
LONGEST_KEY = 1024

#: What stands before the four hexadecimal digits of a character that PostgreSQL cannot hold.
_ESCAPE = "\x1a"
_UNHELD = re.compile("[\x00\x1a\ud800-\udfff]")
_ESCAPED = re.compile("\x1a([0-9a-f]{4})")

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_PG_EPOCH = datetime(2000, 1, 1, tzinfo=timezone.utc)


def to_text(text: str | None) -> str | None:
    """Return a text as PostgreSQL takes it: NUL and lone surrogates escaped."""
    if text is None or (text.isascii() and "\0" not in text and _ESCAPE not in text):
        return text
    return _UNHELD.sub(lambda found: f"{_ESCAPE}{ord(found[0]):04x}", text)


def from_text(value: Any) -> str | None:
    """Return the text that a value stands for."""
    if value is None:
        return None
    text = value if isinstance(value, str) else bytes(value).decode("utf-8", "surrogateescape")
    if _ESCAPE not in text:
        return text
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)


def to_key(id: bytes) -> bytes:
    """Return the key that a letter with an id stands under: the id, where an index can hold it."""
    return id if len(id) <= LONGEST_KEY else id[:LONGEST_KEY] + sha256(id).digest()


def from_micros(micros: int) -> datetime:
    """Return the moment so many microseconds after 2000, in UTC; 1970 where Python has none."""
    try:
        return _PG_EPOCH + timedelta(0, 0, micros)
    except OverflowError:  # "infinity", or a year beyond 9999, which somebody else wrote
        return _EPOCH


def letter_values(letter: DeadLetter) -> tuple[Any, ...]:
    """Return the values of a letter, in the order of ``statements.COLUMNS``."""
    id, key = letter.id, to_key(letter.id)
    return (
        key,
        None if key == id else id,
        None if letter.message_id == id else letter.message_id or None,
        to_text(letter.source),
        to_text(letter.message_class),
        to_text(letter.stage),
        to_text(letter.error_type),
        to_text(letter.handler),
        to_text(letter.reason),
        letter.first_failed,
        letter.last_failed,
        letter.failures,
        summary_digest(letter.error_type, letter.handler, letter.reason),
        int(kind_of(letter).digits()),
        letter.due,
        letter.attempt,
        to_text(letter.host),
        to_text(letter.version),
        headers_to_json(letter.headers),
        _history_to_json(letter),
        to_text(letter.traceback),
        letter.raw_data,
    )


def _history_to_json(letter: DeadLetter) -> str | None:
    """Return the history as JSON; None where it is what the letter says itself of its failure."""
    history = letter.history
    if not history:
        return None
    if len(history) == 1:
        at, *rest = history[0]
        own = [letter.stage, letter.reason, letter.error_type, letter.handler]
        if at == letter.last_failed and rest == own:
            return None
    return json.dumps([(failure.at.isoformat(), *failure[1:]) for failure in history])


def _history_from_json(text: str) -> tuple[Failure, ...]:
    """Return the history; empty where somebody wrote there what is none."""
    try:
        entries = cast("list[list[Any]]", json.loads(text))
        return tuple(
            Failure(datetime.fromisoformat(at), stage, reason, error_type, handler)
            for at, stage, reason, error_type, handler in entries
        )
    except (ValueError, TypeError, RecursionError):
        return ()


def to_letter(row: Sequence[Any]) -> DeadLetter:
    """Return the letter of a row, whose values are in the order of ``statements.SELECTED``.

    Whatever a stranger wrote there makes some letter; nothing of it is executed or imported.
    """
    (
        position,
        key,
        whole_id,
        message_id,
        source,
        message_class,
        stage,
        error_type,
        handler,
        reason,
        first_failed,
        last_failed,
        failures,
        due,
        attempt,
        host,
        version,
        headers,
        history,
        traceback,
        body,
    ) = row
    id = key if whole_id is None else whole_id
    # By position, in the order of the fields, as in core: half the time of keywords.
    letter = DeadLetter(
        id,
        body,
        from_text(reason) or "",
        cast("Stage", from_text(stage) or ""),
        first_failed,
        last_failed,
        id if message_id is None else message_id,
        headers_from_json(headers),
        from_text(source),
        from_text(message_class),
        from_text(error_type),
        from_text(traceback),
        from_text(handler),
        failures,
        () if history is None else _history_from_json(history),
        from_text(host) or "",
        from_text(version) or "",
        position,
        "dead" if due is None else "deferred",
        due,
        attempt,
    )
    return letter if letter.history else letter.with_history()
