"""Options that several commands share, and the values they take."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
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
# Before 3.11 datetime.fromisoformat takes neither the basic form nor any number of decimals.
_ISO = re.compile(
    r"(?P<year>\d{4})(?P<dash>-?)(?P<month>\d\d)(?P=dash)(?P<day>\d\d)"
    r"(?:[Tt ](?P<hour>\d\d)(?::?(?P<minute>\d\d)(?::?(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?)?"
    r"\s*(?P<zone>[Zz]|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_YEAR_1 = datetime(1, 1, 1, tzinfo=timezone.utc)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass
class Settings:
    """What holds for the whole command.

    :ivar debug: show tracebacks.
    :ivar log_errors: log what ends the command, since its log is JSON.
    :ivar app_dir: the folder that the program's modules lie in; the working directory unless given.
    :ivar factory: call the target, whatever it is.
    """

    debug: bool = False
    log_errors: bool = False
    app_dir: Path | None = None
    factory: bool = False


def _set_debug(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Settings).debug = True


def debug_option(command: F) -> F:
    """Add ``--debug`` to a command."""
    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_set_debug,
        help="Show the traceback of an error. It may contain parts of a message.",
    )(command)


def _set_app_dir(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.ensure_object(Settings).app_dir = value


def _set_factory(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Settings).factory = True


def target_options(command: F) -> F:
    """Add the options that say how its target is found to a command."""
    with_factory = click.option(
        "--factory",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_set_factory,
        help="Call TARGET to make the adapter or processor. A function is always called.",
    )(command)
    return click.option(
        "--app-dir",
        type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
        expose_value=False,
        is_eager=True,
        callback=_set_app_dir,
        envvar="MISSIVE_APP_DIR",
        help="The folder of the program's modules. Default: the working directory.",
    )(with_factory)


def json_option(what: str = "Write JSON, one object on each line.") -> Callable[[F], F]:
    """Add ``--json`` to a command."""
    return click.option("--json", "as_json", is_flag=True, help=what)


def message_option(command: F) -> F:
    """Add ``--message`` to a command."""
    return click.option(
        "--message",
        "message",
        metavar="json|raw|MODULE:CLASS",
        help="The class of the messages, if TARGET is a processor.",
    )(command)


class Seconds(click.FloatRange):
    """A number of seconds; ``inf`` is for ever."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read a number of seconds, which has to be a number."""
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        return seconds


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
            self.fail(
                f"{value!r} is not a length of time; give 90s, 15m, 2h, 30d or 1w", param, ctx
            )
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
            return read_moment(value)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is not a valid time; give 2026-03-01, 2026-03-01T15:04 (UTC),"
                " or how long ago: 15m, 2h, 3d",
                param,
                ctx,
            )


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


def read_moment(text: str, zone: tzinfo | None = timezone.utc) -> datetime:
    """Read an ISO 8601 date or time, of the basic or the extended form, on every Python alike.

    :param zone: that of a text that has none.
    :raises ValueError: it is not one.
    """
    match = _ISO.fullmatch(text.strip())
    if match is None:
        raise ValueError("not an ISO 8601 date or time")
    parts = match.groupdict("")
    fraction = parts["fraction"][:6].ljust(6, "0")
    clock = (
        f"{parts['hour'] or '00'}:{parts['minute'] or '00'}:{parts['second'] or '00'}.{fraction}"
    )
    offset = parts["zone"].upper().replace(":", "").replace("Z", "+0000")
    if offset:
        offset = f"{offset[:3]}:{offset[3:] or '00'}"
    moment = datetime.fromisoformat(
        f"{parts['year']}-{parts['month']}-{parts['day']}T{clock}{offset}"
    )
    return moment if offset else moment.replace(tzinfo=zone)


def read_age(text: str) -> timedelta | None:
    """Read a length of time such as ``2h``; None where it is not one.

    :raises OverflowError: it is longer than can be reckoned with.
    """
    match = _AGE.fullmatch(text.strip().lower())
    if match is None:
        return None
    return timedelta(**{_UNITS[match[2]]: float(match[1])})
