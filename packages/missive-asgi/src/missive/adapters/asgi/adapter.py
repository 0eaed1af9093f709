"""The ASGI adapter: a processor as an ASGI application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from missive import ConfigurationError, M, Processor
from missive.polling import place_of
from missive.webhooks.serving import WebhookAdapter

from .protocol import Receive, Scope, Send
from .reception import ASGIReception
from .server_run import ServerRun

if TYPE_CHECKING:
    from missive.webhooks.serving import WebhookOptions
    from typing_extensions import Unpack

logger = logging.getLogger("missive.adapters.asgi")


class ASGIAdapter(WebhookAdapter[M]):
    """Takes each POST on a path as a message, and answers with what became of it.

    The adapter is the ASGI application: give it to any ASGI server, or mount it into Starlette or
    FastAPI. ``async def`` handlers run on the server's event loop, plain ones in threads. The
    processing hooks run within the server's lifespan: the before-hooks at its start, the
    after-hooks at its end. If the server or the framework does not pass the lifespan on, as for
    mounted applications, use :meth:`lifespan`. Otherwise the before-hooks run before the first
    message, and nothing runs the after-hooks.

    :param message_cls: makes a message of the bytes of a body.
    :param processor: the processor to run.
    :param threads: how many plain handlers run at once.
    :param options: what every :class:`~missive.webhooks.WebhookAdapter` takes.
    :raises ConfigurationError: an argument cannot work.
    """

    def __init__(
        self,
        message_cls: Callable[[bytes], M],
        processor: Processor[M],
        *,
        threads: int = 40,
        **options: Unpack[WebhookOptions],
    ) -> None:
        super().__init__(message_cls, processor, **options)
        if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
            raise ConfigurationError(f"threads={threads!r}; give a whole number of 1 or more")
        self.threads = threads
        self._reception: ASGIReception[M] = ASGIReception(self)
        self._run: ServerRun[M] = ServerRun(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or live as long as the server; the interface of ASGI 3."""
        kind = scope["type"]
        if kind == "http":
            run = self._run
            usual = scope["path"] == self.path and scope["method"] == "POST"
            if usual and not scope.get("root_path") and not run.refusing:
                answer = await self._reception.receive(scope, receive, run)
            else:
                answer = await self._reception.answer(scope, receive, run)
            if answer is None:
                return
            body = b"" if scope["method"] == "HEAD" else answer.body
            # A copy, since middleware may change the list that it is given.
            headers = answer.raw_headers.copy()
            try:
                await send(
                    {"type": "http.response.start", "status": answer.status, "headers": headers}
                )
                await send({"type": "http.response.body", "body": body})
            except OSError:  # by version 2.4 of the protocol's HTTP part; the outcome stands
                logger.info("the sender went away before it was answered")
        elif kind == "lifespan":
            await self._live(receive, send)
        elif kind == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        else:
            raise ValueError(f"an ASGIAdapter does not speak {kind!r}")

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        if not await _reported("startup", self.startup, send):
            return
        await receive()
        await _reported("shutdown", self.shutdown, send)

    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncGenerator[None]:
        """Start the run, and end it however the ``async with`` ends.

        For an application that this one is mounted into: ``FastAPI(lifespan=adapter.lifespan)``.

        :param app: the application; not used.
        """
        await self.startup()
        try:
            yield
        finally:
            await self.shutdown()

    async def startup(self) -> None:
        """Begin now rather than at the first message: run the before-hooks, or open the inbox.

        With an inbox, what earlier processes left in it is handled from then on.

        :raises BaseException: what a hook raised.
        """
        if self._run.refusing:  # a run was ended before
            self._run = ServerRun(self)
        await self._run.open()

    async def shutdown(self) -> None:
        """End the run: refuse messages, wait for those in flight, run the after-hooks.

        Called again it does nothing. Not to be called by a handler, whose own message it would
        wait for.

        :raises DrainTimeout: handlers had not finished ``drain_timeout`` after the call, and were
            cancelled.
        :raises BaseException: what a hook raised.
        """
        self.stop()
        await self._run.close(self.drain_timeout)

    def stop(self) -> None:
        """Answer 503 from now on, and let what is in flight finish; a first step of ``shutdown``."""
        self._run.refusing = True
        self.ready.clear()

    def set_ready(self) -> None:
        """Note that a message that is sent now would be handled, unless the end has begun."""
        if not self._run.refusing:
            self.ready.set()


async def _reported(what: str, step: Callable[[], Any], send: Send) -> bool:
    """Take a step of the lifespan, and tell the server whether it succeeded."""
    try:
        await step()
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # the server is told, and ends
        text = f"{type(error).__name__} at {place_of(error)}"
        logger.error("%s failed: %s", what, text)
        logger.debug("the error in full", exc_info=error)
        await send({"type": f"lifespan.{what}.failed", "message": text})
        return False
    await send({"type": f"lifespan.{what}.complete"})
    return True
