"""What pika logs of the adapter's connections: at DEBUG, since the adapter says it once."""

from __future__ import annotations

import logging
import threading

#: The loggers on which pika tells of a failure, each several times, with every attempt.
PIKAS = (
    "pika.adapters.base_connection",
    "pika.adapters.utils.connection_workflow",
    "pika.adapters.utils.io_services_utils",
    "pika.channel",
    "pika.connection",
    "pika.heartbeat",
)


class _ToDebug(logging.Filter):
    """Turns what pika logs within a step of the adapter's into records of level DEBUG."""

    #: The threads that are within a step. A handler that uses pika itself is in none.
    stepping: set[int]

    def __init__(self) -> None:
        super().__init__()
        self.stepping = set()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread not in self.stepping:
            return True
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)


_filter = _ToDebug()


def install() -> None:
    """Make pika log failures of the adapter's connections, and of no others, at DEBUG."""
    for name in PIKAS:
        logging.getLogger(name).addFilter(_filter)


def enter() -> None:
    """Begin a step of this thread."""
    _filter.stepping.add(threading.get_ident())


def leave() -> None:
    """End it."""
    _filter.stepping.discard(threading.get_ident())
