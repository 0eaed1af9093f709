"""Requests for messages: what each status of the server leads to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from missive.adapters.nats import pulls
from missive.adapters.nats.pulls import Pulls
from nats.aio.msg import Msg


class Server:
    """Stands for the link and the server: notes the requests, and answers as the test says."""

    def __init__(self) -> None:
        self.servers = SimpleNamespace(heartbeat=60.0)
        self.loop = asyncio.get_running_loop()
        self.failure: Exception | None = None
        self.requests: list[dict[str, Any]] = []
        self.inboxes: list[str] = []
        self.take: Any = None
        self.drained = 0
        self.client: Any = SimpleNamespace(new_inbox=lambda: "inbox", publish=self.publish)

    async def publish(self, subject: str, payload: bytes, reply: str) -> None:
        """Take a request."""
        self.requests.append(json.loads(payload))
        self.inboxes.append(reply)

    async def subscribe(self, subject: str, take: Callable[[Msg], Awaitable[None]]) -> Any:
        """Take a subscription."""
        self.take = take
        return SimpleNamespace(drain=self.drain)

    async def drain(self) -> None:
        """Note that a subscription ended."""
        self.drained += 1

    def fail(self, error: Exception) -> None:
        """Note what the connection was lost by."""
        self.failure = error

    async def say(self, status: str, description: str = "") -> None:
        """Send a status that ends the latest request."""
        headers = {"Status": status, "Description": description}
        await self.take(Msg(self.client, subject=self.inboxes[-1], headers=headers))

    async def send(self, count: int) -> None:
        """Send messages."""
        for number in range(count):
            reply = f"$JS.ACK.S.c.1.{number}.1.1.1"
            await self.take(Msg(self.client, subject="s", reply=reply, data=b"x"))


def judged(test: Callable[[Server, Pulls, list[Msg]], Awaitable[None]]) -> None:
    """Run a test on an event loop, with a server and what asks it."""

    async def run() -> None:
        server, taken = Server(), list[Msg]()
        link: Any = server
        await test(server, Pulls(link, "next", 3, 30.0, taken.append), taken)

    asyncio.run(run())


def test_what_is_there_is_asked_for_first_and_then_the_next_message() -> None:
    """A request for many does not wait at the server; where nothing is there, one for one does."""

    async def test(server: Server, asking: Pulls, taken: list[Msg]) -> None:
        await asking.demand()
        await asking.demand()  # one request at a time
        assert server.requests == [{"batch": 3, "no_wait": True}]
        await server.say("404", "No Messages")
        assert server.requests[1]["batch"] == 1
        assert server.requests[1]["expires"] == 30_000_000_000
        await server.send(1)
        assert not asking.is_active
        await asking.demand()
        await server.send(3)
        assert not asking.is_active
        await asking.demand()
        await server.send(2)
        assert asking.is_active
        await server.say("408", "Request Timeout")
        assert (asking.is_active, len(taken)) == (False, 6)
        await asking.cancel()

    judged(test)


@pytest.mark.parametrize("said", ["Leadership Change", "Server Shutdown", "Exceeded MaxWaiting"])
def test_what_the_server_cannot_serve_now_is_asked_again(
    said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A leader that steps down ends a request, not the connection; the log says so once."""
    monkeypatch.setattr(pulls, "PAUSE", 0.0)

    async def test(server: Server, asking: Pulls, taken: list[Msg]) -> None:
        for _ in range(2):
            await asking.demand()
            await server.say("409", said)
            assert asking.is_active  # so that nothing is asked at once
            while asking.is_active:
                await asyncio.sleep(0)
        assert server.failure is None
        assert len(server.requests) == 2

    judged(test)
    assert caplog.text.count(said) == 1


@pytest.mark.parametrize(
    ("status", "said"),
    [("409", "Consumer Deleted"), ("503", ""), ("400", "Bad Request"), ("423", "Nats-Pin-Id")],
)
def test_what_no_request_mends_loses_the_connection(status: str, said: str) -> None:
    """A consumer that is gone is looked for again, by connecting again."""

    async def test(server: Server, asking: Pulls, taken: list[Msg]) -> None:
        await asking.demand()
        await server.say(status, said)
        assert server.failure is not None
        asking._end()
        await asking.demand()
        assert len(server.requests) == 1

    judged(test)


def test_a_status_of_an_earlier_request_changes_nothing() -> None:
    """Only the latest request is ended, and a heartbeat ends none."""

    async def test(server: Server, asking: Pulls, taken: list[Msg]) -> None:
        await asking.demand()
        await server.say("404")
        server.inboxes.append("inbox.1")
        await server.say("404")
        server.inboxes[-1] = "inbox.2"
        await server.say("100", "Idle Heartbeat")
        assert (asking.is_active, len(server.requests)) == (True, 2)
        await asking.cancel()
        assert (asking.is_active, server.drained) == (False, 1)

    judged(test)
