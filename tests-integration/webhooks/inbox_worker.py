"""Kills an inbox at each of its steps in turn, begins anew, and notes what was handled.

Each process is forked from this one. A line of JSON for each step says what happened.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from missive import DeadLetter, Processor, RawMessage, otherwise
from missive.adapters.asgi import ASGIAdapter
from missive.adapters.wsgi import WSGIAdapter
from missive.dlq.sqlite import SQLiteDLQ
from missive.letters import Claim, Receipt

DEADLINE = 60.0
#: The messages that the sender has: the second has the id of the first, and another body.
MESSAGES = ((b"1", b"one"), (b"1", b"other"), (b"2", b"two"))


class Diary:
    """What a process did, in a file that outlives it; kills the process at one of its steps.

    :param path: the file.
    :param last: the number of the step that is not survived; 0 for none.
    """

    def __init__(self, path: Path, last: int) -> None:
        self._path = path
        self._last = last
        self._count = 0
        self._lock = threading.Lock()

    def step(self, what: str) -> None:
        """Take note of a step, and die there if it is the last."""
        with self._lock:
            self._count += 1
            if self._count == self._last:
                os.kill(os.getpid(), signal.SIGKILL)

    def note(self, what: str, body: bytes) -> None:
        """Write a line, at once."""
        descriptor = os.open(self._path, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, f"{what} {body.decode()}\n".encode())
        os.close(descriptor)


class MortalDLQ(SQLiteDLQ):
    """A store whose process may die before and after each thing that it does for an inbox."""

    diary: Diary

    def receive(self, letters: Iterable[DeadLetter]) -> list[Receipt]:
        self.diary.step("before receive")
        receipts = super().receive(letters)
        self.diary.step("after receive")
        return receipts

    def claim_due(
        self, limit: int, lease: float = 300.0, *, now: datetime | None = None
    ) -> list[tuple[Claim, DeadLetter]]:
        self.diary.step("before claim_due")
        claimed = super().claim_due(limit, lease, now=now)
        self.diary.step("after claim_due")
        return claimed

    def remove(self, claim: Claim) -> bool:
        body = self.letter(claim.id).raw_data
        self.diary.step("before remove")
        removed = super().remove(claim)
        if removed:
            self.diary.note("done", body)
        self.diary.step("after remove")
        return removed


def post_wsgi(adapter: Any, id: bytes, body: bytes) -> int:
    """POST a message to a WSGI application; return the status."""
    statuses: list[int] = []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_WEBHOOK_ID": id.decode(),
        "wsgi.input": BytesIO(body),
        "wsgi.url_scheme": "http",
    }
    adapter(environ, lambda status, headers: statuses.append(int(status[:3])))
    return statuses[0]


def post_asgi(adapter: Any, id: bytes, body: bytes) -> int:
    """POST a message to an ASGI application; return the status."""
    statuses: list[int] = []
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/",
        "headers": [(b"content-length", b"%d" % len(body)), (b"webhook-id", id)],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(event: Any) -> None:
        if "status" in event:
            statuses.append(event["status"])

    loop.run_until_complete(adapter(scope, receive, send))
    return statuses[0]


loop = asyncio.new_event_loop()
VEHICLES: dict[str, tuple[Any, Callable[[Any, bytes, bytes], int]]] = {
    "wsgi": (WSGIAdapter, post_wsgi),
    "asgi": (ASGIAdapter, post_asgi),
}


def live(vehicle: str, folder: Path, last: int) -> None:
    """Be a server with an inbox and its sender, until everything is handled."""
    adapter_cls, post = VEHICLES[vehicle]
    diary = Diary(folder / "diary", last)
    store = MortalDLQ(folder / "dlq.sqlite")
    store.diary = diary
    for letter in list(store.letters(state="deferred")):
        claim = store.claim_of(letter.id)
        if claim is not None:  # of a process that was killed: as if its lease had ended
            store.release(claim)
    processor: Processor[RawMessage] = Processor()
    processor.set_dlq(store)
    settled = threading.Condition()

    @processor.handle_for(otherwise)
    def handle(message: RawMessage, ctx: Any) -> None:
        diary.step("before handling")
        diary.note("handled", message.raw_data)
        diary.step("after handling")
        ctx.ack()

    @processor.on_settled
    def note(processing: Any, ctx: Any) -> None:
        with settled:
            settled.notify_all()

    adapter = adapter_cls(RawMessage, processor, inbox=True, id_header="webhook-id")
    for id, body in MESSAGES:
        status = post(adapter, id, body)
        if status != 202:
            sys.exit(f"a message was answered {status}")
        diary.note("answered", body)
        diary.step("answered")
    with settled:
        if not settled.wait_for(lambda: store.counts().deferred == 0, DEADLINE):
            sys.exit("not everything was handled")


def fork(vehicle: str, folder: Path, last: int) -> int:
    """Live in a process of its own; return how that ended."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            live(vehicle, folder, last)
            code = 0
        except SystemExit as error:
            sys.stderr.write(f"{error}\n")
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(vehicle: str, folder: Path) -> None:
    """Kill at the first step, at the second, and so on until there are no more."""
    step = 0
    while True:
        step += 1
        place = folder / str(step)
        place.mkdir()
        ended = fork(vehicle, place, step)
        again = fork(vehicle, place, 0)  # its sender sends everything, also what was answered
        lines = (place / "diary").read_text().splitlines()
        print(json.dumps({"step": step, "ended": [ended, again], "diary": lines}), flush=True)
        if ended == 0:
            return


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
