"""Logging of a running processor, as text or as JSON, on standard error."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone

from .terminal import escaped

LEVELS = ("debug", "info", "warning", "error", "critical")


class TextFormatter(logging.Formatter):
    """One line an event: time, level, logger, message; control characters are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        line = (
            f"{_time(record)} {record.levelname:<8} {record.name}: {escaped(record.getMessage())}"
        )
        return line + "".join(f"\n{part}" for part in _details(self, record).values())


class JSONFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        return json.dumps(
            {
                "time": _time(record),
                "level": record.levelname.lower(),
                "logger": record.name,
                "message": record.getMessage(),
                **_details(self, record),
            }
        )


def set_up(level: str, form: str) -> None:
    """Send the log of the whole process to standard error.

    :param level: one of ``LEVELS``.
    :param form: ``text`` or ``json``.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JSONFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(True)


def _time(record: logging.LogRecord) -> str:
    when = datetime.fromtimestamp(record.created, timezone.utc)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _details(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, str]:
    """Give the traceback and the stack, where a record has them."""
    details: dict[str, str] = {}
    if record.exc_info and record.exc_info[0] is not None:
        details["traceback"] = formatter.formatException(record.exc_info)
    if record.stack_info:
        details["stack"] = formatter.formatStack(record.stack_info)
    return details
