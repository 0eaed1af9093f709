"""Running an adapter to its end: under the watchdog, with its health told to those who ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import click
from missive import Adapter, MissiveError, Runnable

from .exits import CannotServe, Failed, kind_and_place
from .health import LOOPBACK, Health, Looks
from .logs import command_logger
from .member import Member
from .serving import runner
from .systemd import Service
from .telemetry import Expose
from .watchdog import Watchdog

logger = command_logger("missive.cli.run")


@dataclass(frozen=True)
class Probes:
    """Where the health of a run is told.

    :ivar file: a JSON file, or None.
    :ivar host: the address of the ports.
    :ivar ports: the ports that answer probes.
    :ivar metrics: whether metrics are exported, which the ports answer too.
    :ivar stall: a run without progress for so many seconds is not live.
    """

    file: Path | None
    host: str
    ports: tuple[int, ...]
    metrics: bool
    stall: float

    @classmethod
    def of_options(cls, options: dict[str, Any]) -> Probes:
        """Take what the options of the command say of this.

        :raises click.UsageError: an address has no port.
        """
        health_port, metrics_port = options.pop("health_port"), options.pop("metrics_port")
        host: str | None = options.pop("health_host")
        ports = {port for port in (health_port, metrics_port) if port is not None}
        if host is not None and not ports:
            raise click.UsageError("--health-host needs a port; give --health-port too")
        return cls(
            options.pop("health_file"),
            host or LOOPBACK,
            tuple(sorted(ports)),
            metrics_port is not None,
            options.pop("stall"),
        )

    def of_member(self, member: Member) -> Probes:
        """Return where one of several processes tells its health: to the supervisor."""
        return replace(self, file=member.health_file, ports=())

    def watch(self, adapter: Adapter[Any], expose: Expose | None) -> ExitStack:
        """Return what tells the health of an adapter until it is closed; enter it.

        :param expose: returns the metrics, where there are any.
        :raises click.UsageError: the file cannot be written, or the port not be listened on.
        """
        health = Health(adapter, self.stall)
        stack = self.answer(health, expose)
        stack.enter_context(Service(adapter, health))
        return stack

    def answer(self, health: Looks, expose: Expose | None) -> ExitStack:
        """Do the same for a health, without a service manager."""
        stack = ExitStack()
        try:
            if self.file is not None:
                from .health_file import HealthFile

                stack.enter_context(HealthFile(health, self.file))
            for port in self.ports:
                from .health_port import HealthPort  # http.server is costly to import

                stack.enter_context(HealthPort(health, self.host, port, expose))
        except BaseException:
            stack.close()
            raise
        return stack


def run_to_end(adapter: Adapter[Any], tidy: Callable[[], None], workers: int | None) -> None:
    """Run an adapter to its end.

    :param tidy: called where the process ends at the drain deadline.
    :param workers: how many threads a server has, where one serves the adapter.
    :raises Failed: a handler or a hook, or the transport's client, ended it.
    :raises CannotServe: the server cannot listen.
    :raises MissiveError: what else ended it.
    """
    assert isinstance(adapter, Runnable)
    counts = _Counts(adapter)
    try:
        with Watchdog(adapter, tidy):
            runner(adapter, workers)()
    except (MissiveError, CannotServe, KeyboardInterrupt):
        raise
    except SystemExit as error:
        raise Failed(f"a handler or hook ended the program (SystemExit {error.code})") from error
    except Exception as error:
        raise Failed(
            f"processing ended with {kind_and_place(error)}; the message stays with the transport"
            " where that can redeliver; --dlq keeps such messages, --debug shows the traceback"
        ) from error
    finally:
        counts.log()


class _Counts:
    """What a run did: as the adapter counts it, or counted here where it does not."""

    def __init__(self, adapter: Adapter[Any]) -> None:
        self._status: Callable[[], Any] | None = getattr(adapter, "status", None)
        self._counts: Counter[str] = Counter()
        self._lock = Lock()
        if self._status is None:
            adapter.processor.on_settled(self._count)

    def _count(self, processing_ctx: Any, settled: Any) -> None:
        with self._lock:
            self._counts["received"] += 1
            if settled.outcome is not None:
                self._counts[settled.outcome.name.lower()] += 1

    def log(self) -> None:
        """Log the counts, in the same words for all adapters."""
        names = ("received", "acked", "nacked", "dead_lettered", "deferred")
        status = self._status() if self._status is not None else None
        counts = {
            name: self._counts[name] if status is None else getattr(status, name, 0)
            for name in names
        }
        shown = [name for name in names if name != "deferred" or counts[name]]
        said = ", ".join(f"{counts[name]} {name.replace('_', '-')}" for name in shown)
        logger.info("ended: %s", said)
