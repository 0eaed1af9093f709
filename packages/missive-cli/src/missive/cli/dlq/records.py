"""Records: dead letters read back from JSON objects."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, cast, get_args

from missive import DeadLetter, parse_id
from missive.letters import Failure, Stage

from ..options import read_moment

_STAGES = get_args(Stage)

#: No letter fails so often, and any store can count so far, and on.
_MANY = 2**53


class BadRecord(ValueError):
    """A JSON document is no record of a letter; the text says why, and holds no content."""


def from_record(record: object) -> DeadLetter:
    """Make the letter of a record.

    :raises BadRecord: it is none.
    """
    if not isinstance(record, dict):
        raise BadRecord("it is not a JSON object")
    fields = _Fields(cast("dict[str, Any]", record))
    return DeadLetter(
        id=fields.id("id"),
        message_id=fields.id("message_id"),
        raw_data=fields.body(),
        headers=fields.headers(),
        source=fields.text_or_none("source"),
        message_class=fields.text_or_none("message_class"),
        stage=fields.stage(),
        reason=fields.text("reason"),
        error_type=fields.text_or_none("error_type"),
        handler=fields.text_or_none("handler"),
        first_failed=fields.moment("first_failed"),
        last_failed=fields.moment("last_failed"),
        failures=fields.count("failures", least=0),
        history=tuple(_failure_from_record(failure) for failure in fields.list("history")),
        traceback=fields.text_or_none("traceback"),
        host=fields.text("host"),
        version=fields.text("version"),
        **_waiting(fields) if "state" in record else {},
    )


def _waiting(fields: _Fields) -> dict[str, Any]:
    """Return what a record says of another attempt; records of older versions say nothing."""
    state = fields.text("state")
    if state not in ("dead", "deferred"):
        raise BadRecord("its 'state' is neither dead nor deferred")
    return {
        "state": state,
        "due": None if fields.text_or_none("due") is None else fields.moment("due"),
        "attempt": fields.count("attempt", least=0),
    }


def _failure_from_record(record: object) -> Failure:
    if not isinstance(record, dict):
        raise BadRecord("an entry of its history is not a JSON object")
    fields = _Fields(cast("dict[str, Any]", record))
    return Failure(
        at=fields.moment("at"),
        stage=fields.stage(),
        reason=fields.text("reason"),
        error_type=fields.text_or_none("error_type"),
        handler=fields.text_or_none("handler"),
    )


class _Fields:
    """Takes the fields of a record, and refuses those that are not what they must be."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self._record = record

    def _typed(self, name: str, kind: type | tuple[type, ...], what: str) -> Any:
        if name not in self._record:
            raise BadRecord(f"it has no {name!r}")
        value = self._record[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise BadRecord(f"its {name!r} is not {what}")
        return value

    def text(self, name: str) -> str:
        return cast(str, self._typed(name, str, "text"))

    def text_or_none(self, name: str) -> str | None:
        return cast("str | None", self._typed(name, (str, type(None)), "text or null"))

    def count(self, name: str, *, least: int = 1) -> int:
        value = cast(int, self._typed(name, int, "a whole number"))
        if value < least:
            raise BadRecord(f"its {name!r} is less than {least}")
        if value > _MANY:
            raise BadRecord(f"its {name!r} is more than can be counted")
        return value

    def list(self, name: str) -> list[Any]:
        return cast("list[Any]", self._typed(name, list, "a list"))

    def id(self, name: str) -> bytes:
        text = self.text(name)
        try:
            return parse_id(text)
        except ValueError as error:
            raise BadRecord(f"its {name!r} is not a message id") from error

    def moment(self, name: str) -> datetime:
        text = self.text(name)
        try:
            moment = read_moment(text, zone=None)
        except ValueError as error:
            raise BadRecord(f"its {name!r} is no ISO time") from error
        if moment.tzinfo is None:
            raise BadRecord(f"its {name!r} has no time zone")
        try:
            return moment.astimezone(timezone.utc)
        except OverflowError as error:
            raise BadRecord(f"its {name!r} is before the year 1 or after 9999 in UTC") from error

    def stage(self) -> Stage:
        stage = self.text("stage")
        if stage not in _STAGES:
            raise BadRecord(f"its 'stage' is none of {', '.join(_STAGES)}")
        return cast(Stage, stage)

    def headers(self) -> dict[str, str]:
        headers = cast("dict[str, Any]", self._typed("headers", dict, "a JSON object"))
        if not all(isinstance(value, str) for value in headers.values()):
            raise BadRecord("its 'headers' are not all text")
        return headers

    def body(self) -> bytes:
        if ("body" in self._record) == ("body_base64" in self._record):
            raise BadRecord("it has not just one of 'body' and 'body_base64'")
        if "body" in self._record:
            try:
                return self.text("body").encode()
            except UnicodeEncodeError as error:
                raise BadRecord("its 'body' is not Unicode") from error
        encoded = self.text("body_base64")
        try:
            return base64.b64decode(encoded, validate=True)
        except ValueError as error:  # binascii.Error, or a plain one for what is not even ASCII
            raise BadRecord("its 'body_base64' is not base64") from error
