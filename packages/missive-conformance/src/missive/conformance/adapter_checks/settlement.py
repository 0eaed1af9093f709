"""The settlement table: every delivery ends exactly once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from missive import DeadLetterWriteFailed, HandlingContext, Message, RawMessage
from missive.errors import MultipleMatchingHandlers, NackUnsupported, NoMatchingHandler, NotSettled

from ..contract import check, expect
from ..lab import AdapterLab, wait_until
from ..recorder import Letters, Recorder

#: Where the documentation tells of all this.
TABLE = "settlement#the-table"


class Failure(Exception):
    """What handlers, matchers and hooks of these checks raise."""


class Unbuildable(Message):
    """A message class that fails with every message."""

    def __init__(self, raw_data: bytes) -> None:
        super().__init__(raw_data)
        raise Failure("the message class fails")


def fail(message: Any, ctx: HandlingContext[Any]) -> None:
    """Fail as a handler."""
    raise Failure("the handler's own words")


def fail_after_ack(message: Any, ctx: HandlingContext[Any]) -> None:
    """Ack, and fail then."""
    ctx.ack()
    raise Failure("the handler's own words")


def undecided(message: Any, ctx: HandlingContext[Any]) -> None:
    """Return without a decision."""


def nack(message: Any, ctx: HandlingContext[Any]) -> None:
    """Nack."""
    ctx.nack()


def expect_letter(
    lab: AdapterLab,
    reason: str,
    behaviour: Callable[[Any, HandlingContext[Any]], None] | None = None,
    *,
    prepare: Callable[[Recorder], object] | None = None,
    matcher: Callable[[Any], bool] | None = lambda message: True,
    message_cls: Callable[[bytes], Any] = RawMessage,
    **options: Any,
) -> None:
    """Make sure that a message becomes a dead letter, once, and is done with for the transport."""
    letters = lab.letters()
    recorder = lab.record(behaviour, matcher=matcher, dlq=letters)
    if prepare is not None:
        prepare(recorder)
    with lab.running(recorder, message_cls=message_cls, **options):
        publication = lab.publish(b"to be dead-lettered")
        if lab.harness.offers("own_dlq"):
            message, found = _letter_in(lab, reason)
        else:
            ((message, found),) = letters.wait(1, lab.patience)
            lab.expect_dead_lettered(publication)
            expect(letters.writes == 1, f"the letter was written {letters.writes} times")
    expect(found == reason, f"the letter's reason was not {reason!r}")
    expect(message.raw_data == b"to be dead-lettered", "the letter has other bytes")
    expect(len(recorder.seen) <= 1, f"the handler was called {len(recorder.seen)} times")


def _letter_in(lab: AdapterLab, reason: str) -> tuple[Message, str]:
    """Wait for a reason in the DLQ that an adapter brings, and give the only letter there."""
    dlq = lab.harness.own_dlq()
    wait_until(
        lambda: [found for _, found in dlq.values()] == [reason],
        lab.patience,
        f"no letter with the reason {reason!r} was in the adapter's own DLQ",
    )
    ((message, found),) = dlq.values()
    return message, found


def expect_raise(
    lab: AdapterLab,
    error_cls: type[BaseException],
    behaviour: Callable[[Any, HandlingContext[Any]], None] | None = None,
    *,
    prepare: Callable[[Recorder], object] | None = None,
    matcher: Callable[[Any], bool] | None = lambda message: True,
    message_cls: Callable[[bytes], Any] = RawMessage,
    dlq: Letters | None = None,
    **options: Any,
) -> BaseException | None:
    """Make sure that a message's failure is raised by run(), and that it stays unsettled."""
    recorder = lab.record(behaviour, matcher=matcher, dlq=dlq)
    if prepare is not None:
        prepare(recorder)
    with lab.running(recorder, message_cls=message_cls, **options) as running:
        publication = lab.publish(b"to be left unsettled")
        error = lab.expect_raised(running, error_cls, publication)
        lab.expect_unsettled(publication)
    return error


def also_match(recorder: Recorder) -> None:
    """Register a second handler that matches everything."""
    recorder.handle_for(lambda message: len(message.raw_data) >= 0)


def broken_matcher(message: object) -> bool:
    """Fail as a matcher."""
    raise Failure("the matcher fails")


def failing_hook(recorder: Recorder) -> None:
    """Register an after-handling hook that fails, as a commit might."""

    @recorder.processor.after_handling
    def fail_to_commit(processing_ctx: object, ctx: object) -> None:
        raise Failure("the hook's own words")


class Settlement:
    """What becomes of a delivery, with and without a DLQ."""

    @check("A30", read=TABLE)
    def test_a30_acked_is_done_with(self, lab: AdapterLab) -> None:
        """An acked message is done with: the transport has it no more, and delivers it no more."""
        for _ in range(2):  # the second run would find what the first left
            recorder = lab.record()
            with lab.running(recorder):
                publication = lab.publish(b"to be acked")
                recorder.wait_seen(1)
                lab.expect_settled(publication)
            expect(len(recorder.seen) == 1, f"it was handled {len(recorder.seen)} times")

    @check("A31", needs=("nack=redeliver",), read=TABLE)
    def test_a31_nacked_is_delivered_again(self, lab: AdapterLab) -> None:
        """A nacked message is delivered again, until it is acked, and then no more."""

        def settle(message: Message, ctx: HandlingContext[Any]) -> None:
            ctx.ack() if len(recorder.seen) > 2 else ctx.nack()

        recorder = lab.record(settle, dlq=lab.letters())
        with lab.running(recorder) as running:
            publication = lab.publish(b"to be nacked twice")
            recorder.wait_seen_again(3, running.nudge)
            lab.expect_settled(publication)
        bodies = set(recorder.bodies)
        expect(len(recorder.seen) == 3, f"it was handled {len(recorder.seen)} times, not 3")
        expect(bodies == {b"to be nacked twice"}, "it was delivered again with other bytes")

    @check("A32", needs=("nack=redeliver", "stable_id"), read="messages#ids")
    def test_a32_the_id_stays_on_redelivery(self, lab: AdapterLab) -> None:
        """A message that is delivered again has the same id."""
        recorder = self._nacked_twice(lab)
        ids = {seen.message_id for seen in recorder.seen}
        expect(len(ids) == 1, f"in 3 deliveries it had {len(ids)} different ids")

    @check("A33", needs=("nack=redeliver", "delivery_count"), read="messages#delivery-count")
    def test_a33_the_delivery_count_grows(self, lab: AdapterLab) -> None:
        """The delivery count of a message is 1 at first, and grows by one with each delivery."""
        recorder = self._nacked_twice(lab)
        counts = [seen.delivery_count for seen in recorder.seen]
        expect(counts == [1, 2, 3], f"in 3 deliveries the counts were {counts}")

    @check("A34", needs=("delivery_count=False",), read="messages#delivery-count")
    def test_a34_no_delivery_count_where_denied(self, lab: AdapterLab) -> None:
        """Where deliveries are not counted, the count of a message is None, not a guess."""
        recorder = lab.record()
        with lab.running(recorder):
            lab.publish(b"uncounted")
            (seen,) = recorder.wait_seen(1)
        expect(seen.delivery_count is None, f"the count was {seen.delivery_count}")

    def _nacked_twice(self, lab: AdapterLab) -> Recorder:
        def settle(message: Message, ctx: HandlingContext[Any]) -> None:
            ctx.ack() if len(recorder.seen) > 2 else ctx.nack()

        recorder = lab.record(settle)
        with lab.running(recorder) as running:
            lab.publish(b"to be nacked twice")
            recorder.wait_seen_again(3, running.nudge)
            lab.expect_settled()
        return recorder

    @check("A35", needs=("nack=drop-refused",), read=TABLE)
    def test_a35_a_refused_nack_is_a_dead_letter(self, lab: AdapterLab) -> None:
        """Where the transport cannot redeliver, a nacked message becomes a dead letter that says
        so.
        """
        expect_letter(lab, "nacked; the transport cannot redeliver", nack)

    @check("A36", needs=("nack=drop-refused", "no harness.own_dlq"), read=TABLE)
    def test_a36_a_refused_nack_without_a_dlq_is_raised(self, lab: AdapterLab) -> None:
        """Where the transport cannot redeliver and there is no DLQ, a nack raises
        NackUnsupported.
        """
        expect_raise(lab, NackUnsupported, nack)

    @check("A37", needs=("nack=error-response",), read=TABLE)
    def test_a37_the_sender_is_told_of_a_nack(self, lab: AdapterLab) -> None:
        """Where senders wait for an answer, a nack tells the sender of a failure, and serving goes
        on.
        """
        recorder = lab.record(
            lambda message, ctx: ctx.nack() if message.raw_data == b"bad" else ctx.ack(),
            dlq=lab.letters(),
        )
        with lab.running(recorder):
            bad = lab.publish(b"bad")
            expect(not bad.accepted(lab.patience), "the sender was told of success")
            good = lab.publish(b"good")
            expect(good.accepted(lab.patience), "the next sender was told of a failure")

    @check("A38", read=TABLE)
    def test_a38_no_match_is_a_dead_letter(self, lab: AdapterLab) -> None:
        """A message that no handler matches becomes a dead letter "no matching handlers"."""
        expect_letter(lab, "no matching handlers", matcher=None)

    @check("A39", needs=("no harness.own_dlq",), read=TABLE)
    def test_a39_no_match_without_a_dlq_is_raised(self, lab: AdapterLab) -> None:
        """Without a DLQ, a message that no handler matches raises NoMatchingHandler, unsettled."""
        expect_raise(lab, NoMatchingHandler, matcher=None)

    @check("A40", read=TABLE)
    def test_a40_two_matches_are_a_dead_letter(self, lab: AdapterLab) -> None:
        """A message that two handlers match becomes a dead letter; neither is called."""
        expect_letter(lab, "multiple matching handlers", prepare=also_match)

    @check("A41", needs=("no harness.own_dlq",), read=TABLE)
    def test_a41_two_matches_without_a_dlq_are_raised(self, lab: AdapterLab) -> None:
        """Without a DLQ, two matching handlers raise MultipleMatchingHandlers, unsettled."""
        expect_raise(lab, MultipleMatchingHandlers, prepare=also_match)

    @check("A42", read=TABLE)
    def test_a42_an_unbuildable_message_is_a_dead_letter(self, lab: AdapterLab) -> None:
        """A message that its class cannot build becomes a dead letter with the raw bytes."""
        expect_letter(lab, "the message class fails", message_cls=Unbuildable)

    @check("A43", needs=("no harness.own_dlq",), read=TABLE)
    def test_a43_an_unbuildable_message_without_a_dlq_is_raised(self, lab: AdapterLab) -> None:
        """Without a DLQ, what the message class raises is raised by run(), unsettled."""
        expect_raise(lab, Failure, message_cls=Unbuildable)

    @check("A44", read=TABLE)
    def test_a44_a_failing_matcher_is_a_dead_letter(self, lab: AdapterLab) -> None:
        """A matcher that raises is an error, never "no match": the message becomes a dead
        letter.
        """
        expect_letter(lab, "the matcher fails", matcher=broken_matcher)

    @check("A45", read=TABLE)
    def test_a45_a_failing_handler_is_a_dead_letter(self, lab: AdapterLab) -> None:
        """A message whose handler raises becomes a dead letter with the error's text,
        acked once.
        """
        expect_letter(lab, "the handler's own words", fail)

    @check("A46", needs=("no harness.own_dlq",), read=TABLE)
    def test_a46_a_failing_handler_without_a_dlq_is_raised(self, lab: AdapterLab) -> None:
        """Without a DLQ, what a handler raises is raised by run(), and the message stays
        unsettled.
        """
        expect_raise(lab, Failure, fail)

    @check("A47", needs=("handlers!=batch",), read=TABLE)
    def test_a47_a_failure_after_the_ack_counts(self, lab: AdapterLab) -> None:
        """A handler that acks and then raises has failed: a dead letter, not a silent ack."""
        expect_letter(lab, "the handler's own words", fail_after_ack)

    @check("A48", read=TABLE)
    def test_a48_a_failing_hook_counts(self, lab: AdapterLab) -> None:
        """An after-handling hook that raises, as a failed commit does, makes the ack a dead
        letter.
        """
        expect_letter(lab, "the hook's own words", prepare=failing_hook)

    @check("A49", read=TABLE)
    def test_a49_undecided_is_a_dead_letter(self, lab: AdapterLab) -> None:
        """A message whose handler returns undecided becomes a dead letter that says so."""
        expect_letter(lab, "handler did not settle the message", undecided)

    @check("A50", needs=("no harness.own_dlq",), read=TABLE)
    def test_a50_undecided_without_a_dlq_is_raised(self, lab: AdapterLab) -> None:
        """Without a DLQ, a handler that returns undecided raises NotSettled, unsettled."""
        expect_raise(lab, NotSettled, undecided)

    @check("A51", needs=("no harness.own_dlq",), read=TABLE)
    def test_a51_a_failed_letter_is_never_acked(self, lab: AdapterLab) -> None:
        """When the DLQ cannot be written, the message is not acked, and DeadLetterWriteFailed
        raised.
        """

        def refuse(key: bytes) -> None:
            raise OSError("the DLQ's disk is full")

        error = expect_raise(lab, DeadLetterWriteFailed, fail, dlq=lab.letters(refuse))
        if error is not None:
            expect(
                isinstance(error.__cause__, OSError),
                "the error is not chained to what the DLQ raised",
            )

    @check("A52", needs=("delivery=at-least-once", "no harness.own_dlq"), read=TABLE)
    def test_a52_the_letter_is_written_before_the_ack(self, lab: AdapterLab) -> None:
        """While a dead letter is being written, the transport still has the message."""
        counts: list[int] = []
        letters = lab.letters(lambda key: counts.append(lab.least_remaining()))
        recorder = lab.record(fail, dlq=letters)
        with lab.running(recorder):
            publication = lab.publish(b"to be kept until the letter is there")
            letters.wait(1, lab.patience)
            lab.expect_settled(publication)
        expect(counts == [1], f"while the letter was written the transport had {counts}")

    @check("A53", needs=("delivery=at-least-once",), read=TABLE)
    def test_a53_nothing_is_acked_before_the_decision(self, lab: AdapterLab) -> None:
        """While its handler runs, and when it has just called ack(), the transport has the
        message.
        """
        counts: list[int] = []

        def look(message: Message, ctx: HandlingContext[Any]) -> None:
            counts.append(lab.least_remaining())
            ctx.ack()
            counts.append(lab.least_remaining())

        recorder = lab.record(look)
        with lab.running(recorder):
            publication = lab.publish(b"to be looked for")
            recorder.wait_seen(1)
            lab.expect_settled(publication)
        expect(counts == [1, 1], f"the transport had {counts} messages in the handler")

    @check("A54", needs=("nack=redeliver",), read=TABLE)
    def test_a54_nacks_do_not_hold_up_acks(self, lab: AdapterLab) -> None:
        """While one message is nacked again and again, others are still delivered and acked."""
        recorder = lab.record(
            lambda message, ctx: (
                ctx.nack()
                if message.raw_data == b"again" and len(set(recorder.bodies)) < 21
                else ctx.ack()
            )
        )

        def all_are_settled() -> bool:
            running.nudge()
            return lab.harness.remaining() == 0

        with lab.running(recorder) as running:
            lab.publish(b"again")
            for number in range(20):
                lab.publish(b"other %d" % number)
            wait_until(all_are_settled, lab.patience, "messages were left on the transport")
        expect(len(set(recorder.bodies)) == 21, "not every message reached the handler")

    @check("A55", needs=("delivery!=request-reply",), read=TABLE)
    def test_a55_an_exit_in_a_handler_leaves_it_unsettled(self, lab: AdapterLab) -> None:
        """SystemExit in a handler leaves run() as it is; the message is unsettled, and no
        letter.
        """

        def leave(message: Message, ctx: HandlingContext[Any]) -> None:
            raise SystemExit(3)

        letters = lab.letters()
        expect_raise(lab, SystemExit, leave, dlq=letters)
        expect(not len(letters), "it became a dead letter")

    @check("A56", needs=("no harness.own_dlq",), read=TABLE)
    def test_a56_every_delivery_is_observed_once(self, lab: AdapterLab) -> None:
        """on_settled hears of every delivery exactly once, with what was done to it."""
        recorder = lab.record(
            lambda message, ctx: ctx.ack() if message.raw_data == b"good" else fail(message, ctx),
            dlq=lab.letters(),
            observe=True,
        )
        with lab.running(recorder):
            publications = [lab.publish(b"good"), lab.publish(b"bad")]
            recorder.wait_settled(2)
            lab.expect_dead_lettered(*publications)
        told = sorted(
            (settled.message.raw_data.decode(), settled.outcome.value if settled.outcome else "-")
            for settled in recorder.settled
        )
        expect(told == [("bad", "dead-lettered"), ("good", "acked")], f"it heard of {told}")
