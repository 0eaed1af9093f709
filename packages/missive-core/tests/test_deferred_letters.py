"""Deferred letters in a MemoryDLQ: what the conformance kit does not say of every store."""

from __future__ import annotations

import os
import threading
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from missive import ConfigurationError, DeadLetter, MemoryDLQ, RawMessage
from missive.letters import Claim
from missive.letters.deferred import Deferred
from missive.letters.leases import Leases
from missive.letters.shelf import Shelf, Timeline

NOON = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)


def deferred(number: int = 1, minutes: int = 0, **fields: object) -> DeadLetter:
    """Make a letter that is due some minutes after noon."""
    return DeadLetter.from_failure(
        RawMessage(b"body"),
        stage="handling",
        reason="reason",
        due=NOON + timedelta(minutes=minutes),
    )._replace(id=b"%d" % number, message_id=b"%d" % number, **fields)


def test_letter_of_a_failure_to_be_tried_again() -> None:
    """A failure with a due time makes a deferred letter, whose delivery is the next attempt."""
    letter = DeadLetter.from_failure(
        RawMessage(b"body"), stage="handling", reason="", attempt=3, due=NOON
    )
    assert (letter.state, letter.due, letter.attempt, letter.failures) == ("deferred", NOON, 3, 1)
    assert letter.delivery().delivery_count == 4
    assert repr(letter).startswith("<Deferred letter ")
    dead = letter.given_up()
    assert (dead.state, dead.due, dead.attempt) == ("dead", None, 3)
    assert dead.given_up() is dead


@pytest.mark.parametrize("due", [None, datetime(2024, 5, 1)])  # noqa: DTZ001
def test_no_due_time(due: datetime | None) -> None:
    """A letter that is never due, or at an unknown time, is refused with all that came with it."""
    store = MemoryDLQ()
    for keep in (store.defer, store.restore_many):
        with pytest.raises(ConfigurationError, match="due time"):
            keep([deferred(1), deferred(2)._replace(due=due)])
    assert store.counts() == (0, 0, 0, 0)


def test_apart_from_dead_letters() -> None:
    """A deferred message is no item of the mapping until it is given up; a claim keeps it deferred."""
    store = MemoryDLQ()
    store.defer([deferred(number, minutes=number) for number in (1, 2, 3)])
    assert store.next_due() == NOON + timedelta(minutes=1)
    for missing in (store.__getitem__, store.__delitem__, store.pop):
        with pytest.raises(KeyError):
            missing(b"1")
    ((claim, _),) = store.claim_due(1)
    assert store.claim_of(b"1") == claim
    assert store.give_up() == 2
    assert list(store) == [b"2", b"3"]
    assert store.retry_now() == 1
    assert store.retry_now([b"2", b"x"]) == 0
    assert store.counts() == (2, 1, 0, 1)
    assert store.purge(older_than=timedelta(days=1)) == 0
    assert store.next_due() is None
    assert store.remove(claim)
    assert store.renew(claim) is None


def test_a_shelf_of_letters_from_elsewhere() -> None:
    """A shelf that is given letters and claims knows what is due and what is claimed."""
    claim = Claim(b"1", "token", 1, NOON + timedelta(minutes=1))
    shelf = Shelf({b"1": deferred(1), b"2": deferred(2)}, {b"1": claim}, 2)
    assert shelf.counts(NOON) == (0, 2, 1, 1)
    assert shelf.counts(claim.expires) == (0, 2, 2, 0)


def test_what_makes_no_sense() -> None:
    """States, filters and leases that there are not are refused by name, and nothing is changed."""
    store = MemoryDLQ()
    store.defer([deferred(1)])
    for filters in ({"state": "undead"}, {"reazon": "x"}, {"until": NOON.replace(tzinfo=None)}):
        with pytest.raises(ConfigurationError, match=next(iter(filters))):
            store.retry_now(**filters)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="the filter reason"):
        store.letters(reason=1)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="lease"):
        store.claim_due(1, -1.0)
    assert store.retry_now(state="dead") == 0
    assert store.counts() == (0, 1, 1, 0)


def test_claims_on_very_many_messages_leave_nothing_behind() -> None:
    """What is outdated in a timeline is dropped when it becomes more than what is not."""
    timeline = Timeline()
    for number in range(1000):
        timeline.put(b"one", NOON + timedelta(seconds=number))
        timeline.put(b"%d" % (number % 10), NOON)
    assert len(timeline) == 11
    assert len(timeline._heap) < 200
    assert timeline.take(NOON, 3) == [b"0", b"1", b"2"]
    assert timeline.count_until(NOON) == 7
    assert timeline.first() == NOON


def test_a_claim_that_had_ended_until_the_clock_was_set_back() -> None:
    """A message whose claim is in force again after a change of the clock is not given to another."""
    store = MemoryDLQ()
    store.defer([deferred(1), deferred(2)])
    (first, _), (second, _) = store.claim_due(2, 60.0, now=NOON)
    ahead = NOON + timedelta(days=1)
    ((stolen, _),) = store.claim_due(1, 60.0, now=ahead)
    assert stolen.id == first.id
    assert store.claim_due(2, 60.0, now=NOON) == []
    assert store.remove(second)
    assert not store.remove(first)
    ((again, _),) = store.claim_due(2, 60.0, now=ahead + timedelta(seconds=60))
    assert again.id == first.id


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_fork_while_a_thread_uses_the_store() -> None:
    """A child has the store whole and can use it, whatever another thread was doing at the fork."""
    store = MemoryDLQ()
    over = threading.Event()

    def use() -> None:
        while not over.is_set():
            store.defer([deferred(1)])

    thread = threading.Thread(target=use)
    thread.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                store.defer([deferred(2)])
                os._exit(
                    0 if store.counts().deferred == len(list(store.letters(state=None))) else 1
                )
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        over.set()
        thread.join()


def test_claims_are_renewed_after_an_error_of_any_kind(caplog: pytest.LogCaptureFixture) -> None:
    """What a store's own client raises ends no renewal: else the message would be handled twice."""
    renewed = threading.Event()

    class Flaky(MemoryDLQ):
        failed = False

        def renew(self, claim: Claim, **options: Any) -> Claim | None:
            if not self.failed:
                self.failed = True
                raise RuntimeError("of a client")
            renewed.set()
            return super().renew(claim, **options)

    store = Flaky()
    store.defer([deferred()])
    ((claim, letter),) = store.claim_due(1)
    leases = Leases(store, lease=0.03)
    leases.hold(Deferred(store).delivery_of(claim, letter))
    try:
        assert renewed.wait(20)
    finally:
        leases.close()
    assert "cannot be renewed (RuntimeError at " in caplog.text
    assert "of a client" not in caplog.text


def test_claims_are_renewed_again_after_a_time_without_any() -> None:
    """The thread that renews ends when nothing is in flight, and another begins with the next."""
    renewed = threading.Event()

    class Noting(MemoryDLQ):
        def renew(self, claim: Claim, **options: Any) -> Claim | None:
            renewed.set()
            return super().renew(claim, **options)

    store = Noting()
    store.defer([deferred()])
    ((claim, _),) = store.claim_due(1)
    delivery = SimpleNamespace(claim=claim)
    leases = Leases(store, lease=0.03)
    others = set(threading.enumerate())
    leases.hold(delivery)
    threads = set(threading.enumerate()) - others
    leases.drop([delivery])
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    renewed.clear()
    leases.hold(delivery)
    try:
        assert renewed.wait(20)
    finally:
        leases.close()


@pytest.mark.parametrize("settled", [False, True])
def test_a_lost_claim_is_reported_while_its_letter_is_in_flight(
    settled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Not where the letter was settled while its claim was renewed."""

    class Losing(MemoryDLQ):
        def renew(self, claim: Claim, **options: Any) -> Claim | None:
            if settled:
                leases.drop([delivery])
            return None

    store = Losing()
    store.defer([deferred()])
    ((claim, _),) = store.claim_due(1)
    delivery = SimpleNamespace(claim=claim)
    leases = Leases(store, lease=60.0)
    leases.hold(delivery)
    leases.renew()
    leases.close()
    assert ("was lost" in caplog.text) is not settled
    assert delivery.claim is claim
