"""The link: a connection of nats-py, on an event loop in a thread of its own.

Not on the loop of async handlers: one of those that blocks its loop would keep the client from
answering the server's pings and from extending leases, and settlement belongs to another thread.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any, TypeVar

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from .errors import NATS_ERRORS, APIRefused, NATSUnavailable, ServerSaid, text_of
from .servers import Servers

logger = logging.getLogger("missive.adapters.nats.link")

T = TypeVar("T")
#: How long an answer of the server may take, and how long the farewell, in seconds.
ANSWER_TIMEOUT, CLOSE_TIMEOUT = 10.0, 2.0
#: How often ``stop`` is looked at while an answer is awaited, in seconds.
STEP = 0.05


class Link:
    """A connection to NATS; its methods are for other threads, unless they are coroutines.

    :param servers: where and as whom to connect.
    :param wake: called when the connection is lost.
    :param gives_up: returns whether to give up connecting, as after ``stop``.
    :raises Exception: it cannot be opened.

    :ivar client: nats-py's client; for the loop's thread alone.
    :ivar failure: what the connection was lost by; None while it lasts.
    """

    client: Client

    def __init__(
        self, servers: Servers, wake: Callable[[], None], gives_up: Callable[[], bool]
    ) -> None:
        self.failure: Exception | None = None
        self.servers = servers
        self._wake = wake
        self._closing = False
        self.loop = asyncio.new_event_loop()
        self._broken = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._run, name="missive-nats", daemon=True)
        self._thread.start()
        try:
            connecting = servers.connect(self._on_error, self._on_close)
            self.client = self.run(connecting, 2 * ANSWER_TIMEOUT, gives_up)
        except BaseException:
            self.close()
            raise

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.run_until_complete(self._cancel_all())
            self.loop.close()

    async def _cancel_all(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # lets closed transports leave the loop

    # What nats-py reports, on the loop.

    async def _on_error(self, error: Exception) -> None:
        said = text_of(error)
        if "permissions violation" in said.lower():
            self.fail(error)
        else:
            logger.debug("nats-py: %s", said)

    async def _on_close(self) -> None:
        if not self._closing:
            error = self.client.last_error if hasattr(self, "client") else None
            self.fail(error or errors.ConnectionClosedError())

    def fail(self, error: Exception) -> None:
        """Note what the connection was lost by; on the loop."""
        if self.failure is None:
            self.failure = error
            self._broken.set()
            self._wake()

    # For other threads.

    def check(self) -> None:
        """Raise what the connection was lost by.

        :raises Exception: it was lost.
        """
        if self.failure is not None:
            raise self.failure

    def run(
        self,
        coroutine: Coroutine[Any, Any, T],
        timeout: float = ANSWER_TIMEOUT,
        gives_up: Callable[[], bool] = bool,
    ) -> T:
        """Run a coroutine on the loop, and return its result.

        :param timeout: in seconds.
        :param gives_up: returns whether to give up waiting.
        :raises NATSUnavailable: it took too long, or ``gives_up`` said so.
        :raises Exception: what the coroutine raised.
        """
        future: Future[T] = asyncio.run_coroutine_threadsafe(
            asyncio.wait_for(coroutine, timeout), self.loop
        )
        while not wait([future], STEP).done:
            if gives_up():
                future.cancel()
                raise NATSUnavailable("given up, since the run is ending")
        try:
            return future.result()
        except asyncio.TimeoutError as error:
            raise NATSUnavailable(f"no answer within {timeout:g} s") from error

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Have a function called on the loop, after what was asked for before."""
        with suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(function, *arguments)

    def post(self, frames: Iterable[tuple[str, bytes]]) -> None:
        """Publish subjects and payloads, without waiting."""
        self.call(self.spawn, self.publish(frames))

    # For the loop.

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine beside others; an error of the connection is noted."""
        task = self.loop.create_task(self._guarded(coroutine))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        try:
            await coroutine
        except NATS_ERRORS as error:
            self.fail(error)

    async def publish(self, frames: Iterable[tuple[str, bytes]]) -> None:
        """Publish subjects and payloads."""
        publish = self.client.publish
        for subject, payload in frames:
            await publish(subject, payload)

    async def deliver(self, frames: Iterable[tuple[str, bytes]]) -> None:
        """Publish subjects and payloads, and wait until the server has them."""
        await self.publish(frames)
        await self.reach()

    async def reach(self) -> None:
        """Wait until the server has read everything that was sent before.

        The ping of nats-py's ``flush`` overtakes what waits to be written, which is written by the
        time that its answer comes; so the second ping is behind it.
        """
        await self.client.flush()
        await self.client.flush()

    async def subscribe(
        self, subject: str, take: Callable[[Msg], Awaitable[None]], queue: str = ""
    ) -> Subscription:
        """Subscribe to a subject.

        :param take: called with each message.
        :param queue: the queue group to join; empty for none.
        """
        # Without a limit in bytes, beyond which nats-py drops messages; the callback takes them all.
        return await self.client.subscribe(  # pyright: ignore[reportUnknownMemberType]
            subject, queue=queue, cb=take, pending_bytes_limit=0
        )

    async def ask(self, subject: str, request: object = None) -> dict[str, Any]:
        """Ask JetStream's API.

        :raises APIRefused: it answered with an error.
        :raises Exception: there was no answer, or the connection was lost meanwhile.
        """
        payload = b"" if request is None else json.dumps(request).encode()
        asked = asyncio.ensure_future(
            self.client.request(subject, payload, timeout=ANSWER_TIMEOUT / 2)
        )
        broken = asyncio.ensure_future(self._broken.wait())
        try:
            await asyncio.wait({asked, broken}, return_when=asyncio.FIRST_COMPLETED)
            if not asked.done():
                self.check()
            answer: dict[str, Any] = json.loads((await asked).data)
        except errors.NoRespondersError as error:
            said = "JetStream does not answer; is it enabled, and its cluster up?"
            raise ServerSaid(said) from error
        finally:
            for task in (asked, broken):
                task.cancel()
        refused = answer.get("error")
        if refused is not None:
            raise APIRefused(
                int(refused.get("code", 0)),
                int(refused.get("err_code", 0)),
                str(refused.get("description", "an error without a description")),
            )
        return answer

    # The end.

    def close(self, last: Iterable[tuple[str, bytes]] = ()) -> None:
        """Take leave, from any state.

        :param last: subjects and payloads to publish before.
        """
        try:
            if self.loop.is_running():
                self.run(self._leave(list(last)), 2 * CLOSE_TIMEOUT)
        except NATS_ERRORS as error:
            logger.debug("closing: %s", type(error).__name__)
        except NATSUnavailable:
            logger.debug("closing took too long")
        finally:
            self.call(self.loop.stop)
            self._thread.join()

    async def _leave(self, last: list[tuple[str, bytes]]) -> None:
        self._closing = True
        client: Client | None = getattr(self, "client", None)
        if client is not None and client.is_connected:
            with suppress(*NATS_ERRORS):
                await asyncio.wait_for(self.deliver(last), CLOSE_TIMEOUT)
        if client is not None and not client.is_closed:
            with suppress(*NATS_ERRORS):
                await asyncio.wait_for(client.close(), CLOSE_TIMEOUT)
