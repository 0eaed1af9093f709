"""Records: letters as objects for JSON, without loss."""

from __future__ import annotations

import base64
from typing import Any

from ..ids import format_id
from .letter import DeadLetter


def to_record(letter: DeadLetter) -> dict[str, Any]:
    """Return a letter as an object for JSON.

    The body is text where it is UTF-8, else base64. Its position in the store is left out.
    """
    return {
        "id": format_id(letter.id),
        "message_id": format_id(letter.message_id),
        "source": letter.source,
        "headers": dict(letter.headers),
        "message_class": letter.message_class,
        "stage": letter.stage,
        "reason": letter.reason,
        "error_type": letter.error_type,
        "handler": letter.handler,
        "first_failed": letter.first_failed.isoformat(),
        "last_failed": letter.last_failed.isoformat(),
        "failures": letter.failures,
        "history": [{**one._asdict(), "at": one.at.isoformat()} for one in letter.history],
        "traceback": letter.traceback,
        "host": letter.host,
        "version": letter.version,
        "state": letter.state,
        "due": None if letter.due is None else letter.due.isoformat(),
        "attempt": letter.attempt,
        **_body_to_record(letter.raw_data),
    }


def _body_to_record(body: bytes) -> dict[str, str]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode()}
