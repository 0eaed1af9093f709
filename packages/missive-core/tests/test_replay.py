from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from missive import (
    ConfigurationError,
    DeadLetter,
    DeadLetterStore,
    DeadLetterStoreError,
    DeadLetterWriteFailed,
    DecodingError,
    HandlingContext,
    JSONMessage,
    MemoryDLQ,
    Outcome,
    Processor,
    RawMessage,
    Runnable,
    SettlementFailed,
    route_on_header,
)
from missive.adapters.replay import ReplayAdapter, Replayed, ReplayResult
from missive.letters import Claim

DEADLINE = 30.0
NOON = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)

Context = HandlingContext[Any]


def fill(store: MemoryDLQ, *bodies: bytes, **fields: Any) -> MemoryDLQ:
    """Put a letter for each body, under an id that is the body too."""
    for body in bodies:
        letter = DeadLetter(body, body, "reason", "handling", NOON, NOON)
        store.put(letter._replace(**fields))
    return store


def by_body(message: RawMessage, ctx: Context) -> None:
    """Do what the body asks for."""
    if message.raw_data.startswith(b"ack"):
        ctx.ack()
    elif message.raw_data.startswith(b"nack"):
        ctx.nack()
    else:
        raise ValueError("again")


def make_processor(
    handler: Callable[[RawMessage, Context], None] = by_body,
) -> Processor[RawMessage]:
    processor: Processor[RawMessage] = Processor()
    processor.handle_for(lambda message: True)(handler)
    return processor


def claimed(store: DeadLetterStore, id: bytes = b"1", **options: Any) -> Claim:
    """Claim a letter that nobody holds."""
    found = store.claim(id, **options)
    assert found is not None
    claim, letter = found
    assert letter == store.letter(id)
    return claim


def test_ack_and_nack_by_hand() -> None:
    """ack and nack act on the claim that a message was delivered with, not on another's later one."""
    store = fill(MemoryDLQ(), b"ack1", b"nack1")
    adapter = ReplayAdapter(RawMessage, make_processor(), store)
    seen: list[RawMessage] = []

    def keep(message: RawMessage, ctx: Context) -> None:
        seen.append(message)
        ctx.nack()

    ReplayAdapter(RawMessage, make_processor(keep), store).run()
    for message, tell in zip(seen, (adapter.ack, adapter.nack), strict=True):
        claimed(store, message.raw_data)
        tell(message)
        assert store.claim_of(message.raw_data) is not None, "the claim is not that of this message"
    assert list(store) == [b"ack1", b"nack1"]


class TestChoice:
    def test_only_what_was_chosen(self) -> None:
        """A replay of a choice leaves what arrived since alone, and skips what failed again."""
        store = fill(MemoryDLQ(), b"ack1", b"ack2", b"ack3")
        choice = store.choose()
        fill(store, b"ack2", b"ack4")
        told: list[Replayed] = []
        adapter = ReplayAdapter(
            RawMessage, make_processor(), store, choice=choice, on_progress=told.append
        )
        assert adapter.run() == ReplayResult(acked=2, skipped=1)
        assert list(store) == [b"ack2", b"ack4"]
        assert [replayed.held for replayed in told] == [None, None, None]

    def test_says_who_holds_a_letter(self) -> None:
        """A letter that another claimed is skipped, and told with that claim."""
        store = fill(MemoryDLQ(), b"ack1")
        claim = claimed(store, b"ack1")
        told: list[Replayed] = []
        ReplayAdapter(RawMessage, make_processor(), store, on_progress=told.append).run()
        assert [replayed.held for replayed in told] == [claim]


class TestOutcomes:
    def test_each_letter_by_its_outcome(self, caplog: pytest.LogCaptureFixture) -> None:
        """What was acked goes, what failed gets its failure, what was nacked stays as it is."""
        store = fill(MemoryDLQ(), b"ack1", b"fail", b"nack", b"ack2")
        nacked = store.letter(b"nack")
        adapter = ReplayAdapter(RawMessage, make_processor(), store)
        result = adapter.run()
        assert result == adapter.result == ReplayResult(acked=2, failed=1, nacked=1, skipped=0)
        assert list(store) == [b"fail", b"nack"]
        assert store.letter(b"nack") == nacked
        failed = store.letter(b"fail")
        assert (failed.failures, failed.reason) == (2, "again")
        assert [failure.reason for failure in failed.history] == ["reason", "again"]
        assert store.claim(b"fail") is not None, "the claim was not given back"
        assert store.claim(b"nack") is not None, "the claim was not given back"
        assert "stays in the store" not in caplog.text, "a failure is taken for somebody else's"

    def test_letters_go_to_the_replayed_store(self) -> None:
        """The store stands in for the processor's own DLQ, which sees nothing."""
        store, own = fill(MemoryDLQ(), b"fail"), MemoryDLQ()
        processor = make_processor()
        processor.set_dlq(own)
        ReplayAdapter(RawMessage, processor, store).run()
        assert not own
        assert store.letter(b"fail").failures == 2

    def test_message_cannot_be_built(self) -> None:
        """A letter that the message class refuses fails again, as its own letter."""
        store = fill(MemoryDLQ(), b"{")
        processor: Processor[JSONMessage] = Processor()
        processor.handle_for(lambda message: message.get_json())(lambda message, ctx: ctx.ack())
        assert ReplayAdapter(JSONMessage, processor, store).run().failed == 1
        (letter,) = store.letters()
        assert (letter.failures, letter.stage) == (2, "decoding")

    def test_handler_that_changes_the_message(self) -> None:
        """The failure goes to the letter that is replayed, whatever the handler did to the bytes."""

        def spoil(message: RawMessage, ctx: Context) -> None:
            message.raw_data = b"spoilt"
            raise ValueError("again")

        store = fill(MemoryDLQ(), b"whole")
        assert ReplayAdapter(RawMessage, make_processor(spoil), store).run().failed == 1
        (letter,) = store.letters()
        assert (letter.raw_data, letter.failures) == (b"whole", 2)

    def test_letter_beside_another(self) -> None:
        """A letter kept beside another with its id is replayed under the message's own id."""
        store = MemoryDLQ()
        for body in (b"fail", b"ack"):
            fill(store, body, id=b"1", message_id=b"1")
        seen = []

        def note(message: RawMessage, ctx: Context) -> None:
            seen.append((message.message_id, message.raw_data))
            by_body(message, ctx)

        ReplayAdapter(RawMessage, make_processor(note), store).run()
        assert seen == [(b"1", b"fail"), (b"1", b"ack")]
        assert [letter.failures for letter in store.letters()] == [2]

    def test_envelope(self) -> None:
        """A replayed message has the envelope it came with; its deliveries are not counted."""
        store = fill(MemoryDLQ(), b"ack", source="s", headers={"Kind": "k"}, failures=2)
        processor: Processor[RawMessage] = Processor()
        seen = []

        @processor.handle_for(route_on_header("kind")("k"))
        def note(message: RawMessage, ctx: Context) -> None:
            seen.append((message.message_id, message.source, message.delivery_count))
            ctx.ack()

        assert ReplayAdapter(RawMessage, processor, store).run().acked == 1
        assert seen == [(b"ack", "s", None)]


class TestSnapshot:
    def test_nothing_twice(self) -> None:
        """A letter that comes back while the run lasts waits for the next run."""
        store = fill(MemoryDLQ(), b"ack1", b"fail")
        calls = []

        def put_again(message: RawMessage, ctx: Context) -> None:
            calls.append(message.raw_data)
            if message.raw_data == b"fail":
                fill(store, b"ack1", b"new")
            by_body(message, ctx)

        ReplayAdapter(RawMessage, make_processor(put_again), store).run()
        assert calls == [b"ack1", b"fail"]
        assert list(store) == [b"fail", b"ack1", b"new"]

    def test_store_that_shows_what_comes(self) -> None:
        """Where a store goes on to letters that came since, the run does not."""

        class Live(MemoryDLQ):
            def letters(self, **filters: Any) -> Iterator[DeadLetter]:
                found = next(super().letters(**{"limit": 1, **filters}), None)
                while found is not None:
                    yield found
                    found = next(super().letters(limit=1, after=found.position), None)

        store = fill(Live(), b"ack1")

        def put_again(message: RawMessage, ctx: Context) -> None:
            fill(store, b"ack2")
            ctx.ack()

        assert ReplayAdapter(RawMessage, make_processor(put_again), store).run().acked == 1
        assert list(store) == [b"ack2"]

    def test_empty_store(self) -> None:
        """Without a letter a run ends at once."""
        assert ReplayAdapter(RawMessage, make_processor(), MemoryDLQ()).run() == ReplayResult()

    def test_filters(self) -> None:
        """Only letters that every filter matches are replayed."""
        store = fill(MemoryDLQ(), b"ack1", b"ack2", reason="a", source="s")
        fill(store, b"ack3", reason="a", source="t")
        fill(store, b"ack4", source="s")
        adapter = ReplayAdapter(RawMessage, make_processor(), store, reason="a", source="s")
        assert adapter.run().acked == 2
        assert list(store) == [b"ack3", b"ack4"]

    def test_ids(self) -> None:
        """Letters are replayed by id, in the order given, each once, if the filters match too."""
        store = fill(MemoryDLQ(), b"ack1", b"ack2", b"ack3")
        fill(store, b"ack4", reason="other")
        order = []
        adapter = ReplayAdapter(
            RawMessage,
            make_processor(),
            store,
            ids=[b"ack3", b"gone", b"ack1", b"ack3", b"ack4"],
            reason="reason",
            on_progress=lambda replayed: order.append(replayed.letter.id),
        )
        assert adapter.run() == ReplayResult(acked=2)
        assert order == [b"ack3", b"ack1"]

    def test_limit(self) -> None:
        """At most so many letters are tried; others that are skipped do not count."""
        store = fill(MemoryDLQ(), b"fail1", b"fail2", b"fail3")
        store.claim(b"fail1")
        result = ReplayAdapter(RawMessage, make_processor(), store, limit=1).run()
        assert result == ReplayResult(failed=1, skipped=1)
        assert [letter.failures for letter in store.letters()] == [1, 2, 1]
        assert ReplayAdapter(RawMessage, make_processor(), store, limit=0).run() == ReplayResult()


class TestClaims:
    def test_claimed_by_another(self) -> None:
        """A letter that another replay holds is skipped and stays that one's."""
        store = fill(MemoryDLQ(), b"ack1", b"ack2")
        claim = claimed(store, b"ack1")
        assert ReplayAdapter(RawMessage, make_processor(), store).run() == ReplayResult(1, 0, 0, 1)
        assert store.remove(claim)

    def test_two_at_once(self) -> None:
        """Two replays of one store handle each letter once."""
        store = fill(MemoryDLQ(), *(b"ack%d" % number for number in range(200)))
        handled: list[bytes] = []
        start = threading.Barrier(2)

        def note(message: RawMessage, ctx: Context) -> None:
            handled.append(message.raw_data)
            ctx.ack()

        def run() -> None:
            start.wait(DEADLINE)
            ReplayAdapter(RawMessage, make_processor(note), store).run()

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        assert sorted(handled) == sorted(b"ack%d" % number for number in range(200))
        assert not store

    @pytest.mark.parametrize("how", ["removed", "came anew"])
    def test_gone_when_claimed(self, how: str) -> None:
        """A letter that went in the moment before its claim is skipped; so is what came instead."""

        class Hasty(MemoryDLQ):
            def claim(self, id: bytes, *, lease: float = 300.0) -> tuple[Claim, DeadLetter] | None:
                del self[id]
                if how == "came anew":
                    fill(self, b"other")
                    fill(self, id)
                return super().claim(id, lease=lease)

        store = fill(Hasty(), b"ack")
        adapter = ReplayAdapter(RawMessage, make_processor(), store)
        assert adapter.run() == ReplayResult(skipped=1)
        assert (b"ack" in store) == (how == "came anew")

    def test_failed_in_another_replay(self) -> None:
        """Of two replays that started together, one handles a letter that fails, not both."""
        store = fill(MemoryDLQ(), *(b"fail%d" % number for number in range(100)))
        handled: list[bytes] = []
        together = threading.Barrier(2)
        results: list[ReplayResult] = []

        def note(message: RawMessage, ctx: Context) -> None:
            handled.append(message.raw_data)
            raise ValueError("again")

        def run() -> None:
            processor = make_processor(note)
            processor.before_processing(lambda ctx: together.wait(DEADLINE) and None)
            results.append(ReplayAdapter(RawMessage, processor, store).run())

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        assert sorted(handled) == sorted(b"fail%d" % number for number in range(100))
        assert sum(result.failed for result in results) == 100
        assert sum(result.skipped for result in results) == 100
        assert all(store.claim(id) is not None for id in store), "a claim was not given back"

    def test_failed_when_the_clock_was_ahead(self) -> None:
        """A letter from a time that has not come yet is replayed like any other."""
        ahead = datetime.now(timezone.utc).replace(year=2099)
        store = fill(MemoryDLQ(), b"ack", first_failed=ahead, last_failed=ahead)
        assert ReplayAdapter(RawMessage, make_processor(), store).run().acked == 1

    def test_removed_between_page_and_claim(self) -> None:
        """A letter that went, or changed so that the filters match no more, is skipped."""
        store = fill(MemoryDLQ(), b"ack1", b"ack2", b"ack3")

        def interfere(message: RawMessage, ctx: Context) -> None:
            del store[b"ack2"]
            fill(store, b"ack3", reason="other")
            ctx.ack()

        adapter = ReplayAdapter(RawMessage, make_processor(interfere), store, reason="reason")

        letters = list(store.letters(reason="reason"))
        adapter.store.letters = (
            lambda **filters: iter(  # type: ignore[method-assign]
                letters[-1:] if filters.get("newest_first") else letters
            )
        )
        assert adapter.run() == ReplayResult(acked=1, skipped=2)
        assert store.claim(b"ack3") is not None, "the claim was not given back"

    def test_renewed_while_handled(self) -> None:
        """A claim is renewed for as long as its handler takes."""
        renewed = threading.Event()

        class Watched(MemoryDLQ):
            def renew(self, claim: Claim, *, lease: float = 300.0) -> Claim | None:
                result = super().renew(claim, lease=lease)
                if result is not None:
                    renewed.set()
                return result

        def wait(message: RawMessage, ctx: Context) -> None:
            assert renewed.wait(DEADLINE)
            ctx.ack()

        store = fill(Watched(), b"slow")
        adapter = ReplayAdapter(RawMessage, make_processor(wait), store, lease=0.05)
        assert adapter.run() == ReplayResult(acked=1)
        assert not store

    def test_nothing_in_flight(self) -> None:
        """Between two letters there is no claim to be renewed, and no thread that would."""
        others = set(threading.enumerate())

        def wait_for_idleness(replayed: Replayed) -> None:
            for thread in set(threading.enumerate()) - others:
                thread.join(DEADLINE)
                assert not thread.is_alive()

        store = fill(MemoryDLQ(), b"ack1", b"ack2")
        adapter = ReplayAdapter(
            RawMessage, make_processor(), store, lease=0.05, on_progress=wait_for_idleness
        )
        assert adapter.run() == ReplayResult(acked=2)

    @pytest.mark.parametrize("how", ["lost", "broken"])
    def test_claim_cannot_be_renewed(self, how: str, caplog: pytest.LogCaptureFixture) -> None:
        """A claim that was lost, or could not be renewed, is reported; the handler goes on."""
        told = threading.Event()

        class Failing(MemoryDLQ):
            def renew(self, claim: Claim, *, lease: float = 300.0) -> Claim | None:
                told.set()
                if how == "broken":
                    raise DeadLetterStoreError("no")
                return None

        seen: list[str] = []

        def wait(message: RawMessage, ctx: Context) -> None:
            assert told.wait(DEADLINE)
            told.clear()
            assert told.wait(DEADLINE)  # the first is logged when the second comes
            seen.extend(caplog.messages)
            ctx.ack()

        store = fill(Failing(), b"slow")
        adapter = ReplayAdapter(RawMessage, make_processor(wait), store, lease=0.05)
        assert adapter.run() == ReplayResult(acked=1)
        assert ("was lost" if how == "lost" else "DeadLetterStoreError") in seen[0]

    def test_failed_elsewhere_meanwhile(self, caplog: pytest.LogCaptureFixture) -> None:
        """A letter that failed elsewhere while it was handled stays, and is not claimed any more."""
        store = fill(MemoryDLQ(), b"ack")

        def fail_elsewhere(message: RawMessage, ctx: Context) -> None:
            fill(store, b"ack")
            ctx.ack()

        assert ReplayAdapter(RawMessage, make_processor(fail_elsewhere), store).run().acked == 1
        assert store.letter(b"ack").failures == 2
        assert store.claim(b"ack") is not None
        assert "stays in the store" in caplog.text

    def test_replaced_meanwhile(self, caplog: pytest.LogCaptureFixture) -> None:
        """A letter that took the place of the one that is handled stays in the store."""
        store = fill(MemoryDLQ(), b"ack")

        def replace(message: RawMessage, ctx: Context) -> None:
            store[b"ack"] = (RawMessage(b"other"), "reason")
            ctx.ack()

        assert ReplayAdapter(RawMessage, make_processor(replace), store).run().acked == 1
        assert store.letter(b"ack").raw_data == b"other"
        assert store.claim(b"ack") is not None
        assert "stays in the store" in caplog.text

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_interrupted(self, error: type[BaseException]) -> None:
        """An interrupted handler leaves its letter as it was, to be claimed by the next."""
        store = fill(MemoryDLQ(), b"1", b"2")

        def interrupt(message: RawMessage, ctx: Context) -> None:
            raise error

        adapter = ReplayAdapter(RawMessage, make_processor(interrupt), store)
        with pytest.raises(error):
            adapter.run()
        assert store.letter(b"1").failures == 1
        assert store.claim(b"1") is not None

    @pytest.mark.parametrize("busy", ["remove", "remove and release"])
    def test_letter_cannot_be_removed(self, busy: str, caplog: pytest.LogCaptureFixture) -> None:
        """Where an acked letter cannot be removed, the run ends and gives its claim back."""

        class Busy(MemoryDLQ):
            busy = ""

            def remove(self, claim: Claim) -> bool:
                raise DeadLetterStoreError("busy")

            def release(self, claim: Claim) -> bool:
                if "release" in self.busy:
                    raise DeadLetterStoreError("busy too")
                return super().release(claim)

        store = fill(Busy(), b"ack")
        store.busy = busy
        with pytest.raises(SettlementFailed):
            ReplayAdapter(RawMessage, make_processor(), store).run()
        assert (store.claim(b"ack") is not None) == (busy == "remove")
        assert ("could not be given back" in caplog.text) == (busy != "remove")

    def test_store_fails(self) -> None:
        """Where the failure cannot be written, the run ends and the letter stays as it was."""

        class Full(MemoryDLQ):
            full = False

            def put_many(self, letters: Any) -> None:
                if self.full:
                    raise DeadLetterStoreError("full")
                super().put_many(letters)

        store = Full()
        fill(store, b"fail")
        store.full = True
        with pytest.raises(DeadLetterWriteFailed):
            ReplayAdapter(RawMessage, make_processor(), store).run()
        assert store.letter(b"fail").failures == 1
        assert store.claim(b"fail") is not None


class TestDryRun:
    def test_tells_and_changes_nothing(self) -> None:
        """A dry run says where each letter would go, and calls, claims and changes nothing."""
        store = fill(MemoryDLQ(), b"1", b"12", b"3", b"raise")
        before = list(store.letters())
        processor: Processor[RawMessage] = Processor()
        called: list[object] = []
        processor.before_processing(called.append)
        processor.on_settled(lambda ctx, settled: called.append(settled))

        def matches(text: bytes) -> Callable[[RawMessage], bool]:
            def match(message: RawMessage) -> bool:
                if message.raw_data == b"raise":
                    raise ValueError("matcher")
                return text in message.raw_data

            return match

        @processor.handle_for(matches(b"1"))
        def one(message: RawMessage, ctx: Context) -> None:
            called.append(message)

        @processor.handle_for(matches(b"2"))
        def two(message: RawMessage, ctx: Context) -> None:
            called.append(message)

        told: list[Replayed] = []
        adapter = ReplayAdapter(RawMessage, processor, store, dry_run=True, on_progress=told.append)
        assert adapter.run() == ReplayResult(skipped=4)
        assert [replayed.handler is not None for replayed in told] == [True, False, False, False]
        assert str(told[0].handler).endswith("one")
        assert told[1].explanation is not None
        assert len(told[1].explanation.hits) == 2
        assert [type(replayed.error) for replayed in told[2:]] == [type(None), ValueError]
        assert called == []
        assert list(store.letters()) == before
        assert store.claim(b"1") is not None

    def test_message_cannot_be_built(self) -> None:
        """A message that cannot be built is told with what its class raised."""

        class Strict(RawMessage):
            def __init__(self, raw_data: bytes) -> None:
                raise DecodingError(RawMessage(raw_data), "no")

        told: list[Replayed] = []
        processor: Processor[Strict] = Processor()
        store = fill(MemoryDLQ(), b"1", b"2")
        ReplayAdapter(
            Strict, processor, store, dry_run=True, limit=1, on_progress=told.append
        ).run()
        (replayed,) = told
        assert isinstance(replayed.error, DecodingError)
        assert replayed.explanation is None
        assert repr(replayed) == f"<Replayed {store.letter(b'1')!r}: None>"

    def test_limit_of_nothing(self) -> None:
        """With a limit of nothing a dry run tells nothing."""
        store = fill(MemoryDLQ(), b"1")
        adapter = ReplayAdapter(RawMessage, make_processor(), store, dry_run=True, limit=0)
        assert adapter.run() == ReplayResult()


class TestRunning:
    def test_progress(self) -> None:
        """After each letter the outcome and the counts so far are told."""
        store = fill(MemoryDLQ(), b"ack", b"fail", b"nack")
        told: list[Replayed] = []
        ReplayAdapter(RawMessage, make_processor(), store, on_progress=told.append).run()
        assert [replayed.outcome for replayed in told] == [
            Outcome.ACKED,
            Outcome.DEAD_LETTERED,
            Outcome.NACKED,
        ]
        assert told[1].result == ReplayResult(acked=1, failed=1)
        assert isinstance(told[1].error, ValueError)
        assert str(told[0].handler).endswith("by_body")

    def test_stop(self) -> None:
        """After stop the letter in flight is finished, and no other is begun."""
        store = fill(MemoryDLQ(), b"ack1", b"ack2")

        def stop(message: RawMessage, ctx: Context) -> None:
            adapter.stop()
            ctx.ack()

        adapter = ReplayAdapter(RawMessage, make_processor(stop), store)
        assert isinstance(adapter, Runnable)
        assert adapter.run() == ReplayResult(acked=1)
        assert adapter.run() == ReplayResult(acked=1), "it cannot be run again"
        assert not store

    def test_stop_before_run(self) -> None:
        """A stop before the run makes that run return at once."""
        store = fill(MemoryDLQ(), b"ack")
        adapter = ReplayAdapter(RawMessage, make_processor(), store)
        adapter.stop()
        assert adapter.run() == ReplayResult()
        assert adapter.run() == ReplayResult(acked=1)

    def test_ready(self) -> None:
        """The adapter is ready while it replays."""
        store = fill(MemoryDLQ(), b"ack")
        ready = []

        def note(message: RawMessage, ctx: Context) -> None:
            ready.append(adapter.ready.is_set())
            ctx.ack()

        adapter = ReplayAdapter(RawMessage, make_processor(note), store)
        adapter.run()
        assert ready == [True]
        assert not adapter.ready.is_set()

    def test_run_within_run(self) -> None:
        """One adapter does not run twice at once."""
        store = fill(MemoryDLQ(), b"ack")
        errors: list[Exception] = []

        def run_again(message: RawMessage, ctx: Context) -> None:
            try:
                adapter.run()
            except ConfigurationError as error:
                errors.append(error)
            ctx.ack()

        adapter = ReplayAdapter(RawMessage, make_processor(run_again), store)
        assert adapter.run().acked == 1
        assert len(errors) == 1

    def test_leaves_no_thread(self) -> None:
        """The thread that renews claims ends with the run."""
        before = threading.active_count()
        store = fill(MemoryDLQ(), b"ack")
        ReplayAdapter(RawMessage, make_processor(), store).run()
        assert threading.active_count() == before

    @pytest.mark.parametrize(
        "options",
        [
            {"limit": -1},
            {"lease": 0},
            {"lease": float("inf")},
            {"lease": 1e12},
            {"since": datetime(2024, 1, 1)},  # noqa: DTZ001
            {"reason": b"bytes"},
            {"ids": ["text"]},
            {"ids": [b"1", "text"]},
            {"ids": b"1"},
            {"ids": 1},
        ],
        ids=str,
    )
    def test_senseless_options(self, options: dict[str, Any]) -> None:
        """Options that cannot work are refused when the adapter is built."""
        with pytest.raises(ConfigurationError):
            ReplayAdapter(RawMessage, make_processor(), MemoryDLQ(), **options)

    def test_plain_mapping(self) -> None:
        """A plain dict has no letters to be claimed, and is refused with the remedy."""
        with pytest.raises(ConfigurationError, match="MemoryDLQ"):
            ReplayAdapter(RawMessage, make_processor(), {})  # type: ignore[arg-type]
