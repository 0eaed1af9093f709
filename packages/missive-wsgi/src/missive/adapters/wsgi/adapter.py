"""The WSGI adapter: a processor as a WSGI application."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from os import getpid
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from missive import (
    Adapter,
    Capabilities,
    ConfigurationError,
    DeadLetterStore,
    DeadLetterWriteFailed,
    Headers,
    M,
    MessageError,
    Outcome,
    ProcessingContext,
    Processor,
    Verdict,
    format_id,
    read_options,
)
from missive.hooks import place_of
from missive.messages import check_message_cls

from . import options, responses
from .bodies import read_body
from .delivery import RequestDelivery, decode, encode
from .process import ServerProcess
from .responses import Response
from .serving import DevelopmentServer, InterruptHandler, OtherServer
from .signatures import Verifier

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

logger = logging.getLogger("missive.adapters.wsgi")


class WSGIAdapter(Adapter[M]):
    """Takes each POST on a path as a message, and answers with what became of it.

    The adapter is the WSGI application: give it to any WSGI server. Requests may be handled in
    many threads and processes at once. Processing hooks run once in each process of the server:
    the before-hooks ahead of its first message, or at :meth:`open`; the after-hooks at
    :meth:`close`, or else when the process exits.

    A sender that gets no 2xx is expected to send again, so the transport promises what the sender
    does.

    :param message_cls: makes a message of the bytes of a body.
    :param processor: the processor to run.
    :param path: the only path that takes messages, below where the application is mounted.
    :param max_content_length: the longest body that is taken, in bytes.
    :param verify: tells whether a request is its sender's own; see :mod:`.signatures`.
    :param id_header: the header with the sender's own id of a message, the same when it sends it
        again: ``X-GitHub-Delivery``, ``webhook-id``.
    :param content_types: the media types that are taken, such as ``application/json``; any unless
        given.
    :param health_paths: the paths that say whether the process lives, and whether it is ready for
        messages; None for neither.
    :param nack_status: the status for a nack, from 400 to 599; senders tell "send again" from
        "never send this again" by it.
    :param retry_after: after how many seconds a sender may try again after a nack.
    :param drain_timeout: how long handlers may go on at the end, in seconds.
    :raises ConfigurationError: these cannot work.

    :ivar ready: set while a message that is sent now would be handled: from the start of the
        process until ``stop``, and not while a before-hook fails or the DLQ cannot be written.
    :ivar address: where ``run`` listens, as (host, port); None while it does not.
    """

    capabilities = Capabilities(
        delivery="request-reply",
        nack="error-response",
        competing_consumers=True,
        headers=True,
        max_bytes=1024 * 1024,
    )
    #: Where ``run`` listens unless told otherwise.
    host, port = "127.0.0.1", 8000

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        processor: Processor[M],
        *,
        path: str = "/",
        max_content_length: int = 1024 * 1024,
        verify: Verifier | None = None,
        id_header: str | None = None,
        content_types: Iterable[str] | None = None,
        health_paths: tuple[str, str] | None = ("/healthz", "/readyz"),
        nack_status: int = 500,
        retry_after: int | None = None,
        drain_timeout: float = 30.0,
    ) -> None:
        super().__init__(processor)
        check_message_cls(message_cls)
        if retry_after is not None:
            options.check_count("retry_after", retry_after, "seconds")
        if not drain_timeout >= 0:
            raise ConfigurationError("drain_timeout of a WSGIAdapter must be 0 s or more")
        self.message_cls = message_cls
        self.path = options.check_path("path", path)
        self.max_content_length = options.check_count(
            "max_content_length", max_content_length, "bytes"
        )
        self.drain_timeout = drain_timeout
        self.health_paths = options.check_health_paths(health_paths, path)
        self.content_types = options.check_types(content_types)
        self.id_header = id_header
        self._id_key = options.environ_key(id_header)
        self._verify = options.check_verify(verify)
        self._challenge: Callable[[bytes], str | None] | None = getattr(verify, "challenge", None)
        self._nacked = responses.nacked(options.check_status(nack_status), retry_after)
        self.ready = threading.Event()
        self.address: tuple[str, int] | None = None
        self.shutdown_handler = InterruptHandler()
        self._path_info = encode(path)
        self._get_paths = {encode(each): each for each in self.health_paths}
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
        ``max_content_length``, ``id_header``, ``nack_status``, ``retry_after`` and
        ``drain_timeout``.
        """
        readers: dict[str, Callable[[str], Any]] = {
            "max_content_length": int,
            "id_header": str,
            "nack_status": int,
            "retry_after": int,
            "drain_timeout": float,
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
        if method == "POST" and (environ.get("PATH_INFO") or "/") == self._path_info:
            if process.refusing:
                return responses.DRAINING.send(start_response)
            return self._receive(environ, process).send(start_response)
        response = self._answer_other(environ, process)
        if method == "HEAD":
            return response.send_head(start_response)
        return response.send(start_response)

    def ack(self, message: M) -> None:
        """Do nothing: the response says so, by the outcome."""

    def nack(self, message: M) -> None:
        """Do nothing: the response says so, by the outcome."""

    # A request, step by step.

    def _answer_other(self, environ: WSGIEnvironment, process: ServerProcess[M]) -> Response:
        """Answer a request that is no message."""
        path_info = environ.get("PATH_INFO") or "/"
        if path_info == self._path_info:
            return responses.POST_ONLY
        path = self._get_paths.get(path_info)
        if path is None:
            return responses.NOT_FOUND
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return responses.GET_ONLY
        if path == self.health_paths[0]:
            return responses.ALIVE
        return responses.ALIVE if self._is_ready(process) else responses.NOT_READY

    def _is_ready(self, process: ServerProcess[M]) -> bool:
        if process.refusing:
            return False
        try:
            if process.broken:  # perhaps what the before-hooks need is there again
                self._open(process)
            dlq = self.processor.dlq
            if isinstance(dlq, DeadLetterStore):
                dlq.check()
        except BaseException as error:
            if _ends_server(error):
                raise
            logger.warning("not ready: %s at %s", type(error).__name__, place_of(error))
            self.ready.clear()
            return False
        if process.ctx is not None:
            self._set_ready(process)
        return True

    def _set_ready(self, process: ServerProcess[M]) -> None:
        self.ready.set()
        if process.refusing:  # since stop() was called meanwhile
            self.ready.clear()

    def _receive(self, environ: WSGIEnvironment, process: ServerProcess[M]) -> Response:
        """Take a message; this and what it calls runs for every one (benchmarks/wsgi.py)."""
        if self.content_types is not None or "HTTP_CONTENT_ENCODING" in environ:
            refusal = self._refuse_type(environ)
            if refusal is not None:
                return refusal
        body = read_body(environ, self.max_content_length)
        if isinstance(body, Response):
            return body
        message_id = self._id_key and environ.get(self._id_key)
        mount = environ.get("SCRIPT_NAME")
        delivery = RequestDelivery(
            body,
            environ,
            decode(message_id) if message_id else None,
            decode(mount) + self.path if mount else self.path,
        )
        process.in_hand.add(delivery)
        try:
            # Looked at again, now that whoever waits for what is in hand sees this delivery.
            if process.refusing:
                return responses.DRAINING
            if self._verify is not None:
                answer = self._identify(delivery)
                if answer is not None:
                    return answer
            ctx = process.ctx or self._open(process)
            if ctx is None:
                return responses.DRAINING
            # The outcome belongs to this request: it is settled here, in the request's own thread.
            verdict = ctx.take_bytes(body, delivery)
            return responses.ACKED if verdict is None else self._settle(ctx, verdict, process)
        except BaseException as error:
            if _ends_server(error):
                raise
            return self._fail(delivery, error)
        finally:
            process.in_hand.discard(delivery)
            if process.refusing:
                process.note_done()

    def _refuse_type(self, environ: WSGIEnvironment) -> Response | None:
        coding = environ.get("HTTP_CONTENT_ENCODING")
        if coding and coding.strip().lower() != "identity":
            return responses.UNSUPPORTED_CODING
        if self.content_types is not None:
            media_type = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
            if media_type not in self.content_types:
                return responses.UNSUPPORTED_TYPE
        return None

    def _identify(self, delivery: RequestDelivery) -> Response | None:
        """Answer a request that is not its sender's own, or that poses a challenge."""
        assert self._verify is not None
        delivery.headers = headers = Headers(delivery.read_headers())
        if self._verify(delivery.raw_data, headers) is not True:
            logger.warning("refused a request on %s: it is not signed as it must be", self.path)
            return responses.UNSIGNED
        if self._challenge is not None:
            challenge = self._challenge(delivery.raw_data)
            if challenge is not None:
                return Response(200, {"challenge": challenge})
        return None

    def _settle(
        self, ctx: ProcessingContext[M], verdict: Verdict[M], process: ServerProcess[M]
    ) -> Response:
        (outcome,) = ctx.settle((verdict,))
        if outcome is Outcome.ACKED:
            return responses.ACKED
        if outcome is Outcome.NACKED:
            return self._nacked
        self._set_ready(process)  # the DLQ can be written, if it could not before
        return responses.DEAD_LETTERED

    def _fail(self, delivery: RequestDelivery, error: BaseException) -> Response:
        """Answer where a polling adapter would stop; the sender still has the message."""
        if isinstance(error, DeadLetterWriteFailed):  # which settlement has logged
            self.ready.clear()
        else:
            logger.error(
                "answered 500 to %s on %s: %s at %s",
                format_id(error.message.message_id)
                if isinstance(error, MessageError)
                else delivery.name,
                delivery.source,
                type(error).__name__,
                place_of(error),
            )
            logger.debug("the error in full", exc_info=error)
        return responses.ERROR

    # The life of a process.

    @property
    def process(self) -> ServerProcess[M]:
        """What belongs to the process that asks, which may be a fork of that of the constructor."""
        if self._process.pid != getpid():
            self._process = self._processes.setdefault(getpid(), ServerProcess(self))
        return self._process

    def _open(self, process: ServerProcess[M]) -> ProcessingContext[M] | None:
        ctx = process.open()
        if ctx is not None:
            self._set_ready(process)
        return ctx

    def open(self) -> None:
        """Run the before-hooks of this process now, rather than ahead of its first message.

        :raises BaseException: what a hook raised.
        """
        self._open(self.process)

    def close(self) -> None:
        """End this process's run: refuse messages, wait for those in hand, run the after-hooks.

        Called again it does nothing; at the exit of the process it is called by itself. Not to be
        called by a handler, whose own message it would wait for.

        :raises DrainTimeout: handlers were not through ``drain_timeout`` after the call.
        :raises BaseException: what a hook raised.
        """
        self.refuse()
        self.process.close(self.drain_timeout)

    def refuse(self) -> None:
        """Answer 503 from now on, and let go on what is in hand; a first step of ``close``."""
        self.process.refusing = True
        self.ready.clear()

    def announce(self, address: tuple[str, int]) -> None:
        """Take note that a server listens, unless ``stop`` was called meanwhile."""
        self.address = address
        self._set_ready(self.process)

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
            raise ConfigurationError("this WSGIAdapter runs already; build one for each server")
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
        """Ask ``run`` to finish what is in hand and return; new messages are answered 503.

        From any thread or a handler, any number of times. Before ``run`` it makes the next ``run``
        return at once. Under a server that was not started by ``run`` it only begins to refuse.
        """
        self.refuse()
        self.shutdown_handler.set_flag()

    def _renew_process(self) -> None:
        """Begin anew where this process's run was ended before."""
        if self.process.refusing:
            self._process = self._processes[getpid()] = ServerProcess(self)


def _ends_server(error: BaseException) -> bool:
    """Tell whether an error is an exit that the server hears of.

    In the main thread it may be a signal's, and the server ends by it. In any other it would end
    that thread alone, some servers would lose a thread, and the sender would wait for ever.
    """
    return (
        not isinstance(error, Exception) and threading.current_thread() is threading.main_thread()
    )
