"""The health port: answers the probes of a run."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import click

from .health import LOOPBACK, Looks
from .logs import command_logger
from .telemetry import Expose

logger = command_logger("missive.cli.health_port")


class _ServerV6(ThreadingHTTPServer):
    """The server of an IPv6 address."""

    address_family = socket.AF_INET6


class HealthPort:
    """Answers probes: ``/live`` and ``/ready`` with 200 or 503; and ``/metrics`` where it can.

    :param host: the address to listen on.
    :param port: the port; 0 takes a free one.
    :param expose: returns the metrics; None where there are none.
    :raises click.UsageError: it cannot be opened.
    """

    def __init__(self, health: Looks, host: str, port: int, expose: Expose | None = None) -> None:
        self._health = health
        self._host = host
        self._port = port
        self._expose = expose

    def __enter__(self) -> HealthPort:
        answers = {"health": self._health, "expose": staticmethod(self._expose or _no_metrics)}
        handler = type("Probe", (_Probe,), answers)
        kind = _ServerV6 if ":" in self._host else ThreadingHTTPServer
        try:
            self._server = kind((self._host, self._port), handler)
        except (OSError, UnicodeError) as error:
            at = "" if self._host == LOOPBACK else f" of {self._host}"
            why = getattr(error, "strerror", None) or error
            raise click.UsageError(
                f"the health port {self._port}{at} cannot be opened: {why}"
            ) from error
        self._server.daemon_threads = True
        shown = f"[{self._host}]" if ":" in self._host else self._host
        more = ", metrics on /metrics" if self._expose is not None else ""
        logger.info(
            "health on http://%s:%d/live and /ready%s", shown, self._server.server_port, more
        )
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


def _no_metrics(accept: str) -> tuple[str, bytes] | None:
    return None


class _Probe(BaseHTTPRequestHandler):
    """Answers one probe."""

    health: Looks
    expose: Callable[[str], tuple[str, bytes] | None]
    #: How long a probe may take to say what it wants, in seconds.
    timeout = 5

    def do_GET(self) -> None:
        """Answer with the health as JSON, 503 where what was asked for is not so; or the metrics."""
        question = self.path.partition("?")[0].strip("/")
        if question == "metrics":
            self._answer_metrics()
        elif question in ("", "live", "ready"):
            found = self.health.look()
            body = json.dumps(found).encode() + b"\n"
            self._answer(200 if found.get(question, True) else 503, "application/json", body)
        else:
            self.send_error(404)

    def _answer_metrics(self) -> None:
        exposed = self.expose(self.headers.get("Accept", ""))
        if exposed is None:
            self.send_error(404, explain="metrics need --metrics-port")
        else:
            self._answer(200, *exposed)

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - some probes ask for no more than the status

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Log nothing at all: probes come every few seconds."""
