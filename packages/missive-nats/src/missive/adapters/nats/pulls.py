"""Pulls: requests for messages of a consumer, one after the other.

nats-py's own ``fetch`` hides most of what the server says when a request ends, so these speak the
protocol themselves. Everything here is for the link's loop.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from .errors import ServerSaid
from .link import Link

logger = logging.getLogger("missive.adapters.nats.pulls")

#: How long a request for one message waits at the server, in seconds.
LINGER = 30.0
#: How long to wait before the next request after one that the server could not serve, in seconds.
PAUSE = 0.25
#: So many heartbeats are missed before the server is taken for silent.
MISSED = 3


class Pulls:
    """Asks the server for what is there, and if that is nothing, for the next message.

    A request for many never waits at the server: one that does may take a crowd of messages that
    are due for redelivery, of which one may kill its process, and all of which others could have.

    :param link: the connection.
    :param subject: where a consumer is asked for messages.
    :param batch: how many to ask for at once.
    :param linger: how long a request may wait at the server, in seconds.
    :param take: called with each message.
    """

    def __init__(
        self, link: Link, subject: str, batch: int, linger: float, take: Callable[[Msg], None]
    ) -> None:
        self._link = link
        self._subject = subject
        self._batch = batch
        self._linger = linger
        # The server wants a heartbeat to be at most half of that.
        self._heartbeat = min(link.servers.heartbeat, linger / 2.5)
        self._take = take
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._number = 0
        self._left = self._got = 0
        self._lingers = False
        self._heard_at = 0.0
        self._look: Any = None
        self._warned: set[str] = set()
        #: Whether a request is under way.
        self.is_active = False

    async def demand(self, most: int | None = None) -> None:
        """Ask for messages, unless a request is under way.

        :param most: how many at most; the size of a batch unless given.
        """
        if self.is_active or self._link.failure is not None:
            return
        self.is_active = True
        if self._subscription is None:
            self._inbox = self._link.client.new_inbox()
            self._subscription = await self._link.subscribe(f"{self._inbox}.*", self._on_message)
        await self._ask(min(most or self._batch, self._batch), lingers=False)

    async def _ask(self, batch: int, *, lingers: bool) -> None:
        self._number += 1
        self._left, self._got, self._lingers = batch, 0, lingers
        request: dict[str, object] = {"batch": batch}
        if lingers:
            request["expires"] = int(self._linger * 1e9)
            request["idle_heartbeat"] = int(self._heartbeat * 1e9)
        else:
            request["no_wait"] = True
        self._heard_at = self._link.loop.time()
        if self._look is None:
            self._watch()
        await self._link.client.publish(
            self._subject, json.dumps(request).encode(), f"{self._inbox}.{self._number}"
        )

    async def cancel(self) -> None:
        """Withdraw the request that is under way; what it has brought so far is taken."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.drain()  # type: ignore[no-untyped-call]
        self._end()

    def _end(self) -> None:
        self.is_active = False
        if self._look is not None:
            self._look.cancel()
            self._look = None

    async def _on_message(self, msg: Msg) -> None:
        self._heard_at = self._link.loop.time()
        if not msg.reply:
            await self._on_status(msg)
            return
        self._got += 1
        self._left -= 1
        self._take(msg)
        if self._left <= 0:
            self._end()

    async def _on_status(self, msg: Msg) -> None:
        """Take note of how a request ends, or that it lasts."""
        headers = msg.headers or {}
        status, said = headers.get("Status", ""), headers.get("Description", "").strip()
        if status == "100" or msg.subject != f"{self._inbox}.{self._number}":
            return  # it lasts; or it is about an earlier one
        if status in ("404", "408"):
            if self._lingers or self._got:
                self._end()
            else:
                await self._ask(1, lingers=True)
        elif status == "409" and "deleted" not in said.lower():
            self._pause(said)
        elif status == "503":
            self._link.fail(ServerSaid("the consumer does not answer"))
        else:
            self._link.fail(ServerSaid(said or f"status {status}"))

    def _pause(self, said: str) -> None:
        """Ask again a little later: the server cannot serve at the moment."""
        if said not in self._warned:
            self._warned.add(said)
            logger.warning("NATS ended a request for messages (%s); asking again", said)
        self._lingers = True  # so that a silence is noticed, whatever comes
        self._heard_at = self._link.loop.time()
        self._link.loop.call_later(PAUSE, self._end_of, self._number)

    def _end_of(self, number: int) -> None:
        if number == self._number:
            self._end()

    # Silence.

    def _watch(self) -> None:
        self._look = self._link.loop.call_later(self._heartbeat, self._look_for_silence)

    def _look_for_silence(self) -> None:
        self._look = None
        if not self.is_active:
            return
        silent = self._link.loop.time() - self._heard_at
        if silent >= MISSED * self._heartbeat and self._lingers:
            self._link.fail(ServerSaid(f"silent for {silent:.1f} s"))
            return
        self._watch()
        if silent >= self._heartbeat / 2 and not self._lingers:
            # Nothing says so, but too much may be unsettled for more; this one has heartbeats.
            self._link.spawn(self._ask(1, lingers=True))
