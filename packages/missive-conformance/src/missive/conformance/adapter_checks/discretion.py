"""Discretion: no content of a message in logs, reprs or exceptions."""

from __future__ import annotations

import io
import logging
import traceback
from collections.abc import Callable
from typing import Any

from missive import HandlingContext, Message, RawMessage

from ..contract import check, expect
from ..lab import AdapterLab, everything

#: What must turn up nowhere; printable, so that every transport carries it.
SECRET = b"PAYLOAD-0f3a6c-OF-THIS-CHECK"


class LogTrap(logging.Handler):
    """Keeps what all loggers say, as text, tracebacks included.

    :param level: the lowest level that is kept.
    """

    def __init__(self, level: int = logging.DEBUG) -> None:
        super().__init__(level)
        self.text = io.StringIO()
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        self.text.write(self.format(record) + "\n")

    def __enter__(self) -> LogTrap:
        root = logging.getLogger()
        self._former = root.level
        root.addHandler(self)
        root.setLevel(self.level)
        return self

    def __exit__(self, *exc: object) -> None:
        root = logging.getLogger()
        root.removeHandler(self)
        root.setLevel(self._former)


def misbehave(message: Message, ctx: HandlingContext[Any]) -> None:
    """Fail in a way that says nothing of the message."""
    raise LookupError("a failure without content")


class Discretion:
    """Where a message's content must not turn up."""

    @check("A85", read="security#payloads")
    def test_a85_no_payload_in_logs_and_reprs(self, lab: AdapterLab) -> None:
        """No log line, at DEBUG even, and no repr holds a message's content."""
        behaviours: list[Callable[[Any, HandlingContext[Any]], None]] = [
            lambda message, ctx: ctx.ack(),
            misbehave,
            lambda message, ctx: None,
        ]
        with LogTrap() as trap:
            for behaviour in behaviours:
                letters = lab.letters()
                recorder = lab.record(behaviour, dlq=letters, observe=True)
                with lab.running(recorder) as running:
                    publication = lab.publish(SECRET)
                    recorder.wait_settled(1)
                    lab.expect_dead_lettered(publication)
                message = recorder.seen[0].message
                for thing in (message, running.adapter, message.envelope, recorder.settled[0]):
                    text = f"{thing!r} {thing}"
                    expect(SECRET.decode() not in text, "a repr or str holds the content")
        leaking = [
            line.partition(":")[0]
            for line in trap.text.getvalue().splitlines()
            if SECRET.decode() in line
        ]
        expect(not leaking, f"lines of these loggers hold the content: {sorted(set(leaking))}")

    @check("A86", needs=("no harness.own_dlq",), read="security#payloads")
    def test_a86_no_payload_in_exceptions(self, lab: AdapterLab) -> None:
        """What run() raises for a message says nothing of its content, in text and in notes."""
        if lab.capabilities.delivery == "request-reply":
            recorder = lab.record(lambda message, ctx: None)
            with LogTrap() as trap, lab.running(recorder) as running:
                running.may_fail = True
                lab.publish(SECRET).accepted(lab.patience)
            expect(SECRET.decode() not in trap.text.getvalue(), "a log line holds the content")
            return
        for matcher in (everything, None):
            recorder = lab.record(lambda message, ctx: None, matcher=matcher)
            harness = lab.another_harness()  # what the run before left unsettled is not there
            adapter = harness.make_adapter(recorder.processor, RawMessage)
            with lab.running(recorder, adapter=adapter) as running:
                lab.publish(SECRET, harness=harness)
                error = running.failure()
            text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
            expect(
                SECRET.decode() not in text + repr(error),
                f"the text of {type(error).__name__} holds the content",
            )
