"""Options that several commands share, and the values they take."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, TypeVar

import click
from missive import parse_id

# Generic in newer versions of click alone.
if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType

F = TypeVar("F", bound=Callable[..., Any])

_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_YEAR_1 = datetime(1, 1, 1, tzinfo=timezone.utc)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass
class Settings:
    """What holds for the whole command.

    :ivar debug: show tracebacks.
    :ivar log_errors: log what ends the command, since its log is JSON.
    """

    debug: bool = False
    log_errors: bool = False


def _set_debug(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Settings).debug = True


def debug_option(command: F) -> F:
    """Give a command ``--debug``."""
    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_set_debug,
        help="Show the traceback of an error; it may hold a message's content.",
    )(command)


def json_option(what: str = "Write JSON, one object a line.") -> Callable[[F], F]:
    """Give a command ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help=what)


def message_option(command: F) -> F:
    """Give a command ``--message``."""
    return click.option(
        "--message",
        "message",
        metavar="json|raw|MODULE:CLASS",
        help="The class of the messages, where a processor is given.",
    )(command)


class Age(_ParamType):
    """A length of time: ``90s``, ``15m``, ``2h``, ``30d``, ``1w``."""

    name = "age"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Read an age."""
        if isinstance(value, timedelta):
            return value
        try:
            age = read_age(value)
        except OverflowError:
            age = timedelta.max
        if age is None:
            self.fail(f"{value!r} is no length of time; give 90s, 15m, 2h, 30d or 1w", param, ctx)
        if age > datetime.now(timezone.utc) - _YEAR_1:
            self.fail(f"{value!r} is longer ago than the year 1; give less", param, ctx)
        return age


class Moment(_ParamType):
    """A moment: an ISO date or time, in UTC unless it says otherwise, or how long ago (``2h``)."""

    name = "when"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read a moment; it is aware."""
        if isinstance(value, datetime):
            return value
        try:
            age = read_age(value)
            if age is not None:
                return datetime.now(timezone.utc) - age
            moment = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", value))
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no moment; give 2026-03-01, 2026-03-01T15:04 (UTC),"
                " or how long ago: 15m, 2h, 3d",
                param,
                ctx,
            )
        return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


class MessageId(_ParamType):
    """A message id in its printable form."""

    name = "id"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> bytes:
        """Read an id."""
        if isinstance(value, bytes):
            return value
        try:
            return parse_id(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def read_age(text: str) -> timedelta | None:
    """Read a length of time such as ``2h``; None where the text is none.

    :raises OverflowError: it is longer than can be reckoned with.
    """
    match = _AGE.fullmatch(text.strip().lower())
    if match is None:
        return None
    return timedelta(**{_UNITS[match[2]]: float(match[1])})
