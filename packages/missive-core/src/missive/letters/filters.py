"""Filters: which letters are meant."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TypedDict

from ..errors import ConfigurationError
from .groups import kind_of
from .letter import DeadLetter, LetterState, utc_now

_TEXTS = ("reason", "handler", "source", "error_type")
_STATES = ("dead", "deferred")


class LetterFilters(TypedDict, total=False):
    """Which letters are meant: those that every given filter matches.

    ``reason``, ``handler``, ``source`` and ``error_type`` compare exactly; an empty text matches
    letters that have none. ``since`` and ``until`` bound the time of the last failure: at or after
    the one, before the other; both need a time zone. ``group`` is the digits of a group, as
    ``Group.kind.digits()`` returns them. ``state`` is ``"dead"`` unless given; None means dead
    letters and deferred messages.
    """

    reason: str | None
    handler: str | None
    source: str | None
    error_type: str | None
    since: datetime | None
    until: datetime | None
    group: str | None
    state: LetterState | None


def check_filters(filters: LetterFilters) -> None:
    """Refuse filters that cannot be compared with the fields of a letter.

    :raises ConfigurationError: there is no such filter, or its value has the wrong type.
    """
    for name, value in filters.items():
        if name not in LetterFilters.__annotations__:
            raise ConfigurationError(
                f"there is no filter {name}; there are {', '.join(LetterFilters.__annotations__)}"
            )
        if value is None:
            continue
        if name in ("since", "until"):
            if not isinstance(value, datetime) or value.tzinfo is None:
                raise ConfigurationError(
                    f"the filter {name} needs a datetime with a time zone, such as"
                    f" datetime.now(timezone.utc); not a {type(value).__name__} without one"
                )
        elif name == "state":
            if value not in _STATES:
                raise ConfigurationError(
                    f"the filter state is 'dead', 'deferred' or None, not {value!r}"
                )
        elif not isinstance(value, str):
            raise ConfigurationError(
                f"the filter {name} needs a text, not a {type(value).__name__}"
            )


def matches(letter: DeadLetter, filters: LetterFilters) -> bool:
    """Return whether every filter matches a letter."""
    state = filters.get("state", "dead")
    if state is not None and letter.state != state:
        return False
    since, until = filters.get("since"), filters.get("until")
    if since is not None and letter.last_failed < since:
        return False
    if until is not None and letter.last_failed >= until:
        return False
    for name in _TEXTS:
        wanted = filters.get(name)
        if wanted is not None and (getattr(letter, name) or "") != wanted:
            return False
    group = filters.get("group")
    return group is None or kind_of(letter).digits() == group


def time_before(span: timedelta) -> datetime:
    """Return the time a span ago; the earliest there is, where that would be before all time."""
    now = utc_now()
    return now - min(span, now - datetime.min.replace(tzinfo=timezone.utc))
