"""The health file: keeps the health of a run where a probe can read it."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from types import TracebackType

import click

from .health import Looks
from .logs import command_logger

logger = command_logger("missive.cli.health_file")

#: How often the file is written, in seconds.
FILE_INTERVAL = 1.0


class HealthFile:
    """Keeps a file with the health of a run, written whole each time, removed at the end.

    :param path: the file.
    :raises click.UsageError: it cannot be written.
    """

    def __init__(self, health: Looks, path: Path) -> None:
        self._health = health
        self._path = path
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="missive-health-file", daemon=True)

    def __enter__(self) -> HealthFile:
        try:
            self._write()
        except OSError as error:
            raise click.UsageError(
                f"the health file {self._path} cannot be written: {error.strerror}"
            ) from error
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _keep(self) -> None:
        while not self._ended.wait(FILE_INTERVAL):
            try:
                self._write()
            except Exception as error:  # a full disk, or a status() that raises, is tried again
                reason = error.strerror if isinstance(error, OSError) else type(error).__name__
                logger.warning("cannot write the health file: %s", reason)

    def _write(self) -> None:
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        fresh.write_text(json.dumps(self._health.look()) + "\n")
        fresh.replace(self._path)
