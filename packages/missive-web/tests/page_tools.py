"""A shop whose messages failed, and a client that uses the page as a browser does."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from html import unescape
from time import monotonic
from typing import Any

from missive import DeadLetter, JSONMessage, Processor, route_on_json
from missive.web import DeadLetterApp
from werkzeug.test import Client, TestResponse

#: How long anything may take before a test gives up, in seconds.
DEADLINE = 60.0
HOUR = timedelta(hours=1)


class OutOfStock(Exception):
    """There are not so many."""


def make_processor() -> Processor[JSONMessage]:
    """Return a processor: it acks what is in stock, and has no handler for refunds."""
    processor: Processor[JSONMessage] = Processor()
    by_event = route_on_json("event")

    @processor.handle_for(by_event("order"))
    def reserve(message: JSONMessage, ctx: Any) -> None:
        if message.get_json()["item"] == "ink":
            raise OutOfStock("no ink")
        ctx.ack()

    @processor.handle_for(by_event("nack"))
    def refuse(message: JSONMessage, ctx: Any) -> None:
        ctx.nack()

    return processor


def letter(number: int, item: str = "pen", **fields: Any) -> DeadLetter:
    """Return the letter of an order that failed in a line of its own for each item."""
    at = datetime.now(timezone.utc) - 12 * HOUR + timedelta(seconds=number)
    line = {"pen": 13, "ink": 40}.get(item, 57)
    given: dict[str, Any] = {
        "id": b"order-%d" % number,
        "message_id": b"order-%d" % number,
        "raw_data": json.dumps({"event": "order", "item": item, "number": number}).encode(),
        "reason": f"order {number} of {item} failed",
        "stage": "handling",
        "first_failed": at,
        "last_failed": at,
        "headers": {"content-type": "application/json"},
        "source": "orders",
        "error_type": "shop.OutOfStock",
        "handler": "shop.reserve",
        "traceback": f'Traceback:\n  File "/srv/shop.py", line {line}, in reserve\nOutOfStock: {item}\n',
        **fields,
    }
    return DeadLetter(**given)


class Page:
    """A page, and a person in front of it.

    :ivar last: the last answer.
    """

    def __init__(self, app: DeadLetterApp, **environ: Any) -> None:
        self.app = app
        self.client = Client(app)
        self.environ = {"REMOTE_ADDR": "127.0.0.1", **environ}

    def get(self, path: str, **options: Any) -> TestResponse:
        """Look at a page."""
        self.last = self.client.get(
            path, base_url="http://localhost", environ_overrides=self.environ, **options
        )
        return self.last

    def post(self, path: str, form_token: str | None = None, /, **form: Any) -> TestResponse:
        """Send a form, with the token of the page unless another is given."""
        token = self.token() if form_token is None else form_token
        self.last = self.client.post(
            path,
            base_url="http://localhost",
            environ_overrides=self.environ,
            data={"form_token": token, **form},
        )
        return self.last

    def token(self) -> str:
        """Return what forms of this browser carry."""
        if self.client.get_cookie("missive_session") is None:
            self.get("/letters")
        session = self.client.get_cookie("missive_session")
        assert session is not None
        return self.app.access.form_token(session.value)

    def plan(self, do: str, **form: Any) -> str:
        """Choose letters, and return the address where the page asks whether it is meant."""
        answer = self.post("/plan", do=do, **{"scope": "all", **form})
        assert answer.status_code == 303, text_of(answer)
        return answer.headers["Location"]

    def do(self, do: str, how: str = "", rate: str = "", **form: Any) -> str:
        """Do something, wait for its end, and return what the page says of it."""
        plan = self.plan(do, **form)
        answer = self.post(plan, **({"how": how, "rate": rate} if how else {}))
        assert answer.status_code == 303, text_of(answer)
        return self.wait(answer.headers["Location"])

    def wait(self, job: str) -> str:
        """Wait for the end of a job, and return what its page says."""
        found = self.app.jobs.get(job.rpartition("/")[2])
        assert found is not None
        assert found.over.wait(DEADLINE)
        return text_of(self.get(job))


def text_of(answer: TestResponse) -> str:
    """Return the text of a page's middle."""
    middle = answer.text.partition("<main")[2] or answer.text
    return unescape(" ".join(re.sub(r"<[^>]*>", " ", middle).split()))


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = monotonic() + DEADLINE
    pause = threading.Event()
    while not condition():
        assert monotonic() < deadline, "it never came"
        pause.wait(0.01)
