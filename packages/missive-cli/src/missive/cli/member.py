"""A member: one of the processes of ``--processes``, as it sees itself."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click
from missive import Adapter, StdinAdapter

from .logs import command_logger
from .serving import takes_server

logger = command_logger("missive.cli.member")

#: In the environment of a member: its number, how often that was started, and the shared folder.
VARIABLE = "MISSIVE_PROCESS"


@dataclass(frozen=True)
class Member:
    """What the supervisor told this process.

    :ivar number: which of the processes this is, from 0.
    :ivar starts: how often it was started before.
    :ivar folder: where the processes leave what the supervisor reads.
    """

    number: int
    starts: int
    folder: Path

    @classmethod
    def of_environment(cls) -> Member | None:
        """Return this process as a member; None where no supervisor started it.

        The mark is removed, so that no process that this one starts inherits it.
        """
        said = os.environ.pop(VARIABLE, None)
        if said is None:
            return None
        number, starts, folder = said.split(":", 2)
        return cls(int(number), int(starts), Path(folder))

    def variable(self) -> str:
        """Return what the environment of the member says."""
        return f"{self.number}:{self.starts}:{self.folder}"

    @property
    def health_file(self) -> Path:
        """Where the member keeps its health."""
        return self.folder / f"health-{self.number}.json"

    def said(self, pid: int) -> dict[str, Any]:
        """Return what the member last said of its health; nothing where it has not yet.

        :param pid: its process, since one before it may have left the file.
        """
        try:
            found: Any = json.loads(self.health_file.read_bytes())
        except (OSError, ValueError):
            return {}
        said = cast("dict[str, Any]", found)
        return said if said.get("pid") == pid else {}

    @property
    def reports(self) -> bool:
        """Whether to say what is in effect: once for all members."""
        return self.number == 0 and self.starts == 0

    def follow(self, stop: Callable[[], None]) -> None:
        """Stop when the supervisor is gone, whatever ended it: it holds the other end of stdin."""
        thread = threading.Thread(
            target=self._wait, args=(stop,), name="missive-member", daemon=True
        )
        thread.start()

    @staticmethod
    def _wait(stop: Callable[[], None]) -> None:
        try:
            while os.read(sys.__stdin__.fileno() if sys.__stdin__ else 0, 1024):
                continue
        except OSError:  # closed by the program: nothing can be known
            return
        logger.warning("the supervisor is gone: the run finishes what is in flight, and ends")
        stop()


def check_processes(adapter: Adapter[Any]) -> None:
    """Refuse an adapter of which several processes cannot run.

    :raises click.UsageError: its input, or its port, is there once.
    """
    if isinstance(adapter, StdinAdapter):
        raise click.UsageError("--processes cannot share standard input; omit it")
    if takes_server(adapter):
        raise click.UsageError(
            "--processes is for transports that are read from; run webhooks in the processes of a"
            " server such as gunicorn"
        )
