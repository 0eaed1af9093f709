"""Which deferred messages are due, and who gets them."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone
from typing import Any

from ..contract import check, expect
from ..dlq_lab import THEN, DLQLab, claimed, deferred, letter
from ..lab import wait_until
from .store import STORE

READ = "dead-letters#deferred-messages"


def ids_of(found: list[Any]) -> list[bytes]:
    """Return the ids of the messages that were claimed."""
    return [message.id for _, message in found]


class DueChecks:
    """Due messages."""

    @check("D90", since="0.2", needs=STORE, read=READ)
    def test_d90_what_is_due_is_given_the_earliest_first(self, lab: DLQLab) -> None:
        """claim_due() gives messages whose time has come, the earliest first, at most as many as
        asked for, each whole and with its claim.
        """
        store = lab.open()
        store.put(letter(9))
        for number in (3, 1, 2, 5):
            store.defer([deferred(number, due=THEN + timedelta(seconds=number))])
        store.defer([deferred(4, due=lab.far)])
        expect(ids_of(store.claim_due(0)) == [], "it gives messages where none are asked for")
        first = store.claim_due(2)
        ids = ids_of(first)
        expect(ids == [b"letter-1", b"letter-2"], f"of the earliest two it gives {len(ids)}")
        for claim, found in first:
            expect(claim.id == found.id, "a message came with the claim on another")
            expect(found == store.letter(found.id), "a message came otherwise than it is stored")
        ids = ids_of(store.claim_due(10))
        expect(ids == [b"letter-3", b"letter-5"], f"of the next two it gives {len(ids)}")
        expect(store.claim_due(10) == [], "it gives what is not due, or a message twice")
        expect(all(store.remove(claim) for claim, _ in first), "a claim could remove nothing")
        expect(store.counts().deferred == 3, f"{store.counts().deferred} are left, not 3")

    @check("D91", since="0.2", needs=STORE, read=READ)
    def test_d91_each_is_given_once(self, lab: DLQLab) -> None:
        """Of several threads that ask at once, each message goes to exactly one."""
        store = lab.open()
        store.defer([deferred(number) for number in range(40)])
        start = threading.Barrier(6)
        given: list[bytes] = []
        done: list[int] = []

        def ask(thread: int) -> None:
            start.wait(lab.patience)
            while found := store.claim_due(3):
                given.extend(ids_of(found))
            done.append(thread)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(lab.patience)
        expect(len(done) == 6, f"{6 - len(done)} of 6 threads failed or hang")
        expect(len(set(given)) == 40, f"of 40 messages {len(set(given))} were given")
        expect(len(given) == 40, f"{len(given) - 40} messages were given twice")

    @check("D92", since="0.2", needs=STORE, read=READ)
    def test_d92_a_lease_ends(self, lab: DLQLab) -> None:
        """A message whose lease ended goes to another, and the former claim is worth nothing."""
        store = lab.open()
        store.defer([deferred(1)])
        ((first, _),) = store.claim_due(1, 0.05)
        second: list[Any] = []

        def given_again() -> bool:
            second[:] = store.claim_due(1)
            return bool(second)

        wait_until(given_again, lab.patience, "a message with a lease of 0.05 s stayed claimed")
        expect(store.remove(first) is False, "the former claim could still remove the message")
        expect(store.renew(first) is None, "the former claim could still be renewed")
        expect(store.remove(second[0][0]) is True, "the newer claim cannot remove the message")

    @check("D93", since="0.2", needs=STORE, read=READ)
    def test_d93_a_lease_can_be_renewed_and_given_back(self, lab: DLQLab) -> None:
        """A renewed claim holds for longer; a message whose claim is given back goes to the next
        who asks.
        """
        store = lab.open()
        store.defer([deferred(1)])
        ((claim, _),) = store.claim_due(1, 0.05)
        renewed = store.renew(claim, lease=600.0)
        expect(renewed is not None, "a claim could not be renewed")
        later = datetime.now(timezone.utc) + timedelta(seconds=60)
        expect(not store.claim_due(1, now=later), "a renewed claim ended when the first would have")
        expect(store.release(renewed) is True, "release() of a claim that is held says False")
        expect(ids_of(store.claim_due(1)) == [b"letter-1"], "what was given back is not given out")

    @check("D94", since="0.2", needs=STORE, read=READ)
    def test_d94_a_claim_by_id_counts_too(self, lab: DLQLab) -> None:
        """A deferred message can be claimed by its id, due or not; claim_due() then leaves it, and
        the other way round.
        """
        store = lab.open()
        store.defer([deferred(1), deferred(2), deferred(3, due=lab.far)])
        mine = claimed(store, b"letter-1")
        claimed(store, b"letter-3")
        ids = ids_of(store.claim_due(10))
        expect(
            ids == [b"letter-2"], f"beside a claimed message it gives {len(ids)}, not the free one"
        )
        expect(store.claim(b"letter-2") is None, "what claim_due() gave can be claimed by its id")
        expect(store.remove(mine) is True, "a claim by id cannot remove a deferred message")

    @check("D95", since="0.2", needs=STORE, read=READ)
    def test_d95_when_to_ask_again(self, lab: DLQLab) -> None:
        """next_due() tells when the earliest unclaimed message is due, past or to come."""
        store = lab.open()
        store.put(letter(9))
        expect(store.next_due() is None, "something is due in a store without deferred messages")
        store.defer([deferred(1, due=lab.far + timedelta(hours=1)), deferred(2, due=lab.far)])
        expect(store.next_due() == lab.far, "it is not the earliest of two times to come")
        store.defer([deferred(3, due=THEN)])
        expect(store.next_due() == THEN, "it is not the time of a message that is due")
        ((claim, _),) = store.claim_due(1)
        expect(store.next_due() == lab.far, "it is the time of a message that is claimed")
        store.release(claim)
        expect(store.next_due() == THEN, "it is not the time of a message that was given back")
        store.give_up([b"letter-3"])
        expect(store.next_due() == lab.far, "it is the time of a message that was given up")

    @check("D96", since="0.2", needs=STORE, read=READ)
    def test_d96_a_clock_that_is_set_back(self, lab: DLQLab) -> None:
        """Where the clock is set back by an hour, no message goes to two at once, and none is
        lost.
        """
        store = lab.open()
        store.defer([deferred(1)])
        then = datetime.now(timezone.utc)
        ((first, _),) = store.claim_due(1, 60.0, now=then)
        back = then - timedelta(hours=1)
        expect(not store.claim_due(1, 60.0, now=back), "a claimed message went to another")
        found = store.claim_due(1, 60.0, now=then + timedelta(seconds=61))
        expect(len(found) == 1, "the message is not given out once its lease has ended")
        expect(store.remove(first) is False, "the former claim could still remove the message")
        expect(store.remove(found[0][0]) is True, "the newer claim cannot remove the message")

    @check("D97", since="0.2", needs=STORE, read=READ)
    def test_d97_a_clock_that_jumps_ahead(self, lab: DLQLab) -> None:
        """Where the clock jumps ahead by a day, leases end and messages are due by that clock, and
        each still goes to one at a time.
        """
        store = lab.open()
        now = datetime.now(timezone.utc)
        store.defer([deferred(1), deferred(2, due=now + timedelta(hours=12))])
        expect(
            ids_of(store.claim_due(9, 60.0, now=now)) == [b"letter-1"], "not the one due is given"
        )
        ahead = now + timedelta(days=1)
        ids = ids_of(store.claim_due(9, 60.0, now=ahead))
        expect(
            ids == [b"letter-1", b"letter-2"], f"of two that are due by then it gives {len(ids)}"
        )
        expect(not store.claim_due(9, 60.0, now=ahead), "a message went to two at once")
        expect(
            not store.claim_due(9, 60.0, now=now), "set back again, a message went to two at once"
        )
        expect(store.counts().deferred == 2, f"of two messages {store.counts().deferred} are left")
