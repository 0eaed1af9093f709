"""A client that speaks ASGI, on one event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from missive import Headers
from missive.adapters.asgi import ASGIAdapter

from .fixtures import Answer, checked
from .requests import sent

DEADLINE = 30.0


class Loop:
    """An event loop in a thread, on which all requests of a test run."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Any) -> Any:
        """Run a coroutine to its end."""
        return self.start(coroutine).result(DEADLINE)

    def start(self, coroutine: Any) -> Any:
        """Begin a coroutine."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def close(self) -> None:
        """End what a test left running, and stop the loop."""
        self.run(_cancel_others())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(DEADLINE)
        self.loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


#: The loop of the test that runs.
_loops: list[Loop] = []


def use_loop(loop: Loop) -> None:
    """Have adapters and clients from now on run on this loop."""
    _loops[:] = [loop]


class ClosedByHand(ASGIAdapter):
    """An adapter that a plain test can close."""

    def close(self) -> None:
        """End the run."""
        _loops[0].run(self.shutdown())

    def open(self) -> None:
        """Begin the run."""
        _loops[0].run(self.startup())


class Client:
    """Sends requests to an ASGI application.

    :param app: the application.
    """

    def __init__(self, app: Any, pieces: int = 1) -> None:
        self.app = app
        self.unread = 0
        self.pieces = pieces

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        **inside: Any,
    ) -> Answer:
        """Send a request and read the response whole."""
        return _loops[0].run(self.exchange(method, path, body, headers, **inside))

    async def exchange(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        **inside: Any,
    ) -> Answer:
        """Do the same, on the loop."""
        request = sent(method, path, body, headers, inside)
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]
        mount = request.mount.encode("latin-1").decode()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.protocol.removeprefix("HTTP/"),
            "method": request.method,
            "scheme": request.scheme,
            "path": mount + request.path.encode("latin-1").decode("utf-8", "replace"),
            "root_path": mount,
            "query_string": request.query.encode("latin-1"),
            "headers": raw,
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1),
        }
        self.unread = len(body)
        step = max(len(body) // self.pieces, 1)
        pieces = [body[at : at + step] for at in range(0, len(body), step)] or [b""]
        began: list[dict[str, Any]] = []
        content: list[bytes] = []

        async def receive() -> dict[str, Any]:
            if not pieces:
                return {"type": "http.disconnect"}
            piece = pieces.pop(0)
            self.unread -= len(piece)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

        async def send(event: dict[str, Any]) -> None:
            if event["type"] == "http.response.start":
                began.append(event)
            else:
                assert event["type"] == "http.response.body"
                content.append(event.get("body", b""))

        await self.app(scope, receive, send)
        (start,) = began
        assert all(name == name.lower() for name, _ in start["headers"])
        answer = Answer(start["status"], Headers(start["headers"]), b"".join(content))
        return checked(answer, method)

    def post(
        self, body: bytes, path: str = "/", headers: dict[str, str] | None = None, **inside: Any
    ) -> Answer:
        """POST a body."""
        return self.request("POST", path, body, headers, **inside)

    def get(self, path: str) -> Answer:
        """GET a path."""
        return self.request("GET", path)
