"""The WSGI adapter: a processor as a WSGI application."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from os import getpid
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from missive import ConfigurationError, M, Processor
from missive.polling import read_flag, read_options
from missive.webhooks import answers
from missive.webhooks.serving import WebhookAdapter

from .delivery import encode
from .process import ServerProcess
from .reception import WSGIReception
from .serving import DevelopmentServer, InterruptHandler, OtherServer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from missive.webhooks.serving import WebhookOptions
    from typing_extensions import Unpack


class WSGIAdapter(WebhookAdapter[M]):
    """Takes each POST on a path as a message, and answers with what became of it.

    The adapter is the WSGI application: give it to any WSGI server. Requests may be handled in many
    threads and processes at once. Processing hooks run once in each process of the server: the
    before-hooks before its first message, or at :meth:`open`; the after-hooks at :meth:`close`, or
    when the process exits.

    :param message_cls: makes a message of the bytes of a body.
    :param processor: the processor to run.
    :param options: what every :class:`~missive.webhooks.WebhookAdapter` takes.
    :raises ConfigurationError: an argument cannot work.

    :ivar address: where ``run`` listens, as (host, port); None while it does not.
    """

    #: Where ``run`` listens unless told otherwise.
    host, port = "127.0.0.1", 8000

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        processor: Processor[M],
        **options: Unpack[WebhookOptions],
    ) -> None:
        super().__init__(message_cls, processor, **options)
        reception = WSGIReception(self)
        # Most requests go to _receive without a detour (benchmarks/wsgi.py).
        self._answer, self._receive = reception.answer, reception.receive
        self._path_info = encode(self.path)
        self.address: tuple[str, int] | None = None
        self.shutdown_handler = InterruptHandler()
        self._running = threading.Lock()
        # By process id, since a server forks after the adapter was built, and setdefault is atomic.
        self._process: ServerProcess[M] = ServerProcess(self)
        self._processes = {self._process.pid: self._process}

    @classmethod
    def from_url(
        cls,
        url: str,
        message_cls: Callable[[bytes], Any],
        processor: Processor[Any],
        **keywords: Any,
    ) -> WSGIAdapter[Any]:
        """Build the adapter from ``http://HOST:PORT/PATH``, with options in the query if need be.

        Host and port are where ``run`` listens; port 8000 unless given. The query may hold
        ``max_content_length``, ``id_header``, ``nack_status``, ``retry_after``, ``drain_timeout``,
        ``inbox`` and ``inbox_workers``.
        """
        readers: dict[str, Callable[[str], Any]] = {
            "max_content_length": int,
            "id_header": str,
            "nack_status": int,
            "retry_after": int,
            "drain_timeout": float,
            "inbox": read_flag,
            "inbox_workers": int,
        }
        parts = urlsplit(url)
        if parts.username is not None or parts.fragment:
            raise ConfigurationError(
                "an http: URL for a WSGIAdapter has neither a user nor a fragment; write it as"
                " http://HOST:PORT/PATH, and give verify=... to authenticate senders"
            )
        try:
            port = parts.port
        except ValueError as error:
            raise ConfigurationError(
                f"the port in the http: URL cannot be used: {error}"
            ) from error
        given: dict[str, Any] = {
            "path": unquote(parts.path, errors="surrogateescape") or "/",
            **read_options(url, readers),
            **keywords,
        }
        adapter: WSGIAdapter[Any] = cls(message_cls, processor, **given)
        adapter.host = parts.hostname or cls.host
        adapter.port = cls.port if port is None else port
        return adapter

    @property
    def app(self) -> WSGIApplication:
        """The WSGI application: the adapter itself."""
        return self

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request; the interface of PEP 3333."""
        process = self._process
        if process.pid != getpid():
            process = self.process
        method = environ["REQUEST_METHOD"]
        if method == "POST" and environ.get("PATH_INFO") == self._path_info:
            answer = answers.DRAINING if process.refusing else self._receive(environ, process)
        else:
            answer = self._answer(environ, process)
        # A copy, since PEP 3333 lets a server change the list that it is given.
        start_response(answer.line, answer.headers.copy())
        return () if method == "HEAD" else answer.parts

    # The life of a process.

    @property
    def process(self) -> ServerProcess[M]:
        """What belongs to the process that asks, which may be a fork of that of the constructor."""
        if self._process.pid != getpid():
            self._process = self._processes.setdefault(getpid(), ServerProcess(self))
        return self._process

    def open_process(self, process: ServerProcess[M]) -> None:
        """Run the before-hooks of a process, or open its inbox, unless that was done.

        :raises BaseException: what a hook raised.
        """
        if not process.is_open and process.open():
            self.set_ready(process)

    def set_ready(self, process: ServerProcess[M] | None = None) -> None:
        """Note that a message that is sent now would be handled."""
        process = process or self.process
        self.ready.set()
        if process.refusing:  # since stop() was called meanwhile
            self.ready.clear()

    def open(self) -> None:
        """Begin now rather than at the first message: run the before-hooks, or open the inbox.

        With an inbox, what earlier processes left in it is handled from then on.

        :raises BaseException: what a hook raised.
        """
        self.open_process(self.process)

    def close(self) -> None:
        """End this process's run: refuse messages, wait for those in flight, run the after-hooks.

        Called again it does nothing; at the exit of the process it is called by itself. Not to be
        called by a handler, whose own message it would wait for.

        :raises DrainTimeout: handlers were not through ``drain_timeout`` after the call.
        :raises BaseException: what a hook raised.
        """
        self.refuse()
        self.process.close(self.drain_timeout)

    def refuse(self) -> None:
        """Answer 503 from now on, and let go on what is in flight; a first step of ``close``."""
        self.process.refusing = True
        self.ready.clear()

    def announce(self, address: tuple[str, int]) -> None:
        """Take note that a server listens, unless ``stop`` was called meanwhile."""
        self.address = address
        self.set_ready(self.process)

    def run(
        self,
        host: str | None = None,
        port: int | None = None,
        server: Callable[..., Any] | None = None,
    ) -> None:
        """Serve until ``stop``, by werkzeug's server for development unless told otherwise.

        In the main thread SIGINT and SIGTERM stop it; a second one ends the process.

        :param host: the host to listen on; 127.0.0.1 unless given here or in the URL.
        :param port: the port; 8000 unless given here or in the URL; 0 for any that is free.
        :param server: another server's function, such as ``waitress.serve``, called with the
            application, ``host=`` and ``port=``. Since only an interrupt ends it, ``stop`` and the
            signals can end it only where ``run`` is called in the main thread.
        :raises CannotListen: the address cannot be had.
        :raises DrainTimeout: handlers were not through ``drain_timeout`` after ``stop``.
        :raises BaseException: what a processing hook raised.
        """
        if not self._running.acquire(blocking=False):
            raise ConfigurationError(
                "this WSGIAdapter is running already; build one for each server"
            )
        try:
            self._renew_process()
            if self.shutdown_handler.should_exit():
                return
            host = self.host if host is None else host
            port = self.port if port is None else port
            serving: DevelopmentServer | OtherServer = (
                DevelopmentServer(self, host, port)
                if server is None
                else OtherServer(server, self, host, port)
            )
            self.shutdown_handler.enable()
            serving.run()
        finally:
            self.shutdown_handler.disable()
            self.shutdown_handler.clear_flag()
            self.ready.clear()
            self.address = None
            self._running.release()

    def stop(self) -> None:
        """Ask ``run`` to finish what is in flight and return; new messages are answered 503.

        From any thread or a handler, any number of times. Before ``run`` it makes the next ``run``
        return at once. Under a server that was not started by ``run`` it only begins to refuse.
        """
        self.refuse()
        self.shutdown_handler.set_flag()

    def _renew_process(self) -> None:
        """Begin anew where this process's run was ended before."""
        if self.process.refusing:
            self._process = self._processes[getpid()] = ServerProcess(self)
