"""Health: whether a run is alive and ready, for probes that read a file or ask a port."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

import click
from missive import Adapter, DeadLetterStore, DeadLetterStoreError, PollingAdapter

logger = logging.getLogger("missive.cli.health")

#: How often the file is written, in seconds.
FILE_INTERVAL = 1.0
#: How long what was found is good for, in seconds: a probe must not wear the DLQ out.
GOOD_FOR = 1.0


class Health:
    """Looks at a running adapter.

    A run is *live* while its receive loop makes progress: it came round, or began another message,
    in the last ``stall`` seconds, or it is busy connecting. It is *ready* while a message that is
    published now would be delivered, and the DLQ, where there is one, could be written.

    :param stall: how long the loop may make no progress, in seconds; more than the slowest handler.
    :param clock: gives seconds that only ever rise.
    """

    def __init__(
        self, adapter: Adapter[Any], stall: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._adapter = adapter
        self._stall = stall
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: object = None
        self._progressed = clock()
        self._looked: tuple[float, dict[str, Any]] | None = None

    def look(self) -> dict[str, Any]:
        """Say how the run is doing; what was found less than a second ago is found again."""
        with self._lock:
            now = self._clock()
            if self._looked is None or now - self._looked[0] >= GOOD_FOR:
                self._looked = (now, self._look(now))
            return self._looked[1]

    def _look(self, now: float) -> dict[str, Any]:
        adapter = self._adapter
        found: dict[str, Any] = {
            "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "pid": os.getpid(),
            "adapter": type(adapter).__name__,
        }
        ready = getattr(adapter, "ready", None)
        connected = bool(ready is not None and ready.is_set())
        live = True
        if isinstance(adapter, PollingAdapter):
            status = adapter.status()
            if status != self._seen:
                self._seen, self._progressed = status, now
            live = not connected or now - self._progressed < self._stall
            found |= {
                "last_progress": _iso(status.last_progress),
                "in_flight": status.in_flight,
                "waiting": status.waiting,
                "received": status.received,
                "acked": status.acked,
                "nacked": status.nacked,
                "dead_lettered": status.dead_lettered,
                "reconnections": status.reconnections,
            }
        writable = self._dlq_writable()
        return {
            "live": live,
            "ready": connected and writable is not False,
            "connected": connected,
            "dlq_writable": writable,
            **found,
        }

    def _dlq_writable(self) -> bool | None:
        """Tell whether the DLQ could be written; None where that cannot be known."""
        dlq = self._adapter.processor.dlq
        if not isinstance(dlq, DeadLetterStore):
            return None
        try:
            dlq.check()
        except DeadLetterStoreError:
            return False
        return True


class HealthFile:
    """Keeps a file with the health of a run, written whole each time, removed at the end.

    :param path: the file.
    :raises click.UsageError: it cannot be written.
    """

    def __init__(self, health: Health, path: Path) -> None:
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
            except OSError as error:  # a full disk must not end the run
                logger.warning("cannot write the health file: %s", error.strerror)

    def _write(self) -> None:
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        fresh.write_text(json.dumps(self._health.look()) + "\n")
        fresh.replace(self._path)


class HealthPort:
    """Answers probes on a loopback port: ``/live`` and ``/ready`` with 200 or 503.

    :param port: the port; 0 takes a free one.
    :raises click.UsageError: it cannot be listened on.
    """

    def __init__(self, health: Health, port: int) -> None:
        self._health = health
        self._port = port

    def __enter__(self) -> HealthPort:
        handler = type("Probe", (_Probe,), {"health": self._health})
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        except OSError as error:
            raise click.UsageError(
                f"the health port {self._port} cannot be listened on: {error.strerror}"
            ) from error
        self._server.daemon_threads = True
        logger.info("health on http://127.0.0.1:%d/live and /ready", self._server.server_port)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="missive-health-port", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Probe(BaseHTTPRequestHandler):
    """Answers one probe."""

    health: Health
    #: How long a probe may take to say what it wants, in seconds.
    timeout = 5

    def do_GET(self) -> None:
        """Answer with the health as JSON; 503 where what was asked for is not so."""
        question = self.path.partition("?")[0].strip("/")
        if question not in ("", "live", "ready"):
            self.send_error(404)
            return
        found = self.health.look()
        body = json.dumps(found).encode() + b"\n"
        self.send_response(200 if found.get(question, True) else 503)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Log nothing at all: probes come every few seconds."""


def watch_health(
    adapter: Adapter[Any], path: Path | None, port: int | None, stall: float
) -> ExitStack:
    """Give what keeps the health file and the health port, as they are asked for; enter it.

    :raises click.UsageError: one of them cannot be had.
    """
    stack = ExitStack()
    health = Health(adapter, stall)
    if path is not None:
        stack.enter_context(HealthFile(health, path))
    if port is not None:
        try:
            stack.enter_context(HealthPort(health, port))
        except BaseException:
            stack.close()
            raise
    return stack


def _iso(when: datetime | None) -> str | None:
    return when.isoformat(timespec="milliseconds") if when is not None else None
