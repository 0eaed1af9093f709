"""Serving: the page by itself, until the process is asked to end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from missive import ConfigurationError
from missive.shutdown_handler import ShutdownHandler
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from collections.abc import Generator

    from .app import DeadLetterApp

#: How long a browser may take to send a request, in seconds.
_PATIENCE = 30.0


class _Handler(WSGIRequestHandler):
    """Answers without a line in the log for each request, and waits for no browser for ever."""

    timeout = _PATIENCE

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write nothing."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        """Write nothing: what a browser sends wrongly is its own fault."""


def run(
    app: DeadLetterApp,
    host: str,
    port: int,
    on_ready: Callable[[str], None] | None,
) -> None:
    """Serve the page until SIGINT, SIGTERM or SIGHUP, then end what is being done.

    :param on_ready: called with the address when the page can be looked at.
    :raises ConfigurationError: it may not, or cannot, be served there.
    """
    if app.access.is_open and not _is_loopback(host):
        raise ConfigurationError(
            f"no login is required, so the page is not served on {host}; give it a token or users, or"
            " serve it on 127.0.0.1"
        )
    with listening(app, host, port) as server:
        if on_ready is not None:
            shown = f"[{server.host}]" if ":" in server.host else server.host
            on_ready(f"http://{shown}:{server.port}/")
        handler = ShutdownHandler()
        handler.enable()
        try:
            handler.wait_for_flag()
        finally:
            handler.disable()


@contextmanager
def listening(app: DeadLetterApp, host: str, port: int) -> Generator[BaseWSGIServer]:
    """Serve the page in a thread for as long as the block runs; end what is being done after it.

    :raises ConfigurationError: the address cannot be had.
    """
    try:
        server = make_server(host, port, app, threaded=True, request_handler=_Handler)
    except (OSError, SystemExit) as error:
        raise ConfigurationError(
            f"the page cannot be served on {host} port {port}: choose another --port, or end what"
            " is there"
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="missive-web", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        app.close()
        server.shutdown()
        thread.join()
        server.server_close()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
