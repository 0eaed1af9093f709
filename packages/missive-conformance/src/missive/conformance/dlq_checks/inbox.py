"""What a store does for a webhook inbox: each message is taken once, and remembered."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

from missive import ConfigurationError, DeadLetter
from missive.letters import Receipt

from ..contract import check, expect
from ..dlq_lab import DLQLab, deferred
from ..ledger import numbered_body

INBOX = ("InboxStore",)
PERSISTENT = (*INBOX, "harness.persistent")
READ = "dead-letters#inboxes"


def received(number: int, body: bytes = b"a body", **fields: Any) -> DeadLetter:
    """Make a message as an inbox stores it: due, with no attempt and no failure."""
    return deferred(number, body, reason="received", attempt=0, failures=0, **fields)


def expect_receipts(store: Any, letters: list[DeadLetter], *expected: Receipt) -> None:
    """Have a store receive messages, and make sure of what it says."""
    receipts = [Receipt(each) for each in store.receive(letters)]
    named = ", ".join(each.name for each in receipts)
    wanted = ", ".join(each.name for each in expected)
    expect(receipts == [*expected], f"receive() says {named or 'nothing'} instead of {wanted}")


class InboxChecks:
    """Inboxes."""

    @check("D110", since="0.2", needs=INBOX, read=READ)
    def test_d110_a_message_is_received_once(self, lab: DLQLab) -> None:
        """A message that was received is due at once, whole, without an attempt or a failure;
        received again it is known, and stored once.
        """
        store = lab.open()
        message = received(1, bytes(range(256)), headers={"Colour": "blue"})
        expect_receipts(store, [message, message], Receipt.NEW, Receipt.KNOWN)
        expect_receipts(store, [message], Receipt.KNOWN)
        due = store.claim_due(10)
        expect(len(due) == 1, f"{len(due)} messages are due, not the one")
        found = due[0][1]
        expect(found.raw_data == message.raw_data, "its body came back changed")
        expect(dict(found.headers) == {"Colour": "blue"}, "its headers came back changed")
        expect(found.message_id == message.message_id, "its id came back changed")
        expect(found.attempt == 0, f"it says {found.attempt} attempts instead of 0")
        expect(found.failures == 0, f"it says {found.failures} failures instead of 0")

    @check("D111", since="0.2", needs=INBOX, read=READ)
    def test_d111_it_is_known_whatever_became_of_it(self, lab: DLQLab) -> None:
        """A message is known while it is claimed, deferred again or dead, and after it was removed:
        by its claim, purged, deleted or popped.
        """
        store = lab.open()
        messages = [received(number) for number in range(6)]
        expect_receipts(store, messages, *[Receipt.NEW] * 6)
        claims = {letter.id: claim for claim, letter in store.claim_due(10)}
        known = [Receipt.KNOWN] * 6
        expect_receipts(store, messages, *known)
        expect(store.remove(claims[b"letter-0"]), "a message that was handled is not removed")
        store.defer([deferred(1, reason="try 1", attempt=1, due=lab.far)])
        store.put_many([deferred(number, reason="it failed") for number in (2, 3, 4, 5)])
        expect_receipts(store, messages, *known)
        del store[b"letter-2"]
        store.pop(b"letter-3")
        store.purge(older_than=timedelta(0))
        expect_receipts(store, messages, *known)
        left = [found.id for found in store.letters(state=None)]
        expect(left == [b"letter-1"], f"{len(left)} letters are left, not the one")

    @check("D112", since="0.2", needs=INBOX, read=READ)
    def test_d112_another_message_with_the_id_is_kept_beside(self, lab: DLQLab) -> None:
        """An id that comes with another body is kept beside, and told from a new one; from another
        source it is new; each is known when it is received again.
        """
        store = lab.open()
        first, other = received(1, b"one body"), received(1, b"another body")
        elsewhere = received(1, b"one body", source="another source")
        expect_receipts(store, [first], Receipt.NEW)
        expect_receipts(store, [other, elsewhere], Receipt.BESIDE, Receipt.NEW)
        expect_receipts(store, [elsewhere, other, first], *[Receipt.KNOWN] * 3)
        due = store.claim_due(10)
        bodies = sorted(letter.raw_data for _, letter in due)
        expected = [b"another body", b"one body", b"one body"]
        expect(bodies == expected, f"of three different messages with one id {len(due)} are due")
        for claim, _ in due:
            store.remove(claim)
        expect_receipts(store, [first, other, elsewhere], *[Receipt.KNOWN] * 3)
        expect_receipts(store, [received(1, b"a third body")], Receipt.BESIDE)

    @check("D113", since="0.2", needs=INBOX, read=READ)
    def test_d113_received_whole_or_not_at_all(self, lab: DLQLab) -> None:
        """receive() takes all messages or none: where one is never due, it remembers none."""
        store = lab.open()
        try:
            store.receive([received(1), received(2)._replace(due=None)])
        except ConfigurationError:
            kept = store.counts().deferred
            expect(kept == 0, f"of a batch with one that is never due, {kept} were kept")
        else:
            expect(False, "a message was received that is never due")
        expect_receipts(store, [received(1), received(2)], Receipt.NEW, Receipt.NEW)

    @check("D114", since="0.2", needs=INBOX, read=READ)
    def test_d114_what_is_done_is_forgotten_in_time(self, lab: DLQLab) -> None:
        """forget_done() forgets messages that were removed before a time, as many as it is told,
        and no other; forgotten, they are new again.
        """
        store = lab.open()
        messages = [received(number) for number in range(5)]
        expect_receipts(store, messages, *[Receipt.NEW] * 5)
        for claim, _ in store.claim_due(4):
            store.remove(claim)
        now = datetime.now(timezone.utc)
        count = store.forget_done(now - timedelta(hours=1))
        expect(count == 0, f"of messages done just now {count} were forgotten an hour early")
        expect_receipts(store, messages, *[Receipt.KNOWN] * 5)
        later = now + timedelta(hours=1)
        counts = [store.forget_done(later, limit=3), store.forget_done(later, limit=3)]
        expect(counts == [3, 1], f"of four that were done it forgot {counts}, three at a time")
        expect_receipts(store, messages, *[Receipt.NEW] * 4, Receipt.KNOWN)

    @check("D115", since="0.2", needs=INBOX, read=READ)
    def test_d115_a_stored_message_is_known(self, lab: DLQLab) -> None:
        """A message that is stored already, dead or deferred, is known, left as it is, and
        remembered when it is removed.
        """
        store = lab.open()
        store.put(received(1).given_up())
        store.defer([deferred(2, due=lab.far)])
        messages = [received(1), received(2)]
        expect_receipts(store, messages, Receipt.KNOWN, Receipt.KNOWN)
        counts = store.counts()
        expect(counts == (1, 1, 0, 0), f"one dead and one deferred became {tuple(counts)}")
        store.purge(older_than=timedelta(0), state=None)
        expect_receipts(store, messages, Receipt.KNOWN, Receipt.KNOWN)

    @check("D116", since="0.2", needs=INBOX, read=READ)
    def test_d116_of_threads_one_has_it_new(self, lab: DLQLab) -> None:
        """Of several threads that receive the same messages at once, one is told that each is
        new.
        """
        store = lab.open()
        messages = [received(number) for number in range(10)]
        receipts: Counter[tuple[int, Receipt]] = Counter()
        start = threading.Barrier(4)
        done: list[int] = []

        def receive(number: int) -> None:
            start.wait()
            for place, message in enumerate(messages):
                receipts[place, Receipt(store.receive([message])[0])] += 1
            done.append(number)

        threads = [threading.Thread(target=receive, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(lab.patience)
        expect(len(done) == 4, f"{4 - len(done)} of 4 threads failed or hang")
        new = [receipts[place, Receipt.NEW] for place in range(10)]
        expect(new == [1] * 10, f"threads were told that a message is new {new} times")
        stored = store.counts().deferred
        expect(stored == 10, f"of 10 messages {stored} are stored")

    @check("D117", since="0.2", needs=PERSISTENT, read=READ)
    def test_d117_it_is_remembered_when_opened_again(self, lab: DLQLab) -> None:
        """What was received is known when the store is opened again, stored or done."""
        store = lab.open()
        messages = [received(number) for number in range(3)]
        expect_receipts(store, messages, *[Receipt.NEW] * 3)
        ((claim, _),) = store.claim_due(1)
        store.remove(claim)
        store.close()
        again = lab.open()
        expect_receipts(again, messages, *[Receipt.KNOWN] * 3)
        expect_receipts(again, [received(0, b"another body")], Receipt.BESIDE)

    @check("D118", since="0.2", profile="full", needs=PERSISTENT, read=READ)
    def test_d118_a_kill_loses_nothing_that_was_received(self, lab: DLQLab) -> None:
        """After a kill, every message that was received is stored or was done, and known: none
        is lost, none is handled anew after it was done.
        """
        for first in (0, 100):
            child = lab.child("receive_and_handle", first=first, count=100, hold_after=23)
            child.wait_noted("held")
            child.kill()
            confirmed = [line["number"] for line in child.lines if line["event"] == "confirmed"]
            removed = {line["number"] for line in child.lines if line["event"] == "removed"}
            store = lab.open()
            messages = [received(number, numbered_body(number, 64)) for number in confirmed]
            expect_receipts(store, messages, *[Receipt.KNOWN] * len(messages))
            stored = {letter.id for letter in store.letters(state="deferred")}
            for number in confirmed:
                there = b"letter-%d" % number in stored
                expect(there is (number not in removed), "a message was lost, or came back")
            store.close()
