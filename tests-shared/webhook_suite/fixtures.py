"""The fixtures of the suite: a processor, and a store whose disk is full."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
from missive import DeadLetterStoreError, MemoryDLQ, Processor, RawMessage


class Answer(NamedTuple):
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def checked(answer: Answer, method: str) -> Answer:
    """Return a response whose length is that of its body."""
    if answer.status == 204:  # which has neither body nor length, by RFC 9110
        assert ("Content-Length" in answer.headers, answer.body) == (False, b"")
    elif method != "HEAD":
        assert answer.headers["Content-Length"] == str(len(answer.body))
    return answer


@pytest.fixture
def processor() -> Processor[RawMessage]:
    """A processor whose messages say themselves what becomes of them."""
    processor: Processor[RawMessage] = Processor()

    @processor.handle_for(lambda message: message.raw_data.startswith(b"ack"))
    def ack(message, ctx):
        ctx.ack()

    @processor.handle_for(lambda message: message.raw_data.startswith(b"nack"))
    def nack(message, ctx):
        ctx.nack()

    @processor.handle_for(lambda message: message.raw_data.startswith(b"raise"))
    def fail(message, ctx):
        raise RuntimeError(f"the content is {message.raw_data!r}")

    @processor.handle_for(lambda message: message.raw_data.startswith(b"forget"))
    def forget(message, ctx):
        pass

    return processor


class FullStore(MemoryDLQ):
    """A store that cannot be written while its disk is full."""

    full = True

    def check(self):
        if self.full:
            raise DeadLetterStoreError("no space left")

    def put_many(self, letters):
        self.check()
        super().put_many(letters)


@pytest.fixture
def full_store():
    """A store whose disk is full, until ``full`` is set to False."""
    return FullStore()
