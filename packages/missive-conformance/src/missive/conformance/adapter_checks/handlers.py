"""Handlers that are coroutines, and handlers that take several messages at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from missive import BatchContext, HandlingContext, Message

from ..contract import check, expect
from ..lab import AdapterLab, wait_until
from ..recorder import Recorder
from .settlement import TABLE, Failure, expect_letter, expect_raise

#: How many messages a batch handler of these checks takes at once.
SIZE = 7


def awaiting(behaviour: str) -> Any:
    """Return what registers an ``async def`` handler that does something after an await."""

    def prepare(recorder: Recorder) -> None:
        @recorder.processor.handle_for(lambda message: True)
        async def handle(message: Message, ctx: HandlingContext[Any]) -> None:
            recorder.note(message)
            await asyncio.sleep(0)
            if behaviour != "return undecided":
                ctx.ack()
            if behaviour == "fail":
                raise Failure("the coroutine's own words")

    return prepare


class Handlers:
    """What holds for handlers of other kinds than plain functions."""

    @check("A130", read=TABLE)
    def test_a130_a_coroutine_acks(self, lab: AdapterLab) -> None:
        """A message that an async def handler acks is done with, when the coroutine has ended."""
        recorder = lab.record(matcher=None)
        awaiting("ack")(recorder)
        with lab.running(recorder):
            publication = lab.publish(b"awaited")
            recorder.wait_seen(1)
            lab.expect_settled(publication)

    @check("A131", read=TABLE)
    def test_a131_a_failing_coroutine_is_a_dead_letter(self, lab: AdapterLab) -> None:
        """A message whose async def handler raises, even after an ack, becomes a dead letter."""
        reason = "the coroutine's own words"
        expect_letter(lab, reason, matcher=None, prepare=awaiting("fail"))

    @check("A132", needs=("no harness.own_dlq",), read=TABLE)
    def test_a132_a_failing_coroutine_without_a_dlq_is_raised(self, lab: AdapterLab) -> None:
        """Without a DLQ, what an async def handler raises is raised by run(), unsettled."""
        expect_raise(lab, Failure, matcher=None, prepare=awaiting("fail"))

    @check("A133", read=TABLE)
    def test_a133_an_undecided_coroutine_is_a_dead_letter(self, lab: AdapterLab) -> None:
        """A message whose async def handler returns undecided becomes a dead letter."""
        reason = "handler did not settle the message"
        expect_letter(lab, reason, matcher=None, prepare=awaiting("return undecided"))

    @check("A134", needs=("PollingAdapter",), read="adapters#workers")
    def test_a134_coroutines_run_at_once(self, lab: AdapterLab) -> None:
        """Messages of async def handlers are handled at the same time, without more workers."""
        inside: list[Message] = []
        recorder = lab.record(matcher=None)

        @recorder.processor.handle_for(lambda message: True)
        async def meet(message: Message, ctx: HandlingContext[Any]) -> None:
            recorder.note(message)
            inside.append(message)
            while len(inside) < 4:
                await asyncio.sleep(0.005)
            ctx.ack()

        with lab.running(recorder, drain_timeout=0.0) as running:
            for number in range(4):
                lab.publish(b"together %d" % number)
            running.may_fail = True  # where they do not meet, they are cancelled
            recorder.wait_seen(4)
            lab.expect_settled()

    @check(
        "A135",
        needs=("PollingAdapter", "delivery!=request-reply", "no harness.own_dlq"),
        read=TABLE,
    )
    def test_a135_a_batch_is_settled_one_by_one(self, lab: AdapterLab) -> None:
        """Messages that come together go to a batch handler together, and each is settled as it
        was decided: what is left undecided becomes a dead letter, the others are acked.
        """
        letters = lab.letters()
        recorder = lab.record(matcher=None, dlq=letters, observe=True)
        sizes: list[int] = []

        @recorder.processor.handle_batch_for(lambda message: True, size=SIZE, wait=lab.patience / 4)
        def handle(messages: Sequence[Message], ctx: BatchContext[Any]) -> None:
            sizes.append(len(messages))
            for message in messages:
                recorder.note(message)
                if message.raw_data != b"batch 3":
                    ctx.ack(message)

        with lab.running(recorder):
            for number in range(SIZE):
                lab.publish(b"batch %d" % number)
            recorder.wait_settled(SIZE)
            lab.expect_settled()
        wait_until(lambda: len(letters), lab.patience, "the undecided message is no dead letter")
        found = [message.raw_data for message, _ in letters.values()]
        expect(found == [b"batch 3"], "other messages became dead letters")
        expect(sum(sizes) == SIZE, f"{SIZE} messages were handled {sum(sizes)} times")
        most = lab.capabilities.max_in_flight
        expect(
            sizes == [SIZE] or (most is not None and most < SIZE),
            f"{SIZE} messages were handled in batches of {sizes}",
        )
