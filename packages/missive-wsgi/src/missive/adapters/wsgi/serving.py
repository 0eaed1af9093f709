"""Serving: what ``run`` does, with werkzeug's development server or with another one."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any

from missive import ShutdownHandler
from werkzeug.serving import BaseWSGIServer, make_server

from .errors import CannotListen

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from .adapter import WSGIAdapter

logger = logging.getLogger("missive.adapters.wsgi.serving")


class InterruptHandler(ShutdownHandler):
    """A shutdown handler that can also end a function which only an interrupt ends."""

    def __init__(self) -> None:
        super().__init__()
        self._interrupting = False

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the main thread, wherever it is."""
        self._interrupting = True
        if hasattr(signal, "pthread_kill"):
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, signal.SIGINT)
        else:  # Windows
            signal.raise_signal(signal.SIGINT)

    def signal_handler(self, signum: int, frame: Any) -> None:
        """Tell our own interrupt from a signal of somebody else's."""
        if self._interrupting:
            self._interrupting = False
            raise KeyboardInterrupt
        super().signal_handler(signum, frame)


class Answering:
    """An application, and which of its responses are still on their way.

    :param app: the application.
    """

    #: How often to check whether a response was dropped, in seconds: a server that does not close
    #: it leaves that to the garbage collector, and a finalizer must not take a lock to notify.
    CHECK_INTERVAL = 0.05

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app
        # Adding to a set and discarding from it are atomic.
        self._under_way: set[object] = set()
        self._changed = threading.Condition()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request; the response is away when the server closes or drops the iterable."""
        token = object()
        self._under_way.add(token)
        try:
            return Response(self._app(environ, start_response), self, token)
        except BaseException:
            self.leave(token)
            raise

    def forget(self, token: object) -> None:
        """Count a response no longer; safe in a finalizer."""
        self._under_way.discard(token)

    def leave(self, token: object) -> None:
        """Count a response no longer, and notify the thread that waits."""
        self.forget(token)
        with self._changed:
            self._changed.notify_all()

    def wait(self, timeout: float) -> None:
        """Wait until no response is on its way, for so many seconds at most."""
        deadline = monotonic() + timeout
        with self._changed:
            while self._under_way and (remaining := deadline - monotonic()) > 0:
                self._changed.wait(min(remaining, self.CHECK_INTERVAL))


class Response:
    """The iterable of a response, counted until the server closes it or drops it.

    Werkzeug's server drops it unclosed where the sender resets the connection.
    """

    def __init__(self, parts: Iterable[bytes], answering: Answering, token: object) -> None:
        self._parts = parts
        self._answering = answering
        self._token = token

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._parts)

    def close(self) -> None:
        """Say that the response is away."""
        self._answering.leave(self._token)

    def __del__(self) -> None:
        self._answering.forget(self._token)


class DevelopmentServer:
    """Werkzeug's server, which first finishes what it has begun to answer.

    :param adapter: the application.
    :param host: the host to listen on.
    :param port: the port.
    :raises CannotListen: the address cannot be had.
    """

    def __init__(self, adapter: WSGIAdapter[Any], host: str, port: int) -> None:
        self._adapter = adapter
        self._answering = Answering(adapter)
        self._error: BaseException | None = None
        # Werkzeug itself would print and exit where the address is taken.
        with _listen(host, port) as listener:
            self._server: BaseWSGIServer = make_server(
                host, port, self._answering, threaded=True, fd=listener.fileno()
            )
        self.address = (host, self._server.port)

    def run(self) -> None:
        """Serve until the shutdown handler's flag is set, then drain."""
        adapter = self._adapter
        thread = threading.Thread(target=self._serve, name="missive-wsgi-server", daemon=True)
        try:
            adapter.process.open()
            logger.warning(
                "serving on http://%s:%d with a server for development only; in production give"
                " the application to a WSGI server such as gunicorn, uWSGI or waitress",
                *self.address,
            )
            thread.start()
            adapter.announce(self.address)
            adapter.shutdown_handler.wait_for_flag()
        finally:
            try:
                # New requests are answered 503 meanwhile.
                adapter.close()
                self._answering.wait(adapter.drain_timeout)
            finally:
                if thread.is_alive():
                    self._server.shutdown()
                    thread.join()
                self._server.server_close()
        if self._error is not None:
            raise self._error

    def _serve(self) -> None:
        try:
            self._server.serve_forever(poll_interval=0.05)
        except BaseException as error:  # carried to the thread that called run()
            self._error = error
        finally:
            self._adapter.shutdown_handler.set_flag()


def _listen(host: str, port: int) -> socket.socket:
    if not isinstance(port, int) or not 0 <= port <= 65535:
        raise CannotListen(host, port, "a port is a number from 0 to 65535")
    # As werkzeug tells the families apart.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise CannotListen(host, port, error.strerror or str(error)) from error
    except UnicodeError as error:  # how a name that cannot be one fails
        raise CannotListen(host, port, "this is not the name of a host") from error


class OtherServer:
    """A server of another make, known by the function that serves until it is interrupted.

    :param function: called with the application, ``host`` and ``port``.
    :param adapter: the application.
    :param host: the host to listen on.
    :param port: the port.
    """

    #: How long an interrupt may take to work before another follows, in seconds. Some servers lose
    #: one that comes while they answer a request.
    PATIENCE = 1.0

    def __init__(
        self, function: Callable[..., Any], adapter: WSGIAdapter[Any], host: str, port: int
    ) -> None:
        self._function = function
        self._adapter = adapter
        self._answering = Answering(adapter)
        self.address = (host, port)
        self._in_main = threading.current_thread() is threading.main_thread()
        self._lock = threading.Lock()
        self._returned = threading.Event()

    def run(self) -> None:
        """Serve until the function returns, or the shutdown handler's flag is set."""
        adapter = self._adapter
        host, port = self.address
        # A thread that waits from the start: a signal handler must not start one.
        stopper = threading.Thread(target=self._stop_server, name="missive-wsgi-stop", daemon=True)
        stopper.start()
        try:
            adapter.process.open()
            adapter.announce(self.address)
            try:
                self._function(self._answering, host=host, port=port)
            finally:
                with self._lock:
                    self._returned.set()
        except KeyboardInterrupt:
            if not adapter.shutdown_handler.should_exit():
                raise
        finally:
            self._returned.set()  # also where the interrupt kept us from the lock
            adapter.shutdown_handler.set_flag()
            adapter.close()

    def _stop_server(self) -> None:
        """Wait for the flag, let what is in flight be answered, and interrupt the server."""
        adapter = self._adapter
        adapter.shutdown_handler.wait_for_flag()
        if self._returned.is_set():
            return
        adapter.refuse()
        self._answering.wait(adapter.drain_timeout)
        if not self._in_main:
            logger.error(
                "stop() cannot end a server that runs outside the main thread; it answers 503"
            )
            return
        while not self._returned.is_set():
            with self._lock:
                if not self._returned.is_set():
                    adapter.shutdown_handler.interrupt()
            self._returned.wait(self.PATIENCE)
