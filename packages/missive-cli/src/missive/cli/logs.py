"""Logging of a running processor, as text or as JSON, on standard error."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime, timezone

from .telemetry import current_span
from .terminal import escaped

LEVELS = ("debug", "info", "warning", "error", "critical")


class TextFormatter(logging.Formatter):
    """One line an event: time, level, logger, message; control characters are escaped.

    :param process: the number of this process, where there are several.
    """

    def __init__(self, process: int | None = None) -> None:
        super().__init__()
        self._process = "" if process is None else f"[{process}] "

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        line = (
            f"{_time(record)} {record.levelname:<8} {self._process}{record.name}:"
            f" {escaped(record.getMessage())}"
        )
        return line + "".join(f"\n{part}" for part in _details(self, record).values())


class JSONFormatter(logging.Formatter):
    """One JSON object a line.

    :param process: the number of this process, where there are several.
    """

    def __init__(self, process: int | None = None) -> None:
        super().__init__()
        self._process: dict[str, int] = {} if process is None else {"process": process}

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        return json.dumps(
            {
                "time": _time(record),
                "level": record.levelname.lower(),
                **self._process,
                "logger": record.name,
                "message": record.getMessage(),
                **current_span(),
                **_details(self, record),
            }
        )


class CommandLogger(logging.Logger):
    """A logger that nothing but the command configures.

    Loggers that Python's registry knows fall silent where the user's module calls
    ``logging.config.dictConfig`` or ``logging.disable``; what the command has to say must not.
    """

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - its name there
        """Return whether records of a level are written, whatever ``logging.disable`` says."""
        return level >= self.getEffectiveLevel()


#: Has the handler of the command's own records, once ``set_up`` was called.
_command = CommandLogger("missive.cli")


def command_logger(name: str) -> logging.Logger:
    """Return a logger for the command's own records."""
    logger = CommandLogger(name)
    logger.parent = _command
    return logger


def set_up(level: str, form: str, process: int | None = None) -> None:
    """Send the log of the whole process to standard error.

    :param level: one of ``LEVELS``.
    :param form: ``text`` or ``json``.
    :param process: the number of this process, where there are several.
    """
    handler = logging.StreamHandler()
    handler.setFormatter((JSONFormatter if form == "json" else TextFormatter)(process))
    for logger in (logging.getLogger(), _command):
        logger.addHandler(handler)
        logger.setLevel(level.upper())
    logging.captureWarnings(True)


def conflicts(form: str) -> Iterator[str]:
    """Name what the user's module changed in the logging that ``set_up`` made.

    :param form: the format that was asked for.
    """
    root = logging.getLogger()
    if form == "json" and not set(_command.handlers) <= set(root.handlers):
        yield (
            "the program configures logging itself, so only this command's own lines are JSON;"
            " leave its handlers out, or give them a formatter that writes JSON"
        )
    if any(map(_is_disabled, list(root.manager.loggerDict))):
        yield (
            "the program disables Missive's loggers, so dead letters and lost connections are not"
            " logged; give dictConfig or fileConfig disable_existing_loggers=False"
        )


def _is_disabled(name: str) -> bool:
    return f"{name}.".startswith("missive.") and logging.getLogger(name).disabled


def _time(record: logging.LogRecord) -> str:
    when = datetime.fromtimestamp(record.created, timezone.utc)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _details(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, str]:
    """Return the traceback and the stack, where a record has them."""
    details: dict[str, str] = {}
    if record.exc_info and record.exc_info[0] is not None:
        details["traceback"] = formatter.formatException(record.exc_info)
    if record.stack_info:
        details["stack"] = formatter.formatStack(record.stack_info)
    return details
